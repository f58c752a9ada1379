"""Checkpoints that do not fit: each ends in one sentence that names the file, and runs no code."""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rocm.errors import ConfigError
from rocm.rewards.checkpoint import read_state
from tests.rewards import small

HPSV2 = "HPSv2/HPS_v2_compressed.pt"
IMAGEREWARD = "ImageReward/ImageReward.pt"


@pytest.fixture
def own_weights(small_weights, tmp_path, monkeypatch):
    """A copy that a test may damage."""
    folder = tmp_path / "weights"
    shutil.copytree(small_weights, folder)
    monkeypatch.setenv("ROCM_REWARDS", str(folder))
    return folder


def refusal(name):
    with pytest.raises(ConfigError) as caught:
        small.load(name)
    return str(caught.value)


def change(path, function):
    content = torch.load(path)
    function(content.get("state_dict", content))
    torch.save(content, path)


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        ("hpsv2", HPSV2, "visual.conv1.weight"),
        ("imagereward", IMAGEREWARD, "blip.visual_encoder.blocks.1.attn.qkv.bias"),
        ("imagereward", IMAGEREWARD, "mlp.layers.7.weight"),
    ],
)
def test_the_first_key_that_does_not_fit_is_named_as_in_the_file(own_weights, name, file, key):
    path = own_weights / file
    change(path, lambda state: state.update({key: state[key][:-1]}))
    assert str(path) in refusal(name)
    assert f"'{key}' has shape" in refusal(name)
    change(path, lambda state: state.pop(key))
    assert f"{path} does not fit: '{key}' is missing. " in refusal(name)


def test_a_key_too_many_and_another_models_safetensors_are_refused(own_weights):
    change(own_weights / HPSV2, lambda state: state.update(extra=torch.zeros(1)))
    assert "'extra' is unexpected" in refusal("hpsv2")
    path = own_weights / "PickScore_v1" / "model.safetensors"
    save_file({f"clip.{key}": value for key, value in load_file(path).items()}, path)
    assert f"{path} does not fit: 'logit_scale' is missing" in refusal("pickscore")


def test_one_checkpoint_in_place_of_another_is_refused(own_weights):
    shutil.copy(own_weights / IMAGEREWARD, own_weights / HPSV2)
    assert "holds no network under 'state_dict'" in refusal("hpsv2")
    shutil.copy(own_weights / "BLIP/model_large.pth", own_weights / IMAGEREWARD)
    assert "is another kind of file: it holds no network." in refusal("imagereward")


def test_a_full_checkpoint_with_the_optimizers_state_is_refused_with_the_one_to_use(own_weights):
    path = own_weights / HPSV2
    torch.save({**torch.load(path), "epoch": np.float64(1)}, path)
    assert "holds objects besides tensors" in refusal("hpsv2")
    assert "the compressed one" in refusal("hpsv2")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("with_torch", [True, False])
def test_a_pickle_does_not_run(tmp_path, monkeypatch, with_torch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pt"
    content = {"state_dict": {"a": Harmful()}}
    if with_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ConfigError, match="could run code"):
        read_state(path, "state_dict")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "name"), [(HPSV2, "hpsv2"), ("PickScore_v1/model.safetensors", "pickscore")]
)
def test_a_download_that_broke_off_or_is_another_file_is_said_to_be_one(own_weights, file, name):
    path = own_weights / file
    whole = path.read_bytes()
    others = [b"<!doctype html>", b"version https://git-lfs", b"\0" * 99]
    for content in [whole[: int(share * len(whole))] for share in (0, 0.001, 0.5, 0.999)] + others:
        path.write_bytes(content)
        sentence = refusal(name)
        assert sentence.startswith(f"{path} is damaged or incomplete (")
        assert sentence.endswith("Delete it and download it again.")
        assert "\n" not in sentence


def test_an_older_torch_file_and_the_prefix_of_parallel_training_are_read(own_weights):
    path = own_weights / HPSV2
    images, prompts = small.pictures(), ["a"] * 3
    expected = small.load("hpsv2")(images, prompts)
    content = torch.load(path)
    state = {f"module.{key}": value for key, value in content["state_dict"].items()}
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(small.load("hpsv2")(images, prompts), expected)


@pytest.mark.parametrize("name", ["imagereward", "blipscore"])
def test_a_vocabulary_that_broke_off_is_named(own_weights, name):
    path = own_weights / "bert-base-uncased" / "vocab.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-7]))
    assert f"{path} has 291 words, expected 298. Delete it" in refusal(name)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"text_config": 3}'])
def test_a_broken_configuration_is_named(own_weights, text):
    path = own_weights / "clip-vit-large-patch14" / "config.json"
    path.write_text(text)
    assert f"{path} is not the configuration of a CLIP" in refusal("clipscore")
