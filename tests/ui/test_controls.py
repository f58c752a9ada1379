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
    assert not forms.fits("prompts", 5)


def test_settings_in_a_sentence_are_named_as_their_controls_are():
    words = "num_inference_steps=9 is outside 1-8 and 16. Set beta=0, or a smaller seed."
    told = "Sampler steps (N) 9 is outside 1-8 and 16. Set Beta 0, or a smaller seed."
    assert forms.labeled(words) == told
    assert forms.setting_of(words) == "num_inference_steps"


def test_unread_settings_and_their_group_are_hidden_and_a_fault_stands_at_its_control():
    style = forms.looks(RunConfig().model_dump(), {"beta": 'a "<b>" \\ of -1'})
    hidden = style.partition("{")[0]
    assert "#setting_clip_range" in hidden
    assert "#group_policy_gradient" in hidden
    assert "#group_objective" not in hidden
    assert "#setting_beta::after" in style
    assert "<b>" not in style
    assert "\\3c b\\3e \\22 " in style
