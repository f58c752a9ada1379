"""The pilot on the Train page: what is shown, and the process that it starts."""

import shlex

import pytest

from rocm import studio as studio_module
from rocm.config import RunConfig
from rocm.errors import ConfigError, RunError
from rocm.experiments.advise.pilot import STARTING, AdviceReport
from rocm.experiments.overoptimization import Point
from rocm.studio import Studio
from rocm.ui.access import access
from rocm.ui.controls import FIELDS
from rocm.ui.train.advice import _starter, shown
from rocm.ui.train.overoptimization import drawn


def test_a_verdict_leads_to_a_study_of_the_two_runs_where_training_is_allowed():
    report = AdviceReport(False, "done", "# Verdict", ("a-000", "a-001"))
    state, text = shown(report, True)
    assert text == "# Verdict"
    assert "tab=study&amp;arms=run%3Aa-000%2Crun%3Aa-001" in state
    assert "study" not in shown(report, False)[0]


@pytest.mark.parametrize("is_at_work", [True, False])
def test_a_pilot_whose_process_ended_says_how_to_continue(is_at_work):
    state, text = shown(AdviceReport(is_at_work, "2 of 6", "", ()), True)
    assert "2 of 6" in state
    assert ("continues it" in state) is not is_at_work
    assert text == ""


@pytest.fixture
def started(monkeypatch):
    commands: list[tuple[list[str], str]] = []
    note = lambda words, log, ROCM_HOME: commands.append((words, ROCM_HOME))  # noqa: E731
    monkeypatch.setattr(studio_module, "detached", note)
    return commands


def values(config: RunConfig) -> list:
    return ["tiny-rocm-kl", "tiny-rocm-kl", *(getattr(config, name) for name in FIELDS)]


def test_start_runs_the_command_with_the_settings_that_differ(tmp_path, started):
    studio = Studio(tmp_path)
    form = RunConfig.load("tiny-rocm-kl", beta=9, divergence="js", reward="tiny-clip + saturation")
    _starter(studio, access("127.0.0.1", False, ""))("", "local", *values(form))
    ((words, home),) = started
    wanted = "-m rocm advise tiny-rocm-kl --yes --engine=local '--reward=tiny-clip + saturation'"
    assert shlex.join(words[1:]) == wanted
    assert home == str(tmp_path)
    report = studio.advice()
    assert report is not None
    assert (report.is_at_work, report.progress) == (True, STARTING)
    with pytest.raises(RunError, match="at work"):
        studio.start_pilot("tiny-rocm-kl", form)


def test_nothing_is_started_without_the_right_or_with_settings_that_are_no_pilot(tmp_path, started):
    studio = Studio(tmp_path)
    with pytest.raises(RunError):
        _starter(studio, access("0.0.0.0", False, ""))(
            "", "local", *values(RunConfig.load("tiny-rocm-kl"))
        )
    without = RunConfig.load("tiny-rocm-kl", judge="")
    with pytest.raises(ConfigError, match="judge"):
        _starter(studio, access("127.0.0.1", False, ""))("", "local", *values(without))
    assert started == []


def test_points_are_drawn_with_a_law_only_where_one_fits():
    distances = (1, 2, 3, 4, 5, 6)
    points = [Point(d, {"reward": 0.5 * d - 0.01 * d**2, "judge": (-1) ** d}) for d in distances]
    figure, words = drawn(points)
    assert figure is not None
    assert figure.count('"lines"') == 1
    assert "judge: neither" in words
    assert drawn([])[0] is None
