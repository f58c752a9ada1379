"""Models from a server that speaks the hub's protocol: size first, whole or not at all, offline."""

import os
import socket
import subprocess
import sys

import pytest
from huggingface_hub import constants

from rocm.errors import ConfigError, MissingFile
from rocm.models.consistency import load_model
from rocm.models.files import find_model, model_repositories
from rocm.prompts import files as prompt_files
from rocm.prompts.files import fetch_hub_prompts
from rocm.rewards import files as reward_files
from rocm.rewards.files import download as download_reward
from rocm.runs.adapters import SHIPPED, check_fit, find_adapter, fingerprint
from rocm.storage import hub as hub_module
from rocm.storage.hub import PINNED, repository, size
from rocm.storage.paths import ROOT
from tests.hub_server import COMMIT, serving
from tests.tiny_pipeline import random_diffusion, save_lcm_lora

MODEL = "somebody/sd+somebody/lcm-lora"
QUESTIONS = (
    lambda: size(repository("somebody/sd")),
    lambda: fetch_hub_prompts("hub:somebody/sd", "", str),
    lambda: list(download_reward("hpsv2", str)),
)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Two repositories, one with files that nobody needs."""
    root = tmp_path_factory.mktemp("repositories")
    pipeline = random_diffusion(seed=1)
    pipeline.save_pretrained(root / "sd")
    for unneeded in ("unet/diffusion_pytorch_model.fp16.safetensors", "whole.safetensors", "a.bin"):
        (root / "sd" / unneeded).write_bytes(bytes(1_000_000))
    save_lcm_lora(pipeline.unet, root / "lora", seed=2)
    return {"models/somebody/sd": root / "sd", "models/somebody/lcm-lora": root / "lora"}


@pytest.fixture
def hub(repositories):
    with serving() as hub:
        hub.folders = dict(repositories)
        yield hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def rocm(cache, *words, **environment):
    env = {**os.environ, "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub"), **environment}
    command = [sys.executable, "-m", "rocm", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_a_download_says_its_size_first_takes_what_is_needed_and_works_offline(hub, cache):
    dry = rocm(cache, "download", MODEL, "--dry-run", **hub.environment)
    assert dry.returncode == 0, dry.stderr
    assert hub.sent == 0
    done = rocm(cache, "download", MODEL, **hub.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry.stdout
    files = [one for one in (cache / "hub").rglob("snapshots/**/*") if one.is_file()]
    megabytes = sum(one.stat().st_size for one in files) / 1e6
    assert hub.sent == sum(one.stat().st_size for one in files)
    assert not {"whole.safetensors", "a.bin"} & {one.name for one in files}
    assert not any("fp16" in one.name for one in files)
    stated = [float(line.split(": ")[1].split(" MB")[0]) for line in done.stdout.splitlines()]
    assert sum(stated) == pytest.approx(megabytes, rel=0.02)
    assert load_model(MODEL, "cpu").pipeline.unet is not None
    assert find_model(MODEL).revisions == f"{COMMIT}+{COMMIT}"


def test_an_adapter_of_the_hub_is_an_arm_once_it_is_downloaded(hub, cache):
    hub.folders["models/somebody/adapter"] = SHIPPED / "tiny-rlcm"
    with pytest.raises(MissingFile, match="Run: python -m rocm download --adapter somebody/adapt"):
        find_adapter("somebody/adapter", cache)
    done = rocm(cache, "download", "--adapter", "somebody/adapter", **hub.environment)
    assert done.returncode == 0, done.stderr
    arm = find_adapter("somebody/adapter", cache)
    assert arm.label == "somebody/adapter"
    assert fingerprint(arm.folder) == fingerprint("assets/adapters/tiny-rlcm")
    check_fit(arm, arm.folder, "assets/tiny-lcm")
    with pytest.raises(ConfigError, match="public page"):
        find_adapter("somebody/adapter", cache, is_public=True)


def test_an_interrupted_download_is_not_taken_for_a_model_and_its_rest_is_announced(hub, cache):
    rocm(cache, "download", "somebody/sd", **hub.environment)
    link = next((cache / "hub").rglob("unet/*.safetensors"))
    link.resolve().unlink()
    link.unlink()
    with pytest.raises(MissingFile, match="python -m rocm download somebody/sd"):
        find_model("somebody/sd")
    dry = rocm(cache, "download", "somebody/sd", "--dry-run", **hub.environment)
    assert "the rest is here already" in dry.stdout


def test_a_file_that_arrives_damaged_is_deleted_and_named(hub, cache):
    hub.damaged = "vae/diffusion_pytorch_model.safetensors"
    failed = rocm(cache, "download", "somebody/sd", **hub.environment)
    assert failed.returncode == 2
    assert "diffusion_pytorch_model.safetensors arrived damaged" in failed.stderr
    with pytest.raises(MissingFile):
        find_model("somebody/sd")
    hub.damaged = ""
    assert rocm(cache, "download", "somebody/sd", **hub.environment).returncode == 0
    assert find_model("somebody/sd").base.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("somebody/else", "is not on the hub, or is private"),
        ("somebody/sd@v9", "no such revision"),
        ("somebody/sd+somebody/sd", "has none of the files"),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub, cache, name, words):
    failed = rocm(cache, "download", name, **hub.environment)
    assert failed.returncode == 2
    assert words in failed.stderr.splitlines()[-1]
    assert failed.stderr.splitlines()[-1].startswith(f"rocm: {name.split('+')[-1].split('@')[0]}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (401, b"{}", "(HTTP 401): it needs a login. Run: hf auth login"),
        (429, b"{}", "(HTTP 429): the hub was asked too often"),
        (502, b"<html>", "(HTTP 502): the hub failed. Try again later"),
        (200, b"<!doctype html>", "answered what the hub does not (Expecting value"),
        (200, b"[" * 100_000, "answered what the hub does not"),
    ],
)
def test_a_hub_that_refuses_or_is_none_is_one_sentence(hub, monkeypatch, status, content, words):
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.refusal = (status, content)
    for question in QUESTIONS:
        with pytest.raises(MissingFile) as caught:
            question()
        assert words in str(caught.value)


def test_a_hub_that_takes_the_question_and_never_answers_is_not_waited_for(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for module in (hub_module, prompt_files, reward_files):
            monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
        for question in QUESTIONS:
            with pytest.raises(MissingFile, match=f"cannot be reached: {url} does not answer"):
                question()


@pytest.mark.parametrize("is_offline", [True, False])
@pytest.mark.parametrize("pinned_or_data", [next(iter(PINNED)), "hub:somebody/prompts"])
def test_no_network_is_one_sentence_and_nothing_else(cache, is_offline, pinned_or_data):
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": str(int(is_offline))}
    failed = rocm(cache, "download", pinned_or_data, **environment)
    assert failed.returncode == 2
    words = "HF_HUB_OFFLINE forbids" if is_offline else "http://127.0.0.1:9 does not answer"
    (sentence,) = failed.stderr.splitlines()
    assert words in sentence


def test_names_and_revisions():
    (dreamshaper,) = model_repositories("SimianLuo/LCM_Dreamshaper_v7")
    assert str(dreamshaper).endswith(f"@{PINNED['SimianLuo/LCM_Dreamshaper_v7']}")
    base, lora = model_repositories("one/base@v2+two/lora")
    assert (str(base), str(lora)) == ("one/base@v2", "two/lora@main")
    assert all(len(commit) == 40 for commit in PINNED.values())
    assert model_repositories("assets/tiny-lcm") == []
