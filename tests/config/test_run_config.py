import pytest

from rocm.config import RunConfig
from rocm.config.presets import preset_names, read_settings
from rocm.errors import ConfigError, MissingFile, SettingsError
from rocm.models.files import model_repositories
from rocm.rewards.names import parse_mixture
from rocm.storage.paths import ROOT, find_folder
from rocm.study.design.recipe import Recipe


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_says_what_it_shows(name):
    config = RunConfig.load(name)
    assert config.description.endswith(".")
    written = read_settings(name)
    assert {key: getattr(config, key) for key in written} == written
    assert (ROOT / config.model).is_dir() or model_repositories(config.model)
    assert parse_mixture(config.reward)
    assert config.judge != config.reward


def test_the_presets_of_the_paper_are_its_divergences_by_its_rewards():
    rewards = ("hpsv2", "pickscore", "clipscore", "aesthetic")
    found = {name: RunConfig.load(name) for name in preset_names() if "paper-rocm" in name}
    wanted = [(kind, reward) for kind in ("kl", "js", "hellinger", "fisher") for reward in rewards]
    assert [(one.divergence, one.reward) for one in found.values()] == wanted
    for name, config in found.items():
        assert name == f"paper-rocm-{config.divergence}-{config.reward}"
        paper = (config.num_inference_steps, config.lora_rank, config.lora_alpha, config.batch_size)
        assert paper == (8, 16, 32, 1)
        assert (config.learning_rate, config.num_prompts) == (6e-5, 4000)
        assert config.judge in rewards
        assert config.track == "auto"
        assert "never run on the real model" in config.description


def test_yaml_round_trip_keeps_every_setting(tmp_path):
    config = RunConfig.load({"beta": 0.3, "judge": "", "description": "Zwölf: a # b"})
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert RunConfig.load(path) == config


def test_overrides_win_and_text_becomes_numbers():
    config = RunConfig.load("tiny-rocm-kl", beta="0.5", num_steps="7", stop_on_warning="true")
    assert (config.beta, config.num_steps, config.stop_on_warning) == (0.5, 7, True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"backprop": "last_k", "backprop_steps": 5}, "backprop_steps=5 is more than"),
        ({"beta": "auto", "judge": ""}, "Set judge, or kl_budget in nats"),
        ({"beta": "auto", "judge": "tiny-clip", "audit": "tiny-clip"}, "audit=tiny-clip is the"),
        ({"beta": 1, "kl_budget": 5}, "kl_budget=5 needs beta=auto"),
        ({"beta": "often"}, "beta='often' is not allowed"),
        ({"divergence": "chi_square", "reduction": "joint"}, "Set reduction to mean or tempered"),
        ({"last_step": "skip", "num_inference_steps": 1}, "leaves no step with a divergence"),
        ({"num_inference_steps": 12}, "12 is outside 1-8 and 16"),
        ({"algorithm": "rlcm", "num_inference_steps": 1}, "no step whose noise reaches"),
        ({"algorithm": "rlcm", "prompt_window": 8}, "prompt_min_count=16 is more than"),
        ({"num_steps": 2.5}, "num_steps=2.5 is not allowed"),
        ({"beta": None}, "beta without a value is not allowed: give a number"),
    ],
)
def test_settings_that_contradict_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        RunConfig.load(settings)


def test_every_fault_is_told_at_once_by_its_setting():
    with pytest.raises(SettingsError) as told:
        RunConfig.load({"beta": -1, "num_steps": 0})
    assert set(told.value.faults) == {"beta", "num_steps"}
    with pytest.raises(SettingsError) as told:
        RunConfig.load({"num_inference_steps": 9})
    assert set(told.value.faults) == {"num_inference_steps"}


@pytest.mark.parametrize(
    "text",
    ["description: 2024-13-45", 'seed: !!int "x"', "seed: " + "9" * 5000, "seed: " + "[" * 5000],
)
def test_yaml_that_cannot_be_read_is_one_sentence(text, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not valid YAML"):
        RunConfig.load(path)


def test_aliases_that_stand_for_gigabytes_are_refused_in_a_short_sentence(tmp_path):
    levels = [f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
    path = tmp_path / "bomb.yaml"
    path.write_text(f"seed: [&a0 [x, x], {', '.join(levels)}]")
    with pytest.raises(ConfigError, match=r"seed=.* is not allowed") as refused:
        RunConfig.load(path)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-here/x", "a\0b"])
def test_a_name_that_can_be_no_path_is_a_missing_file(name):
    with pytest.raises(MissingFile):
        RunConfig.load(name)
    with pytest.raises(MissingFile):
        find_folder(name)


def test_a_file_of_settings_is_not_read_whole_however_large_it_is(tmp_path):
    large = tmp_path / "large.yaml"
    with open(large, "wb") as file:
        file.write(b"beta: 0.1\n")
        file.truncate(10**12)  # more than any memory; no disk is used
    for load in (RunConfig.load, Recipe.load):
        with pytest.raises(ConfigError, match=r"large\.yaml is larger than 4 MB"):
            load(large)
