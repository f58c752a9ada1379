"""A run in words: what is said, and that nothing written by others becomes HTML."""

from dataclasses import replace

import pytest

from rocm.config import RunConfig
from rocm.runs.reports import RunPace, RunReport
from rocm.runs.run_dir import RunStatus
from rocm.ui.train import view

EVIL = '<img src=x onerror="alert(1)">'
STATUS = RunStatus("running", step=34, num_steps=80)
REPORT = RunReport("tiny-rocm-kl-20261121-121759-f426", 0.0, STATUS)
PACE = RunPace(True, [], images_per_s=6.24, seconds_left=41.2)


def at(state, **fields):
    return replace(REPORT, status=replace(STATUS, state=state, **fields))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("queued", "waiting"),
        ("starting", "loading the model"),
        ("running", "update 34 of 80 \N{MIDDLE DOT} 41 s left \N{MIDDLE DOT} 6.2 pictures/s"),
        ("stopping", "update 34 of 80 \N{MIDDLE DOT} stopping after this update"),
        ("finished", "update 34 of 80 \N{MIDDLE DOT} 6.2 pictures/s"),
    ],
)
def test_progress_in_words(state, words):
    assert view.progress(at(state), PACE).startswith(words)


def test_what_others_wrote_is_escaped():
    report = replace(at("failed", error=EVIL), title=EVIL, note=EVIL)
    html = view.state_line(report, PACE, RunConfig(reward=EVIL), EVIL)
    html += view.warnings(replace(PACE, warnings=[{"step": 1, "message": EVIL}]))
    assert EVIL not in html
    assert html.count("&lt;img") == 6


def test_the_trained_rewards_and_the_judge_are_told_under_pictures():
    config = RunConfig(reward="0.7*tiny-clip + 0.3*colorfulness", judge="tiny-judge")
    assert view.told_scores(config) == ["tiny-clip", "colorfulness", "tiny-judge"]
    assert view.told_scores(RunConfig(judge="")) == ["colorfulness"]


def test_only_a_run_that_did_not_end_well_shows_its_log():
    assert "Traceback" in view.state_line(at("failed"), PACE, RunConfig(), "Traceback")
    assert "Traceback" not in view.state_line(at("finished"), PACE, RunConfig(), "Traceback")
