"""What a person does with runs and presets: nothing is lost, and bad input is one sentence."""

import shlex
import time
import zipfile

import pytest

from rocm.cli.runs import settings
from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.runs import library
from rocm.runs.run_dir import RunDir
from rocm.storage.files import replace_folder
from rocm.studio import Services


@pytest.fixture
def services(tmp_path):
    return Services(tmp_path / "home")


@pytest.fixture
def run(services):
    """A run that was stopped after two updates, with everything that a run leaves."""
    run = RunDir.create(services.runs / "mine", RunConfig(num_steps=5), "tiny-rocm-kl")
    run.append_metrics({"step": 0, "eval/reward": 0.0, "heldout/tiny-judge": 0.3})
    run.append_metrics({"step": 1, "reward": 0.5, "divergence": 0.1})
    run.append_metrics({"step": 2, "eval/reward": 1.5, "heldout/tiny-judge": 0.25})
    run.append_event("started", step=0)
    run.write_manifest({"seed": 0})
    for folder in (run.samples_dir(2), run.checkpoint_dir(2), run.path / "adapter"):
        with replace_folder(folder) as made:
            (made / "manifest.json").write_text('[{"file": "000.webp", "prompt": "a", "seed": 0}]')
            (made / "000.webp").write_bytes(b"picture")
            (made / "adapter.safetensors").write_bytes(b"weights")
    (run.path / "log.txt").write_text("two updates\n")
    run.write_state("running", step=2)
    run.mark_ended("stopped")
    return run


def test_a_line_of_the_list_says_what_came_of_a_run(services, run):
    services.rename_run("mine", "  Best\nso far ")
    services.annotate_run("mine", "beta looks right\n")
    (report,) = services.list_runs()
    assert (report.title, report.note) == ("Best so far", "beta looks right")
    assert (report.preset, report.reward, report.judge) == ("tiny-rocm-kl", 1.5, 0.25)
    assert report.thumbnail == run.samples_dir(2) / "000.webp"
    version = services.run_version("mine")
    services.rename_run("mine", "")
    assert services.list_runs()[0].title == ""
    assert services.run_version("mine") != version


def test_a_new_evaluation_shows_in_the_list(services, run):
    assert services.list_runs()[0].reward == 1.5
    run.append_metrics({"step": 3, "reward": 9.0})
    assert services.list_runs()[0].reward == 1.5
    run.append_metrics({"step": 4, "eval/reward": 2.5})
    assert services.list_runs()[0].reward == 2.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda one: one.rename_run("mine", "x" * 121), "The title has 121 characters"),
        (lambda one: one.annotate_run("mine", "x" * 10_001), "The note has 10,001 characters"),
        (lambda one: one.continue_run("mine", 0), "num_more=0 is not allowed"),
        (lambda one: one.continue_run("mine", 10**7), "num_steps=10000002 is not allowed"),
        (lambda one: one.restore_run("mine"), "There is no run 'mine' in the bin"),
        (lambda one: one.restore_run("../runs/mine"), "in the bin"),
        (lambda one: one.save_preset("../x", RunConfig(), ""), "cannot name a preset"),
        (lambda one: one.save_preset("", RunConfig(), ""), "cannot name a preset"),
        (lambda one: one.save_preset("Tiny-ROCM-kl", RunConfig(), ""), "a preset 'Tiny-ROCM-kl' a"),
        (lambda one: one.command_line(RunConfig(), "none"), "There is no preset 'none'"),
        (lambda one: one.sweep_report("none"), "There is no sweep 'none'"),
    ],
)
def test_bad_input_is_one_sentence(services, run, call, words):
    with pytest.raises((ConfigError, MissingFile, RunError), match=words):
        call(services)
    assert services.run_config("mine").num_steps == 5
    assert services.queue() == []


def test_a_deleted_run_goes_to_the_bin_and_comes_back_whole(services, run):
    before = sorted(path.relative_to(run.path) for path in run.path.rglob("*"))
    services.delete_run("mine")
    assert services.list_runs() == []
    assert [report.run_id for report in services.list_bin()] == ["mine"]
    with pytest.raises(MissingFile, match="There is no run 'mine'"):
        services.run_status("mine")
    services.restore_run("mine")
    after = sorted(path.relative_to(run.path) for path in run.path.rglob("*"))
    assert [path for path in after if path.name != "lock"] == before
    assert services.list_bin() == []
    services.delete_run("mine")
    assert services.empty_bin() == 1
    assert services.list_bin() == []


def test_a_run_that_works_or_waits_is_not_deleted(services, run):
    run.write_state("running")
    with pytest.raises(RunError, match=r"is at work and cannot be deleted\. Stop it first"):
        services.delete_run("mine")
    run.mark_waiting(place=1)
    with pytest.raises(RunError, match=r"waits and cannot be deleted\. Cancel it first"):
        services.delete_run("mine")


def test_a_damaged_run_can_be_deleted(services, run):
    run.state_file.write_text("{")
    services.delete_run("mine")
    assert [report.run_id for report in services.list_bin()] == ["mine"]


def test_a_run_is_not_restored_over_another(services, run):
    services.delete_run("mine")
    RunDir.create(services.runs / "mine", RunConfig())
    with pytest.raises(RunError, match="exists already"):
        services.restore_run("mine")
    assert [report.run_id for report in services.list_bin()] == ["mine"]


def test_an_export_holds_all_but_the_checkpoints(services, run, tmp_path):
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "rew')
    path = services.export_run("mine", tmp_path / "new" / "folder")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = {name.removeprefix("mine/") for name in archive.namelist()}
        rows = archive.read("mine/metrics.jsonl").decode()
    assert names == {
        *("config.yaml", "manifest.json", "about.json", "metrics.jsonl", "events.jsonl", "log.txt"),
        *(f"samples/step_000002/{name}" for name in FILES),
        *(f"adapter/{name}" for name in FILES),
    }
    assert rows.count("\n") == 3
    assert '"rew' not in rows.splitlines()[-1]
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.zip"]


FILES = ("manifest.json", "000.webp", "adapter.safetensors")


def test_an_own_preset_is_listed_after_the_shipped_ones_and_loads(services):
    shipped = [preset.name for preset in services.list_presets()]
    config = RunConfig.load("tiny-rocm-kl", beta=0.25)
    path = services.save_preset("a-mine", config, " Softer. ")
    assert path == services.home / "presets" / "a-mine.yaml"
    listed = services.list_presets()
    assert [preset.name for preset in listed] == [*shipped, "a-mine"]
    assert (listed[-1].description, listed[-1].is_own) == ("Softer.", True)
    assert services.load_preset("a-mine").beta == 0.25
    with pytest.raises(ConfigError, match="Choose another name"):
        services.save_preset("a-mine", config, "")
    assert services.load_preset("a-mine").description == "Softer."


def test_a_damaged_preset_says_so_in_the_list(services):
    path = services.save_preset("mine", RunConfig(), "")
    path.write_text("betta: 1")
    assert "Did you mean 'beta'?" in services.list_presets()[-1].description


def test_the_command_line_gives_the_same_settings_back(services):
    config = RunConfig.load(
        "tiny-rocm-kl", beta=0, reward="0.7*tiny-clip+0.3*colorfulness", judge="", model="a b"
    )
    line = services.command_line(config, "tiny-rocm-kl")
    words = shlex.split(line)
    assert words[:5] == ["python", "-m", "rocm", "train", "tiny-rocm-kl"]
    assert len(words) == 5 + 2 * 4
    assert RunConfig.load("tiny-rocm-kl", **settings(words[5:])) == config
    assert services.command_line(RunConfig.load("tiny-rocm-kl"), "tiny-rocm-kl").count("--") == 0


def test_without_a_file_manager_the_folder_is_named(services, run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match=r"no file manager here\. The folder is .*runs/mine"):
        services.open_folder("mine")


def test_the_file_manager_gets_the_folder(services, run, monkeypatch, tmp_path):
    program = tmp_path / "xdg-open"
    program.write_text('#!/bin/sh\necho "$1" > "$0.new" && /bin/mv "$0.new" "$0.seen"\n')
    program.chmod(0o755)
    monkeypatch.setattr(library.sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    services.open_folder("mine")
    seen, deadline = tmp_path / "xdg-open.seen", time.monotonic() + 10
    while not seen.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen.read_text().strip() == str(run.path)


def test_half_a_character_is_refused_before_it_is_stored(services, run):
    for write in (services.rename_run, services.annotate_run):
        with pytest.raises(ConfigError, match="not a character"):
            write("mine", "a \udcff")
    with pytest.raises(ConfigError, match="not a character"):
        services.save_preset("mine", RunConfig(), "a \udcff")
    assert services.run_status("mine").title == ""
