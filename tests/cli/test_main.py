import shlex
import signal

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from PIL import Image

from rocm.cli.main import main
from rocm.storage.paths import ROOT

FILES = {
    "broken.yaml": b"beta: [0.1",
    "list.yaml": b"- beta",
    "few.txt": b"one\ntwo\n",
    "binary.txt": b"\xff\xfe\x00",
}
LONG = "x" * 300


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train x --betta 0.1", "Unknown setting 'betta'. Did you mean 'beta'?"),
        ("train x --beta", "--beta needs a value"),
        ("train x 0.1", "'0.1' is not a setting"),
        ("train tiny-rocm-lk", "neither a preset nor a file. Did you mean 'tiny-rocm-kl'?"),
        ("train", "Give a preset or a file"),
        ("train broken.yaml", "broken.yaml is not valid YAML in line 1"),
        ("train list.yaml", "list.yaml holds no settings"),
        ("train --resume nowhere", "nowhere holds no run"),
        ("train --resume nowhere --beta 1", "--resume takes its settings from the run"),
        ("train x --prompts few.txt", "has 0 prompts to train and 2 to evaluate"),
        ("train x --prompts binary.txt", "not a UTF-8 text file"),
        ("train x --model few.txt", "'few.txt' is a file, and a folder"),
        ("train x --reward tiny-clap", "Did you mean 'tiny-clip'?"),
        ("train x --judge tiny-judge,tiny-clip", "not the name of one reward"),
        (f"train --resume {LONG}", "holds no run"),
        ("sample cat --num 0", "--num is 1 to 1000"),
        ("sample cat --out no/such/folder/x.png", "Cannot write no/such/folder/x.png"),
        ("sample cat --out /", "--out / names no file"),
        ("sample cat --guidance-scale x", "guidance_scale='x' is not allowed"),
        ("sample cat --sed 1", "Unknown argument '--sed'"),
        (f"export {LONG} --out out", "There is no run and no folder 'xxx"),
        (f"download {LONG}/y", "No folder 'xxx"),
        ("evaluate --out table.pdf", "--out table.pdf: end it in .csv"),
        ("evaluate --axis guidance_scale=a", "give numbers, such as guidance_scale=1,2,4"),
        ("evaluate --prompts training --num-prompts 300", "add --yes"),
        ("reproduce loop --quick --queries-per-run 32", "are settings of reproduce tiny"),
        ("bench step --batch 4 0", "--batch is 1 to 1000"),
        ("bench dry --variants fast", "No variant 'fast'. Variants: plain"),
        ("bench dry --size embedded", "bench dry takes --size real or small"),
        ("bench parts --json x.json", "bench parts writes no JSON"),
        ("bench step --json nowhere/x.json", "there is no such folder"),
    ],
)
def test_bad_input_is_one_clear_sentence_and_exit_code_2(folder, capsys, words, sentence):
    try:
        code = main(shlex.split(words.replace("train x", "train tiny-rocm-kl")))
    except SystemExit as leaving:
        code = leaving.code
    printed = capsys.readouterr().err
    assert code == 2
    assert sentence in printed.strip().splitlines()[-1]
    assert "Traceback" not in printed


def test_cuda_without_a_card_is_said_before_anything_is_loaded(folder, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "tiny-rocm-kl", "--device", "cuda"]) == 2
    assert "device=cuda, but no CUDA device is visible" in capsys.readouterr().err


def test_training_gives_back_the_signal_handlers_that_it_found(folder):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    arguments = ["--num-steps", "1", "--num-eval-prompts", "2"]
    assert main(["train", "tiny-rocm-kl", *arguments]) == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_sample_equals_a_ten_line_diffusers_script(folder):
    arguments = ["sample", "a glossy emoji of a red apple", "--seed", "7", "--num", "2"]
    assert main([*arguments, "--num-inference-steps", "4"]) == 0
    pipeline = LatentConsistencyModelPipeline.from_pretrained(ROOT / "assets/tiny-lcm")
    for seed in (7, 8):
        expected = pipeline(
            "a glossy emoji of a red apple",
            num_inference_steps=4,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        drawn = Image.open(folder / f"picture-{seed}.png")
        difference = np.abs(np.asarray(drawn, int) - np.asarray(expected, int))
        assert difference.max() <= 1
        assert drawn.info["seed"] == str(seed)
