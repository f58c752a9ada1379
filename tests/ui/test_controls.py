"""Every setting has its control, and the control says what RunConfig says."""

import gradio as gr
import pytest

from rocm.config import RunConfig
from rocm.config.presets import preset_names
from rocm.ui import controls as forms


@pytest.fixture(scope="module")
def controls():
    with gr.Blocks():
        return {
            name: forms.control(name, RunConfig.model_fields[name].default) for name in forms.FIELDS
        }


def test_every_setting_but_the_description_is_on_the_page_once():
    folded = [name for members in forms.groups().values() for name in members]
    shown = forms.basics() + folded
    assert sorted(shown) == sorted(set(RunConfig.model_fields) - {"description"})


def test_a_control_has_label_help_its_bounds_and_the_default(controls):
    for name, control in controls.items():
        assert control.label
        assert control.info
        assert control.value == RunConfig.model_fields[name].default
    assert controls["learning_rate"].info.endswith("(above 0 to 1)")
    assert controls["eval_every"].info.endswith("(1 or more)")


def test_every_preset_fits_its_controls_and_a_text_fits_no_number():
    for name in preset_names():
        config = RunConfig.load(name)
        assert all(forms.fits(field, getattr(config, field)) for field in forms.FIELDS)
    assert not forms.fits("beta", "much")
    assert not forms.fits("num_steps", 0)
    assert not forms.fits("divergence", "kll")
    assert not forms.fits("prompts", 5)
