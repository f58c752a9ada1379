"""Adapters in other formats draw, in the programs' own readers, what ours draws."""

import errno
from functools import partial

import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import constants
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rocm.cli.main import main
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.models.consistency import load_model
from rocm.models.export import export_merged, read_adapter
from rocm.models.lora import METADATA, WEIGHTS, load_adapter, save_adapter
from rocm.models.pipelines import TURBO
from rocm.runs.adapters import find_adapter
from rocm.runs.share import export_adapter, push
from rocm.training.loop import train
from tests.families import levels_apart, name_of, our_picture, random_adapter, stock, stock_picture
from tests.hub_server import serving

FAMILIES = ("lcm", "sd+lora", "xl+lora")


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request, models, tmp_path_factory):
    """A family, an adapter with random weights, rank 4 and alpha 12, and our picture with it."""
    model = load_model(name_of(models, request.param), "cpu")
    before = our_picture(model, 2.0)
    random_adapter(model.pipeline.unet, alpha=12)
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(model.pipeline.unet, folder)
    ours = our_picture(model, 2.0)
    assert levels_apart(ours, before) > 20
    return request.param, folder, ours


def exported(models, trained, kind, out):
    family, folder, ours = trained
    adapter = find_adapter(str(folder), models / "no-runs")
    return family, export_adapter(adapter, name_of(models, family), kind, out), ours


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diffusers", "kohya"])
def test_stock_diffusers_draws_our_picture_from_its_own_and_from_kohyas_format(
    models, trained, kind, tmp_path
):
    family, path, ours = exported(models, trained, kind, tmp_path / "out")
    pipeline = stock(models, family)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="ours")
    pipeline.set_adapters([*(["lcm"] if family.endswith("lora") else []), "ours"])
    assert levels_apart(stock_picture(pipeline, 2.0), ours) <= 1


def test_kohyas_file_holds_its_names_and_our_alpha_and_nothing_else(models, trained, tmp_path):
    _, path, _ = exported(models, trained, "kohya", tmp_path / "out")
    state = load_file(path)
    layers = {name.split(".")[0] for name in state}
    assert all(layer.startswith("lora_unet_") for layer in layers)
    ends = {"lora_down.weight", "lora_up.weight", "alpha"}
    assert set(state) == {f"{layer}.{end}" for layer in layers for end in ends}
    assert {state[f"{layer}.alpha"].item() for layer in layers} == {12.0}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("4", "12")


def test_peft_draws_our_picture(models, trained, tmp_path):
    family, path, ours = exported(models, trained, "peft", tmp_path / "out")
    pipeline = stock(models, family)
    if family.endswith("lora"):
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    pipeline.unet = PeftModel.from_pretrained(pipeline.unet, path.parent)
    assert levels_apart(stock_picture(pipeline, 2.0), ours) <= 1


@pytest.mark.slow
def test_the_merged_model_draws_our_picture_in_stock_diffusers_and_here(models, trained, tmp_path):
    family, path, ours = exported(models, trained, "merged", tmp_path / "out")
    pipeline = DiffusionPipeline.from_pretrained(path)
    assert levels_apart(stock_picture(pipeline, 2.0), ours) <= 1
    merged = load_model(str(path), "cpu")
    assert levels_apart(our_picture(merged, 2.0), ours) <= 1
    assert merged.note == load_model(name_of(models, family), "cpu").note


def test_a_merged_turbo_model_is_still_said_to_be_one(models, tmp_path):
    name = name_of(models, "turbo")
    unet = load_model(name, "cpu").pipeline.unet
    random_adapter(unet)
    save_adapter(unet, tmp_path)
    (tmp_path / "merged").mkdir()
    export_merged(tmp_path, name, tmp_path / "merged")
    assert load_model(str(tmp_path / "merged"), "cpu").note == TURBO


@pytest.mark.parametrize(
    "stated", ["{", "[1]", '{"unet.r": "x"}', '{"unet.lora_alpha": NaN}', '{"unet.unheard_of": 1}']
)
def test_an_adapter_whose_rank_and_alpha_cannot_be_read_is_one_sentence(stated, tmp_path):
    save_file({"unet.x": torch.zeros(2, 2)}, tmp_path / WEIGHTS, {METADATA: stated})
    for read in (read_adapter, partial(load_adapter, "no pipeline is asked")):
        with pytest.raises(ConfigError, match="is damaged: its rank and alpha cannot be read"):
            read(tmp_path)


def test_an_export_onto_a_full_disk_leaves_nothing_and_works_once_there_is_room(
    tmp_path, monkeypatch
):
    adapter = find_adapter("tiny-rlcm", tmp_path)

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rocm.models.export.shutil.copy", full)
        with pytest.raises(RunError, match="No space left on device"):
            export_adapter(adapter, "assets/tiny-lcm", "diffusers", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert export_adapter(adapter, "assets/tiny-lcm", "diffusers", tmp_path / "out").is_file()


def test_what_is_no_adapter_is_one_sentence(tmp_path):
    save_file({"unet.x.lora.down.weight": torch.zeros(2, 2)}, tmp_path / WEIGHTS)
    adapter = find_adapter(str(tmp_path), tmp_path / "runs")
    with pytest.raises(ConfigError, match="lacks its rank and alpha"):
        export_adapter(adapter, "assets/tiny-lcm", "kohya", tmp_path / "b")
    with pytest.raises(RunError, match="is not empty"):
        export_adapter(adapter, "assets/tiny-lcm", "kohya", tmp_path)
    with pytest.raises(ConfigError, match="no adapter to export"):
        export_adapter(find_adapter("base", tmp_path), "", "kohya", tmp_path / "c")


@pytest.fixture
def hub(monkeypatch):
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


def test_a_run_goes_to_the_hub_with_card_chart_and_pictures(
    hub, new_run, tmp_path, monkeypatch, capsys
):
    run = new_run("run", num_steps=2)
    assert len(list(train(run))) == 3
    cut_off = run.samples_dir(9)  # without a manifest
    cut_off.mkdir()
    (cut_off / "half.webp").write_bytes(b"")
    words = [str(run.path), "--format", "kohya", "--out", str(tmp_path / "out")]
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    assert main(["export", *words, "--push-to-hub", "me/mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{hub.url}/me/mine"
    assert hub.created[0]["visibility"] == "private"
    files = hub.committed
    assert files["adapter.safetensors"] == (tmp_path / "out" / "adapter.safetensors").read_bytes()
    card = files["README.md"].decode()
    assert "| eval/reward |" in card
    assert all(f"]({name})" in card for name in files if name.endswith((".png", ".webp")))
    assert files["chart.png"].startswith(b"\x89PNG")
    assert sum(name.endswith(".webp") for name in files) == 2
    assert "half.webp" not in files


def test_a_refused_upload_keeps_the_folder_and_says_how_to_send_it(hub, tmp_path, capsys):
    words = ["export", "assets/adapters/tiny-rlcm", "--out", str(tmp_path / "out")]
    assert main([*words, "--push-to-hub", "no name"]) == 2
    assert not (tmp_path / "out").exists()
    hub.refusal = (403, b"{}")
    assert main([*words, "--push-to-hub", "me/mine"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "me/mine could not be uploaded (HTTP 403): the hub forbids it" in said
    assert said.endswith(f"hf upload me/mine {tmp_path / 'out'}")
    assert (tmp_path / "out" / WEIGHTS).is_file()


def test_an_upload_without_a_network_is_one_sentence(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingFile, match=r"me/mine cannot be reached: http://127\.0\.0\.1:9 does"):
        push(tmp_path, "me/mine", is_public=False)
