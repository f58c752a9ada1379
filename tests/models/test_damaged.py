"""Models with a damaged or wrong file: one sentence with file and key, never random weights."""

import json
import pickle
import shutil

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from rocm.errors import ConfigError, MissingFile, RocmError
from rocm.models.consistency import load_model
from rocm.models.tiny_decoder import load_decoder
from tests.families import levels_apart, our_picture

WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}


@pytest.fixture
def copy(models, tmp_path):
    """A model that a test may damage."""
    return shutil.copytree(models / "lcm", tmp_path / "lcm")


def refusal(model, kind=ConfigError):
    with pytest.raises(kind) as caught:
        load_model(str(model), "cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(path, function):
    state = load_file(path)
    function(state)
    save_file(state, path, {"format": "pt"})


def configure(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("part", WEIGHTS)
def test_weights_that_lack_a_key_are_refused_with_file_and_first_key(copy, part):
    path = copy / WEIGHTS[part]
    first = min(load_file(path))
    change(path, lambda state: state.update({first: torch.zeros(3)}))
    assert f"{path} does not fit its config.json: '{first}' has shape [3]" in refusal(copy)
    change(path, lambda state: state.pop(first))
    assert f"{path} does not fit its config.json: '{first}' is missing" in refusal(copy)


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_file_that_broke_off_or_is_a_pickle_is_named(copy, part):
    path = copy / WEIGHTS[part]
    for content in (path.read_bytes()[:-9], b"", pickle.dumps({}), b"version https://git-lfs"):
        path.write_bytes(content)
        assert f"{path} is damaged or incomplete (" in refusal(copy)
    path.unlink()
    assert str(path.parent) in refusal(copy, MissingFile)
    if part == "unet":
        torch.save({}, path.with_suffix(".bin"))
        assert "unet as a pickle" in refusal(copy)


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_configuration_that_is_none_is_named(copy, text):
    path = copy / "text_encoder" / "config.json"
    path.write_text(text, errors="surrogateescape")
    assert f"{path} is damaged" in refusal(copy)


def test_a_tokenizer_without_its_words_is_refused(copy):
    (copy / "tokenizer" / "tokenizer.json").unlink()
    assert f"{copy / 'tokenizer'} has no vocabulary" in refusal(copy, MissingFile)


def test_older_names_of_the_same_weights_draw_the_same_picture(copy):
    before = our_picture(load_model(str(copy), "cpu"), 2.0)

    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename_vae(state):
        for new, old in old_names.items():
            for name in [name for name in state if f".{new}." in name]:
                state[name.replace(f".{new}.", f".{old}.")] = state.pop(name)

    def rename_text(state):
        for name in list(state):
            state[f"text_model.{name}"] = state.pop(name)
        state["text_model.embeddings.position_ids"] = torch.arange(16)[None]

    change(copy / WEIGHTS["vae"], rename_vae)
    change(copy / WEIGHTS["text_encoder"], rename_text)
    assert levels_apart(our_picture(load_model(str(copy), "cpu"), 2.0), before) == 0


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type=flow"),
        ("scheduler/scheduler_config.json", {"original_inference_steps": 0}, "outside 1 to 1000"),
        ("scheduler/scheduler_config.json", {"beta_start": None}, "damaged or misfit file"),
        ("scheduler/scheduler_config.json", {"clip_sample": True}, "clamps its prediction"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "clamps its prediction"),
        ("unet/config.json", {"sample_size": [8, 8]}, "sample_size=[8, 8]"),
        ("vae/config.json", {"scaling_factor": "a"}, "no number as scaling_factor"),
        ("model_index.json", {"scheduler": ["diffusers", "DDIMScheduler"]}, "has a DDIMScheduler"),
    ],
)
def test_values_that_nothing_can_be_computed_with_are_named(copy, file, values, words):
    configure(copy / file, **values)
    assert words in refusal(copy)


def test_more_steps_than_the_model_was_distilled_on_are_refused(copy):
    configure(copy / "scheduler" / "scheduler_config.json", original_inference_steps=5)
    model = load_model(str(copy), "cpu")
    assert len(model.schedule(5)) == 5
    with pytest.raises(ConfigError, match="num_inference_steps=8 is more than the 5"):
        model.schedule(8)


def test_an_lcm_lora_that_broke_off_is_named(models, tmp_path):
    lora = shutil.copytree(models / "sd-lora", tmp_path / "lora")
    path = lora / "pytorch_lora_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is damaged or incomplete" in refusal(f"{models / 'sd'}+{lora}")


def test_a_tiny_decoder_that_lacks_a_key_is_refused(tmp_path):
    channels = {"encoder_block_out_channels": (8,), "decoder_block_out_channels": (8,)}
    blocks = {"num_encoder_blocks": (1,), "num_decoder_blocks": (1,)}
    AutoencoderTiny(**channels, **blocks).save_pretrained(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    change(path, lambda state: state.pop(min(state)))
    with pytest.raises(ConfigError, match=r"is missing\. Download the model again"):
        load_decoder(str(tmp_path), torch.device("cpu"), torch.float32, 4)


@pytest.mark.parametrize("name", ["a/b", "README.md", "x" * 300, "x" * 300 + "/y", "/nowhere"])
def test_what_is_no_folder_of_a_model_is_one_sentence(name):
    assert refusal(name, RocmError)
