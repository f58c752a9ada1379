"""A run in words: nothing written by others becomes HTML."""

from dataclasses import replace

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


def test_what_others_wrote_is_escaped():
    report = replace(at("failed", error=EVIL), name=EVIL, note=EVIL)
    html = view.state_line(report, PACE, RunConfig(reward=EVIL), EVIL)
    warning = {"step": 1, "warning": "model", "message": EVIL}
    html += view.warnings("one", replace(PACE, warnings=[warning]))
    assert EVIL not in html
    assert html.count("&lt;img") == 6
