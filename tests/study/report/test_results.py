import json
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.study.design import lifecycle
from rocm.study.report.results import REPORTS, Results, StudyResult
from rocm.study.report.stored import study_report
from rocm.study.statistics.analysis import INTERIM, MARKS
from rocm.study.store.simulated_raters import crowd_of_score, simulate_raters
from tests.study.voted import voted

# Instead of the results process: notes that it was asked, and answers with this folder's file.
COUNTER = """
import pathlib
folder = pathlib.Path(__file__).parent
with open(folder / "asked.txt", "a") as log:
    print("once", file=log)
print((folder / "answer.json").read_text(), end="")
"""

# As that process exports: a folder, which must be new, and a file that comes later.
EXPORTER = """
import json, pathlib, sys, time
folder = pathlib.Path(json.loads(sys.argv[1])["folder"])
folder.mkdir()
time.sleep(0.2)
(folder / "votes.csv").write_text(str(time.time_ns()))
print(json.dumps({"error": ""}))
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    home = tmp_path_factory.mktemp("closed")
    store, study_id = voted(home)
    lifecycle.close(store, study_id)
    yield home, store, study_id
    store.close()


class Counted:
    """Results whose process gives an answer that was made once."""

    def __init__(self, folder, home, made):
        self.folder, self.num_counts = folder, 0
        (folder / "count.py").write_text(COUNTER)
        self.answer({"error": "", "content": made.content(), "html": made.to_fragment()})
        self.command = (sys.executable, str(folder / "count.py"))
        self.results = Results(home, command=self.command)

    def answer(self, answer):
        (self.folder / "answer.json").write_text(json.dumps(answer) + "\n" if answer else "")

    def look(self, study_id, anew=False) -> StudyResult:
        """The result when the process that this starts has ended."""
        while (result := self.results.look(study_id, anew)).state == "counting":
            anew = False
            time.sleep(0.02)
        asked = self.folder / "asked.txt"
        self.num_counts = len(asked.read_text().splitlines()) if asked.exists() else 0
        return result


@pytest.fixture
def counted(closed, tmp_path):
    home, store, study_id = closed
    found = Counted(tmp_path, home, study_report(store, study_id))
    yield found
    found.results.store.close()
    shutil.rmtree(home / "studies" / study_id / "reports", ignore_errors=True)


def test_a_closed_study_is_counted_once_and_the_count_outlives_the_app(counted, closed):
    home, _, study_id = closed
    assert counted.results.look(study_id).state == "counting"
    result = counted.look(study_id)
    assert (result.state, result.num_new) == ("ready", 0)
    assert result.content["results"]["outcomes"]
    assert "<style" not in result.report
    another = Results(home, counted.results.store, counted.command)
    assert another.look(study_id) == counted.look(study_id) == result
    assert counted.num_counts == 1


@pytest.mark.parametrize("answer", [{"error": "The disk is full."}, None])
def test_a_failed_count_says_why_and_can_be_repeated(counted, closed, answer):
    _, _, study_id = closed
    whole = json.loads((counted.folder / "answer.json").read_text())
    counted.answer(answer)
    result = counted.look(study_id)
    assert (result.state, result.content) == ("failed", None)
    assert (answer or {"error": "ended unexpectedly"})["error"] in result.words
    assert counted.look(study_id).state == "failed"
    with pytest.raises(StudyError, match=r"full|ended"):
        counted.results.files(study_id)
    assert counted.num_counts == 1
    counted.answer(whole)
    assert counted.look(study_id, anew=True).state == "ready"


def test_two_visitors_prepare_downloads_of_a_study_at_once(counted, closed):
    _, _, study_id = closed
    assert counted.look(study_id).state == "ready"
    (folder,) = (counted.results._home / "studies" / study_id / "reports").iterdir()
    for name in REPORTS:
        (folder / name).touch()
    counted.results._command = (sys.executable, "-c", EXPORTER)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(counted.results.files, [study_id] * 2)
    assert first == second
    assert {file.name for file in first} == {"votes.csv", *REPORTS}
    assert all(file.exists() for file in first)


def test_an_open_study_shows_nothing_if_its_manifest_hides_results(tmp_path):
    store, study_id = voted(tmp_path, num_raters=1)
    results = Results(tmp_path, store, ("no such program",))
    result = results.look(study_id, anew=True)
    assert (result.state, result.content, result.report) == ("absent", None, "")
    with pytest.raises(StudyError, match="Close it first"):
        results.files(study_id)
    store.close()


def test_an_open_study_shows_e_values_only_and_counts_new_votes_only_when_asked(closed, tmp_path):
    _, store, demo = closed
    made = study_report(store, demo)
    home = tmp_path / "home"
    home.mkdir()
    store, study_id = voted(home, num_raters=2, peeking="evidence")
    counted = Counted(tmp_path, home, replace(made, info=replace(made.info, is_open=True)))
    found = counted.look(study_id)
    assert (found.state, found.report) == ("evidence", "")
    assert INTERIM in found.content["marks"]
    before = len(store.votes(study_id))
    simulate_raters(store, study_id, 1, crowd_of_score(store, study_id, 0.6, seed=1))
    assert counted.look(study_id).num_new == len(store.votes(study_id)) - before > 0
    assert counted.num_counts == 1
    assert counted.look(study_id, anew=True).num_new == 0
    assert counted.num_counts == 2
    lifecycle.close(store, study_id)
    assert counted.look(study_id).state == "ready"
    assert counted.num_counts == 3
    counted.results.store.close()
    store.close()


def test_arms_that_are_runs_bring_their_beta_into_the_report(tmp_path):
    betas = {"strong": 0.1, "weak": 0.001, "none": 0.0}
    for name, beta in betas.items():
        run = RunDir.create(tmp_path / "runs" / name, RunConfig(beta=beta))
        shutil.copytree(ROOT / "assets/adapters/tiny-rlcm", run.path / "adapter")
    arms = [{"name": name, "adapter": f"run:{name}"} for name in betas]
    store, study_id = voted(tmp_path, arms=arms)
    lifecycle.close(store, study_id)
    found = study_report(store, study_id)
    assert [(one.arm, one.beta) for one in found.analysis.betas] == list(betas.items())
    assert set(found.analysis.betas[0].agreed) == {"colorfulness", "tiny-clip"}
    assert "## Win rate by beta" in found.to_markdown()
    store.close()


def test_a_packed_study_in_an_empty_store_gives_the_same_report(closed, tmp_path, monkeypatch):
    home, _, study_id = closed

    def study(*words):
        assert main(["study", *map(str, words)]) == 0

    monkeypatch.setenv("ROCM_HOME", str(home))
    study("pack", study_id, "--votes", "--to", tmp_path / "study.zip")
    study("report", study_id, "--to", tmp_path / "here")
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "there"))
    study("unpack", tmp_path / "study.zip", "--key", tmp_path / f"{study_id}-key.json")
    study("report", study_id[:4], "--to", tmp_path / "again")
    study("verify", study_id)
    for name in ("report.html", "report.md", "report.json"):
        here, again = ((tmp_path / folder / name).read_bytes() for folder in ("here", "again"))
        assert here == again
        assert MARKS["simulated"].encode() in here
