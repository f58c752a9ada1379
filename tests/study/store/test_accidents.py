import subprocess
import sys
from pathlib import Path

import pytest

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
