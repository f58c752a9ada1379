"""What a person does with runs and presets: nothing is lost, and bad input is one sentence."""

import shlex
import zipfile

import pytest

from rocm.cli.runs import settings
from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.runs.export import export
from rocm.runs.run_dir import RunDir
from rocm.storage.files import replace_folder
from rocm.studio import Studio


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path / "home")


@pytest.fixture
def run(studio):
    """A run that was stopped after two updates, with everything that a run leaves."""
    run = RunDir.create(studio.runs.folder / "mine", RunConfig(num_steps=5), "tiny-rocm-kl")
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


def test_a_line_of_the_list_says_what_came_of_a_run(studio, run):
    studio.runs.rename("mine", "  Best\nso far ")
    studio.runs.annotate("mine", "beta looks right\n")
    (report,) = studio.runs.all()
    assert (report.title, report.note) == ("Best so far", "beta looks right")
    assert (report.preset, report.reward, report.judge) == ("tiny-rocm-kl", 1.5, 0.25)
    assert report.thumbnail == run.samples_dir(2) / "000.webp"
    version = studio.runs.version("mine")
    studio.runs.rename("mine", "")
    assert studio.runs.all()[0].title == ""
    assert studio.runs.version("mine") != version


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda one: one.runs.rename("mine", "x" * 121), "The title has 121 characters"),
        (lambda one: one.runs.annotate("mine", "x" * 10_001), "The note has 10,001 characters"),
        (lambda one: one.runs.extend("mine", 10**7), "num_steps=10000002 is not allowed"),
        (lambda one: one.runs.restore("../runs/mine"), "in the bin"),
        (lambda one: one.presets.save("../x", RunConfig(), ""), "cannot name a preset"),
        (lambda one: one.presets.save("Tiny-ROCM-kl", RunConfig(), ""), "preset 'Tiny-ROCM-kl' a"),
        (lambda one: one.sweeps.report("none"), "There is no sweep 'none'"),
    ],
)
def test_bad_input_is_one_sentence(studio, run, call, words):
    with pytest.raises((ConfigError, MissingFile, RunError), match=words):
        call(studio)
    assert studio.runs.run("mine").config().num_steps == 5
    assert [report.run_id for report in studio.runs.waiting()] == []


def test_a_deleted_run_goes_to_the_bin_and_comes_back_whole(studio, run):
    before = sorted(path.relative_to(run.path) for path in run.path.rglob("*"))
    studio.runs.delete("mine")
    assert studio.runs.all() == []
    assert [report.run_id for report in studio.runs.deleted()] == ["mine"]
    with pytest.raises(MissingFile, match="There is no run 'mine'"):
        studio.runs.report("mine")
    studio.runs.restore("mine")
    after = sorted(path.relative_to(run.path) for path in run.path.rglob("*"))
    assert [path for path in after if path.name != "lock"] == before
    assert studio.runs.deleted() == []
    studio.runs.delete("mine")
    (studio.runs.bin / "not ours").mkdir()
    assert studio.runs.empty_bin() == 1
    assert studio.runs.deleted() == []
    assert [path.name for path in studio.runs.bin.iterdir()] == ["not ours"]


def test_a_deletion_that_was_cut_off_is_finished_by_the_next(studio, run):
    studio.runs.delete("mine")
    (studio.runs.bin / "mine" / "config.yaml").unlink()
    assert studio.runs.deleted() == []
    assert studio.runs.empty_bin() == 0
    assert list(studio.runs.bin.iterdir()) == []


def test_a_run_that_works_or_waits_is_not_deleted(studio, run):
    run.write_state("running")
    with pytest.raises(RunError, match=r"is training and cannot be deleted"):
        studio.runs.delete("mine")
    run.mark_waiting(place=1)
    with pytest.raises(RunError, match=r"waits and cannot be deleted\. Cancel it first"):
        studio.runs.delete("mine")


def test_a_run_is_not_restored_over_another(studio, run):
    studio.runs.delete("mine")
    RunDir.create(studio.runs.folder / "mine", RunConfig())
    with pytest.raises(RunError, match="exists already"):
        studio.runs.restore("mine")
    assert [report.run_id for report in studio.runs.deleted()] == ["mine"]


def test_an_export_holds_all_but_the_checkpoints(studio, run, tmp_path):
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "rew')
    path = export(studio.runs.run("mine"), tmp_path / "new" / "folder")
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


def test_an_own_preset_is_listed_after_the_shipped_ones_and_loads(studio):
    shipped = [preset.name for preset in studio.presets.all()]
    config = RunConfig.load("tiny-rocm-kl", beta=0.25)
    path = studio.presets.save("a-mine", config, " Softer. ")
    assert path == studio.home / "presets" / "a-mine.yaml"
    listed = studio.presets.all()
    assert [preset.name for preset in listed] == [*shipped, "a-mine"]
    assert (listed[-1].description, listed[-1].is_own) == ("Softer.", True)
    assert studio.presets.load("a-mine").beta == 0.25
    with pytest.raises(ConfigError, match="Choose another name"):
        studio.presets.save("a-mine", config, "")
    assert studio.presets.load("a-mine").description == "Softer."


def test_the_command_line_gives_the_same_settings_back(studio):
    mixture = "0.7*tiny-clip+0.3*colorfulness"
    config = RunConfig.load("tiny-rocm-kl", beta=0, reward=mixture, judge="", model="a b")
    line = studio.presets.command_line(config, "tiny-rocm-kl")
    words = shlex.split(line)
    assert words[:5] == ["python", "-m", "rocm", "train", "tiny-rocm-kl"]
    assert len(words) == 5 + 2 * 4
    assert RunConfig.load("tiny-rocm-kl", **settings(words[5:])) == config
    plain = studio.presets.command_line(RunConfig.load("tiny-rocm-kl"), "tiny-rocm-kl")
    assert "--" not in plain
