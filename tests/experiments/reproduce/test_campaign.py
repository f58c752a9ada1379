"""The command, its bounds, and the whole comparison in short."""

import json
import re
import shutil

import pytest

from rocm.cli.main import main
from rocm.experiments.reproduce import charts, plan, report, results

FEW = ("rocm-kl", "beta0", "rlcm", "dpok")


def data(folder):
    page = (folder / "report.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


@pytest.fixture
def few_methods(monkeypatch):
    """One method of each kind, and a value network; all of them train in tests/golden."""
    few = tuple(method for method in plan.METHODS if method.key in FEW)
    for module in (charts, plan, report, results):
        monkeypatch.setattr(module, "METHODS", few)
    monkeypatch.setattr(plan, "BETAS", plan.BETAS[:2])


@pytest.mark.slow
@pytest.mark.usefixtures("few_methods")
def test_the_quick_comparison_runs_whole_and_goes_on_where_it_was(tmp_path, capsys):
    command = ["reproduce", "tiny", "--quick", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "not evidence" in (tmp_path / "report.html").read_text()
    first = data(tmp_path)
    num_lines = len(capsys.readouterr().out.splitlines())
    gone = next(path for path in tmp_path.iterdir() if path.name.startswith("run-"))
    shutil.rmtree(gone)
    assert main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 < num_lines
    again = data(tmp_path)
    for key in ("claims", "learning_rates", "betas", "budget"):
        assert again[key] == first[key]
