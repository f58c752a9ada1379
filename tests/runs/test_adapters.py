"""One name, one adapter: the names of docs/models.md, as every page and command reads them."""

import os
import shutil

import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile
from rocm.runs.adapters import SHIPPED, WEIGHTS, adapter_choices, find_adapter, shipped_adapters
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run with checkpoints after 2 and 4 updates; the working directory holds it."""
    run = RunDir.create(tmp_path / "runs" / "mine-1", RunConfig.load("tiny-rlcm"))
    for folder in (run.path / "adapter", run.checkpoint_dir(2), run.checkpoint_dir(4)):
        shutil.copytree(SHIPPED / "tiny-rlcm", folder)
    run.mark_ended("finished")
    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize(
    ("name", "folder", "label"),
    [
        ("", "", "base"),
        ("base", "", "base"),
        ("run:mine-1", "adapter", "mine-1"),
        ("run:mine-1@2", "checkpoints/step_000002", "mine-1 after 2"),
        ("mine-1@4", "checkpoints/step_000004", "mine-1 after 4"),
        ("runs/mine-1", "adapter", "mine-1"),
        ("runs/mine-1/adapter", "adapter", "mine-1"),
        ("runs/mine-1/checkpoints/step_000002", "checkpoints/step_000002", "mine-1 after 2"),
    ],
)
def test_every_spelling_of_the_base_a_run_and_a_checkpoint(run, name, folder, label):
    adapter = find_adapter(name, run.path.parent)
    assert adapter.folder == (str(run.path / folder) if folder else "")
    assert adapter.label == label
    assert (adapter.run is not None and adapter.run.path.samefile(run.path)) is bool(folder)


@pytest.mark.parametrize("name", ["tiny-rlcm", "assets/adapters/tiny-rlcm"])
@pytest.mark.parametrize("is_public", [False, True])
def test_a_shipped_adapter_knows_the_settings_of_its_preset(run, name, is_public):
    adapter = find_adapter(name, run.path.parent, is_public)
    assert adapter.folder == "assets/adapters/tiny-rlcm"
    assert adapter.config == RunConfig.load("tiny-rlcm")
    assert adapter.path == ROOT / adapter.folder


def test_in_public_runs_may_be_named_and_folders_may_not(run):
    assert find_adapter("run:mine-1@2", run.path.parent, is_public=True).run == run
    for name in ("runs/mine-1", str(run.path), "somebody/lora", "/etc"):
        with pytest.raises(ConfigError, match="public page"):
            find_adapter(name, run.path.parent, is_public=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run:other", "Run 'other' has no adapter"),
        ("run:../mine-1", "has no adapter"),
        ("run:mine-1@3", "Its checkpoints: 2, 4"),
        ("mine-1@x", "give the number of updates after @"),
        ("nowhere", "There is no run and no folder 'nowhere'"),
        ("runs", "holds no adapter"),
        ("somebody/lora", "download --adapter somebody/lora"),
    ],
)
def test_a_name_of_nothing_is_one_sentence(run, name, words):
    with pytest.raises((MissingFile, ConfigError), match=words):
        find_adapter(name, run.path.parent)


def test_choices_are_the_base_the_shipped_and_runs_by_title_newest_first(run):
    newer = RunDir.create(run.path.parent / "newer", RunConfig())
    shutil.copytree(SHIPPED / "tiny-rlcm", newer.path / "adapter")
    os.utime(run.path / "adapter" / WEIGHTS, (0, 0))
    run.describe(title="bright apples")
    names = ["base", *shipped_adapters(), "run:newer", "run:mine-1"]
    choices = adapter_choices(run.path.parent)
    assert [name for _, name in choices] == names
    assert choices[-1][0] == "bright apples (mine-1)"
    assert all("(shipped)" in label for label, _ in choices[1:-2])
