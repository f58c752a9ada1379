"""The command for a GPU machine, rehearsed at the smallest size on a CPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.test_tiny_chain import npm  # noqa: F401, a fixture

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("gpu-tests", "step-graph", "generate", "random-model", "fifty-updates", "recipe")


def call(out: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SIZE": "small", "DEVICE": "cpu", "OUT": str(out)}
    environment |= {"PYTHON": sys.executable, "VARIANTS": "graph", **settings}
    command = ["bash", str(ROOT / "scripts" / "on_gpu.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def statuses(out: Path) -> dict[str, str]:
    """How each part ended, by name."""
    text = (out / "summary.txt").read_text(encoding="utf-8")
    return {
        name: status for status, name in re.findall(r"^(\S+) +(?:-|\d+ s) +(\S+): ", text, re.M)
    }


@pytest.mark.slow
def test_every_part_runs_and_reports(tmp_path: Path, npm: Path) -> None:  # noqa: F811
    # No limit is near: how long a part takes depends on what else the machine does.
    done = call(tmp_path / "out", NPM=str(npm), TOTAL_S="800")
    summary = (tmp_path / "out" / "summary.txt").read_text(encoding="utf-8")
    assert done.returncode == 0, summary + done.stderr
    assert statuses(tmp_path / "out") == dict.fromkeys(PARTS, "passed"), summary
    # A CPU records no graph, and compiling is left out here: the judgment says so.
    assert len(re.findall("NOT MEASURED", summary)) == 2
    table = json.loads((tmp_path / "out" / "step-graph.json").read_text(encoding="utf-8"))
    times = {row["variant"]: row["ms"] for row in table["rows"]}
    assert times["plain"] > 0
    assert times["flat"] > 0
    rows = (tmp_path / "out" / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rows[-1])["step"] == 4
    assert (tmp_path / "out" / "tiny" / "stages" / "emoji64.npz").is_file()


def test_without_time_every_part_is_skipped_and_said(tmp_path: Path) -> None:
    done = call(tmp_path / "out", NPM=str(tmp_path), TOTAL_S="0")
    assert done.returncode == 0
    assert statuses(tmp_path / "out") == dict.fromkeys(PARTS, "skipped")
