"""Slices of a run: together they are the run at a stretch, and each ends with a checkpoint."""

from multiprocessing import get_context

import pytest

from rocm.errors import RunError
from rocm.runs.slices import PAUSED, Slices
from rocm.training.loop import train
from rocm.training.slices import train_slice
from tests.training.choices import assert_same


def test_slices_that_end_at_once_make_an_update_each_and_the_same_run(new_run):
    whole, sliced = new_run("whole"), new_run("sliced")
    list(train(whole))
    states = [train_slice(str(sliced.path), seconds=0) for _ in range(5)]
    assert states == [PAUSED] * 4 + ["finished"]
    assert_same(sliced, whole)
    assert sliced.status().step == len(sliced.checkpoints()) - 1 == 4


def test_a_slice_with_time_enough_trains_to_the_end(new_run):
    run = new_run("run")
    assert train_slice(str(run.path), seconds=600) == "finished"


def test_a_failure_is_a_state_with_its_sentence_and_no_exception(new_run):
    run = new_run("run")
    train_slice(str(run.path), seconds=0)
    (run.checkpoints()[-1] / "training.pt").write_bytes(b"cut")
    assert train_slice(str(run.path), seconds=600) == "failed"
    assert "damaged" in run.status().error


@pytest.fixture
def run(new_run):
    """A run that waits for a visitor, as the page creates it."""
    run = new_run("run")
    run.mark_ended("stopped")
    return run


def slices(train):
    return Slices(train, draw=lambda order: iter(()), seconds=60)


def moving(run, states):
    """A function in a GPU's place, by which a run moves one update a call, to the given states."""

    def train(path, seconds):
        assert (path, seconds) == (str(run.path), 60)
        run.write_state("stopped", step=run.status().step + 1)
        return next(states)

    return train


def test_a_run_goes_on_until_it_has_ended(run):
    states = iter([PAUSED, PAUSED, "finished"])
    assert list(slices(moving(run, states)).train_run(run)) == [1, 2, 3]


def test_a_stop_between_slices_begins_no_other_and_the_run_can_be_resumed(run):
    lent = slices(moving(run, iter([PAUSED, PAUSED])))
    for number in lent.train_run(run):
        if number == 1:
            lent.stop(run)
    assert (run.status().state, run.status().step) == ("stopped", 1)
    assert list(slices(moving(run, iter(["finished"]))).train_run(run)) == [1]


def test_a_visitor_who_leaves_leaves_a_stopped_run_that_another_may_resume(run):
    lent = slices(moving(run, iter([PAUSED] * 2)))
    visit = lent.train_run(run)
    assert [next(visit), next(visit)] == [1, 2]
    with pytest.raises(RunError, match="is being trained"):
        next(lent.train_run(run))
    visit.close()
    assert (run.status().state, run.status().step) == ("stopped", 1)
    assert next(lent.train_run(run)) == 1


def test_a_slice_that_is_killed_is_said_and_one_without_an_update_ends_the_run(run):
    def killed(path, seconds):
        dead = get_context("fork").Process(target=run.write_state, args=("running",))
        dead.start()
        dead.join()
        raise OSError("GPU task aborted")

    with pytest.raises(OSError, match="aborted"):
        list(slices(killed).train_run(run))
    assert run.status().state == "interrupted"
    assert "last checkpoint" in run.status().error
    with pytest.raises(RunError, match="One update takes longer"):
        list(slices(lambda path, seconds: PAUSED).train_run(run))
