"""Every setting has its control, and the control says what RunConfig says."""

from rocm.config import RunConfig
from rocm.config.presets import preset_names
from rocm.ui import controls as forms


def test_every_setting_but_the_description_is_on_the_page_once():
    folded = [name for members in forms.groups().values() for name in members]
    shown = forms.basics() + folded
    assert sorted(shown) == sorted(set(RunConfig.model_fields) - {"description"})


def test_every_preset_fits_its_controls_and_a_text_fits_no_number():
    for name in preset_names():
        config = RunConfig.load(name)
        assert all(forms.fits(field, getattr(config, field)) for field in forms.FIELDS)
    assert not forms.fits("beta", "much")
    assert not forms.fits("num_steps", 0)
    assert not forms.fits("divergence", "kll")
    assert not forms.fits("prompts", 5)
