"""What the Results page is told of a study, and when."""

import shutil
import sys
from dataclasses import replace

import pytest

from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.study.design import lifecycle
from rocm.study.report.results import Results, ResultsDesk
from rocm.study.report.stored import study_report
from rocm.study.statistics.analysis import INTERIM, MARKS
from rocm.study.store.simulated_raters import simulate_raters
from tests.study.voted import draft, voted

# Instead of `python -m rocm`: notes that it was asked, and writes the report of this file's folder.
COUNTER = """
import pathlib, shutil, sys
folder = pathlib.Path(__file__).parent
with open(folder / "asked.txt", "a") as log:
    print(*sys.argv[1:4], file=log)
if (folder / "broken").exists():
    sys.exit("rocm: The disk is full.")
for name in ("report.html", "report.json"):
    shutil.copy(folder / name, sys.argv[5])
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """Home, store and id of a closed demo study."""
    home = tmp_path_factory.mktemp("closed")
    store, study_id = voted(home)
    lifecycle.close(store, study_id)
    yield home, store, study_id
    store.close()


class Counted:
    """A desk whose counting process copies a report that was made once."""

    def __init__(self, folder, home, made):
        self.folder = folder
        (folder / "count.py").write_text(COUNTER)
        (folder / "report.html").write_text(made.to_html())
        (folder / "report.json").write_text(made.to_json())
        self.desk = ResultsDesk(home, command=(sys.executable, str(folder / "count.py")))

    def look(self, study_id, anew=False) -> Results:
        """What is there when the counting that this starts has ended."""
        found = self.desk.look(study_id, anew)
        if found.state == "counting":
            self.desk._counts[study_id][1].wait(60)
            found = self.desk.look(study_id)
        return found

    @property
    def num_counts(self):
        asked = self.folder / "asked.txt"
        return len(asked.read_text().splitlines()) if asked.exists() else 0


@pytest.fixture
def counted(closed, tmp_path):
    home, store, study_id = closed
    found = Counted(tmp_path, home, study_report(store, study_id))
    yield found
    found.desk.store.close()
    shutil.rmtree(home / "studies" / study_id / "reports", ignore_errors=True)


def test_a_closed_study_is_counted_once_and_the_count_outlives_the_app(counted, closed):
    home, _, study_id = closed
    assert counted.desk.look(study_id).state == "counting"
    found = counted.look(study_id)
    assert (found.state, found.num_new) == ("ready", 0)
    assert found.content["results"]["outcomes"]
    assert "<h2>Results</h2>" in found.report
    assert "<style" not in found.report
    assert counted.look(study_id) == found
    another = ResultsDesk(home, counted.desk.store, counted.desk._command)
    assert another.look(study_id) == found
    assert counted.num_counts == 1


def test_a_count_that_fails_is_said_in_its_own_words_and_can_be_asked_again(counted, closed):
    _, _, study_id = closed
    (counted.folder / "broken").touch()
    found = counted.look(study_id)
    assert (found.state, found.words, found.content) == ("failed", "The disk is full.", None)
    assert counted.look(study_id).state == "failed"
    assert counted.num_counts == 1
    (counted.folder / "broken").unlink()
    assert counted.look(study_id, anew=True).state == "ready"


def test_a_study_that_runs_shows_nothing_where_its_manifest_hides_results(tmp_path):
    store, study_id = draft(tmp_path)
    desk = ResultsDesk(tmp_path, store, ("no such program",))
    assert "draft" in desk.look(study_id).words
    lifecycle.open_study(store, study_id)
    assert "No votes yet" in desk.look(study_id).words
    simulate_raters(store, study_id, 1, 0.6)
    found = desk.look(study_id, anew=True)
    assert (found.state, found.content, found.report) == ("absent", None, "")
    assert "hides results until the study is closed" in found.words
    with pytest.raises(StudyError, match="Close it first"):
        desk.files(study_id)
    store.close()


def test_a_study_that_runs_shows_e_values_only_and_counts_anew_only_when_asked(closed, tmp_path):
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
    simulate_raters(store, study_id, 1, 0.6, seed=1)
    assert counted.look(study_id).num_new == len(store.votes(study_id)) - before > 0
    assert counted.num_counts == 1
    assert counted.look(study_id, anew=True).num_new == 0
    assert counted.num_counts == 2
    lifecycle.close(store, study_id)
    assert counted.look(study_id).state == "ready"
    assert counted.num_counts == 3
    counted.desk.store.close()
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
    assert "## People against beta" in found.to_markdown()
    store.close()


def test_what_does_not_exist_is_one_sentence(tmp_path):
    desk = ResultsDesk(tmp_path)
    assert desk.studies() == {}
    with pytest.raises(StudyError, match="There is no study"):
        desk.look("../../etc")
    desk.store.close()


def test_a_packed_study_in_an_empty_store_gives_the_same_report(
    closed, tmp_path, monkeypatch, capsys
):
    home, _, study_id = closed
    monkeypatch.setenv("ROCM_HOME", str(home))
    assert main(["study", "pack", study_id, "--votes", "--to", str(tmp_path / "study.zip")]) == 0
    assert main(["study", "report", study_id, "--to", str(tmp_path / "here")]) == 0
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "there"))
    key = str(tmp_path / f"{study_id}-key.json")
    assert main(["study", "unpack", str(tmp_path / "study.zip"), "--key", key]) == 0
    assert main(["study", "report", study_id[:4], "--to", str(tmp_path / "again")]) == 0
    assert main(["study", "verify", study_id]) == 0
    assert "holds" in capsys.readouterr().out
    for name in ("report.html", "report.md", "report.json"):
        here, again = ((tmp_path / folder / name).read_bytes() for folder in ("here", "again"))
        assert here == again
        assert MARKS["simulated"].encode() in here
    assert b"colorfulness" in here
