import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from rocm.errors import StudyError
from rocm.storage.paths import ROOT
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.store import tables
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from tests.study.conftest import Clock
from tests.study.small import QUESTIONS, STUDY, answers, fill, rater

RATERS = st.integers(0, 30)


class Visits(RuleBasedStateMachine):
    """Raters join, claim, answer, skip, leave; time passes; the study is paused and goes on."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.store = Store.open(self.folder / "study.sqlite3", self.clock)
        lifecycle.open_study(self.store, fill(self.store, 5, repeats_per_rater=0))
        self.tokens = []
        self.saved = {}

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(source=st.sampled_from(["link", "link", "pilot"]))
    def join(self, source):
        self.attempt(lambda: self.tokens.append(rater(self.store, source)))

    @precondition(lambda self: self.tokens)
    @rule(who=RATERS, act=st.sampled_from(["submit", "submit", "submit", "twice", "skip", "hold"]))
    def judge(self, who, act):
        token = self.tokens[who % len(self.tokens)]
        trial = self.attempt(lambda: self.store.next_step(token).trial)
        if trial is None or act == "hold":
            return
        if act == "skip":
            self.store.skip(token, trial.public_id)
            return
        self.store.submit(token, trial.public_id, answers())
        self.saved[trial.public_id] = token
        if act == "twice":
            assert self.store.submit(token, trial.public_id, answers("right")).was_saved_before

    @precondition(lambda self: self.tokens)
    @rule(who=RATERS)
    def withdraw(self, who):
        self.store.withdraw(self.tokens[who % len(self.tokens)])

    @rule(minutes=st.sampled_from([1, 10, 20]))
    def wait(self, minutes):
        self.clock.forward(minutes)
        self.store.expire()

    @rule(act=st.sampled_from([lifecycle.pause, lifecycle.resume]))
    def pause_or_resume(self, act):
        self.attempt(lambda: act(self.store, STUDY))

    @staticmethod
    def attempt(act):
        """What the state of study or rater forbids is a sentence and changes nothing."""
        try:
            return act()
        except StudyError:
            return None

    @invariant()
    def everything_holds(self):
        wrong = verify(self.store, Pictures(self.folder), STUDY)
        assert [line for line in wrong if not line.startswith("Picture")] == []
        with self.store.database.read() as connection:
            pairs = connection.execute(select(tables.pair).where(tables.pair.c.kind == "main"))
            assert all(0 <= one.issued <= one.target for one in pairs)

    @invariant()
    def every_acknowledged_trial_has_its_votes(self):
        votes = self.store.votes(STUDY)
        assert {one.trial for one in votes} == set(self.saved)
        assert len(votes) == len(self.saved) * len(QUESTIONS)
        assert {one.left_is == one.choice for one in votes} <= {True}


TestVisits = pytest.mark.slow(Visits.TestCase)
TestVisits.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)


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
