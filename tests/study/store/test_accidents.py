import subprocess
import sys
from pathlib import Path

import pytest

from rocm.cli.main import main
from rocm.errors import StudyError
from rocm.study.store.backup import open_store

ROOT = Path(__file__).resolve().parents[3]


def measured(*words: str) -> str:
    command = [sys.executable, "-m", "scripts.study_load", *words]
    return subprocess.check_output(command, cwd=ROOT, text=True)


@pytest.mark.slow
def test_no_acknowledged_vote_is_lost_when_the_writer_is_killed():
    said = measured("kill", "--times", "5")
    assert "lost 0" in said
    assert "doubled 0; verify: holds; integrity ok" in said


@pytest.mark.slow
def test_two_processes_share_one_file():
    said = measured("processes")
    assert "acknowledged 1500 trials, lost 0; 4500 votes of 1500 trials, doubled 0" in said
    assert "exit codes [0, 0]; integrity ok" in said


@pytest.mark.parametrize("place", ["s3://bucket/votes", "hf:/datasets/a/b", "HF://datasets/a/b"])
def test_an_address_of_another_kind_becomes_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    was = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudyError, match="neither a folder nor"):
        open_store(tmp_path / "study.sqlite3", place)
    assert sorted(tmp_path.rglob("*")) == was


def test_a_command_that_reads_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "home"))
    assert main(["study", "status"]) == 2
    assert not (tmp_path / "home").exists()
