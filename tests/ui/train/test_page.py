"""What a poll sends: only what has changed, in the right order, and rows only once."""

import json
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.runs.liveness import RunStatus
from rocm.runs.reports import RunReport
from rocm.runs.run_dir import RunDir
from rocm.studio import Studio
from rocm.ui.access import access
from rocm.ui.controls import FIELDS
from rocm.ui.train.actions import larger_beta, pressable, simple_action
from rocm.ui.train.charts import MAX_RUNS, AskedRows, new_rows, rows_or_none
from rocm.ui.train.form import _starter, kept_form, read_form
from rocm.ui.train.page import Seen, _chooser, changed, first_shown, in_order
from rocm.ui.train.previews import pictures

LOCAL = access("127.0.0.1", False, "")


def report(name, state="finished", position=None):
    return RunReport(name, 0.0, RunStatus(state), position=position)


@pytest.fixture
def studio(tmp_path):
    for name in ("one", "two"):
        run = RunDir.create(tmp_path / "runs" / name, RunConfig(batch_size=2), preset=name)
        for step in range(3):
            run.append_metrics({"step": step, "reward": float(step), "images_per_s": 2.0})
        run.append_event("warning", step=2, warning="hacking", message="Raise beta.")
        run.write_state("stopped", step=2)
    return Studio(tmp_path)


def test_the_first_poll_sends_all_and_the_second_nothing(studio):
    first, seen = changed(studio.runs, LOCAL, ("one", "two"), Seen())
    assert {"runs", "charts", "state", "warnings", "previews", "stop_run", "title"} <= set(first)
    assert [run["id"] for run in json.loads(first["charts"])] == ["one", "two"]
    assert changed(studio.runs, LOCAL, ("one", "two"), seen) == ({}, seen)


def test_a_new_row_changes_the_chart_and_leaves_the_typed_name_alone(studio, tmp_path):
    _, seen = changed(studio.runs, LOCAL, ("one",), Seen())
    RunDir(tmp_path / "runs" / "one").append_metrics({"step": 3, "reward": 1.0})
    changes, _ = changed(studio.runs, LOCAL, ("one",), seen)
    assert "charts" in changes
    assert not {"title", "note", "runs", "stop_run", "delete"} & set(changes)


def test_buttons_come_with_the_run_that_they_act_on(studio, tmp_path):
    first, seen = changed(studio.runs, LOCAL, ("one",), Seen())
    assert (first["shown"], first["named"]) == ("one", "one")
    RunDir(tmp_path / "runs" / "one").write_state("finished", step=2)
    changes, _ = changed(studio.runs, LOCAL, ("one",), seen)
    assert (changes["shown"], "resume_run" in changes, "named" in changes) == ("one", True, False)


def test_stop_takes_no_run_out_of_the_queue(tmp_path):
    run = RunDir.create(tmp_path / "runs" / "waiting", RunConfig(), place=1.0)
    with pytest.raises(RunError, match="not training"):
        simple_action(Studio(tmp_path).runs, "stop_run")("waiting")
    assert run.status().state == "queued"


def test_a_run_that_is_gone_is_not_drawn(studio):
    changes, _ = changed(studio.runs, LOCAL, ("none", "two"), Seen())
    assert [run["id"] for run in json.loads(changes["charts"])] == ["two"]
    assert "Choose a run" in changes["state"]


def test_a_damaged_run_is_said_in_words_and_the_others_are_drawn(studio, tmp_path):
    metrics = tmp_path / "runs" / "one" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + "{broken\n")
    changes, _ = changed(studio.runs, LOCAL, ("one", "two"), Seen())
    assert "1 damaged lines are left out" in changes["warnings"]
    for name in ("one", "two"):
        assert rows_or_none(studio.runs, AskedRows(run=name, offset=0, time=0))["columns"]["step"]


def test_the_browser_is_sent_each_row_once(studio, tmp_path):
    answer = new_rows(studio.runs, AskedRows(run="one", offset=0, time=0))
    assert answer["columns"]["step"] == [0, 1, 2]
    assert answer["info"]["pictures_per_step"] == 2
    assert [warning["step"] for warning in answer["info"]["warnings"]] == [2]
    RunDir(tmp_path / "runs" / "one").append_metrics({"step": 3, "reward": 1.0})
    again = new_rows(studio.runs, AskedRows(run="one", **answer["bookmark"]))
    assert (again["columns"]["step"], again["is_fresh"]) == ([3], False)


@pytest.mark.parametrize("name", ["../one", "", "none", "one/../two"])
def test_a_browser_cannot_ask_for_anything_but_a_run(studio, name):
    with pytest.raises(MissingFile):
        new_rows(studio.runs, AskedRows(run=name, offset=0, time=0))
    with pytest.raises(MissingFile):
        pictures(studio.runs, name, 0)


@pytest.mark.filterwarnings("ignore")
def test_a_script_that_asks_for_nonsense_is_told_so(serve):
    page, row = serve(access("127.0.0.1", False, "")), {"run": "none", "offset": 0, "time": 0}
    functions = {}
    for number, part in page.parts.items():
        functions |= dict.fromkeys(part.get("server_fns") or [], number)

    def ask(name, argument):
        body = {"component_id": functions[name], "fn_name": name, "data": argument}
        body["session_hash"] = "x"
        answer = httpx.post(f"{page.url}gradio_api/component_server", json=body)
        return answer.status_code, answer.json()

    assert ask("chart_rows", {"runs": [row]}) == (200, [None])
    assert ask("preview_pictures", {"run": "none", "step": 0}) == (200, [])
    assert ask("thumbnail", {"run": "none"}) == (200, "")
    wrong = {
        "chart_rows": [
            *(None, 5, [], {}, {"runs": 5}, {"runs": [5]}, {"runs": [row] * (MAX_RUNS + 1)}),
            *({"runs": [{**row, "offset": value}]} for value in ("x", -1, 0.5, 10**30, None)),
        ],
        "preview_pictures": [None, {"run": "none"}, {"run": "none", "step": "x"}, {"run": 5}],
        "thumbnail": [None, {}, {"run": None}],
    }
    for name, arguments in wrong.items():
        for argument in arguments:
            status, answer = ask(name, argument)
            assert (status, answer["detail"][-1]) == (422, "."), (name, argument)


def test_the_address_compares_no_more_runs_than_the_charts_hold(tmp_path):
    studio = Studio(tmp_path)
    for number in range(9):
        RunDir.create(tmp_path / "runs" / f"run-{number}", RunConfig()).mark_ended("stopped")
    others = ",".join(["run-0", "run-1", "run-1", "none", *(f"run-{n}" for n in range(2, 9))])
    query = {"run": "run-0", "with": others}
    with pytest.warns(UserWarning, match="hold 6 runs"):
        chosen, overlay = _chooser(studio.runs)(SimpleNamespace(query_params=query))
    assert (chosen, overlay) == ("run-0", tuple(f"run-{n}" for n in range(1, MAX_RUNS)))


def test_runs_at_work_come_first_then_the_queue_and_the_address_decides_what_is_shown():
    reports = [report("a"), report("b", "queued", 1), report("c", "queued", 0)]
    reports += [report("d", "running"), report("e", "failed")]
    assert [one.run_id for one in in_order(reports)] == ["d", "c", "b", "a", "e"]
    reports = [report("new"), report("busy", "running"), report("old")]
    assert first_shown(reports, "old") == "old"
    assert first_shown(reports, "") == "busy"
    assert first_shown(reports[:1], "none") == "new"
    assert first_shown([], "none") == ""


PRESSABLE = [
    (report("a", "running"), "stop_run sample_now save_now"),
    (report("a", "queued", 0), "cancel_run later"),
    (report("a", "queued", 1), "cancel_run earlier later"),
    (report("a", "queued", 2), "cancel_run earlier"),
    (report("a", "finished"), "continue_run delete"),
    (None, ""),
]


@pytest.mark.parametrize(("given", "names"), PRESSABLE)
def test_only_what_can_work_can_be_pressed(given, names):
    updates = pressable(given, num_waiting=3)
    assert {name for name, update in updates.items() if update["interactive"]} == set(names.split())


def test_a_form_is_read_when_it_is_filled_and_a_refused_value_named_as_its_control_is():
    values = tuple(getattr(RunConfig(), name) for name in FIELDS)
    assert read_form("tiny-rocm-kl", "tiny-rocm-kl", values) == RunConfig()
    for filled in ("", "tiny-rocm-beta0"):
        with pytest.raises(RunError, match="'tiny-rocm-kl' is still being loaded"):
            read_form("tiny-rocm-kl", filled, values)
    values = {**RunConfig().model_dump(), "num_steps": -5}
    with pytest.raises(ConfigError, match=r"^Number of updates -5 is not allowed"):
        read_form("a", "a", tuple(values[name] for name in FIELDS))


def test_a_form_that_a_browser_kept_comes_back_as_far_as_it_fits():
    values = {"beta": 0.25, "seed": 7, "divergence": "js", "prompts": "x.txt"}
    own = {"preset": "mine", "sentence": "A quarter.", "values": values}
    assert kept_form(own, ["mine"]) == ("mine", "A quarter.", values)
    for wrong in ({"beta": -1}, {"divergence": "kll"}, {"gone": 1}, {"seed": "x"}, {"seed": None}):
        kept = kept_form({**own, "values": {**values, **wrong}}, ["mine"])[2]
        assert kept == {name: one for name, one in values.items() if name not in wrong}
    for useless in (None, 5, [], {}, {"preset": "deleted"}, {"preset": ["mine"]}):
        assert kept_form(useless, ["mine"]) == ("", "", {})
    assert kept_form({"preset": "mine", "values": 5}, ["mine"]) == ("mine", "", {})


def test_a_run_that_must_wait_leaves_the_view(tmp_path, monkeypatch, capsys):
    studio = Studio(tmp_path)
    monkeypatch.setattr(studio.runs.queue, "ensure_worker", lambda: None)
    values = [getattr(RunConfig(), name) for name in FIELDS]
    start = _starter(studio, LOCAL)
    first = start("", "local", "tiny-rocm-kl", "tiny-rocm-kl", *values)
    assert first == studio.runs.all()[0].run_id
    assert start("", "local", "tiny-rocm-kl", "tiny-rocm-kl", *values) == gr.skip()
    assert "Queued as number 2" in capsys.readouterr().out


def judged_run(home, judges):
    """A run with a checkpoint at every evaluation, where the judge said so."""
    run = RunDir.create(home / "runs" / "judged", RunConfig(beta=4))
    for step, judge in judges.items():
        run.append_metrics({"step": step, "eval/reward": 1.0, "heldout/tiny-judge": judge})
        (run.checkpoint_dir(step) / "x").parent.mkdir(parents=True)
        (run.checkpoint_dir(step) / "state.pt").touch()
    for step in (40, 60):
        run.append_event("warning", step=step, warning="hacking", message="It fell.")
    run.mark_ended("finished")
    return Studio(home)


@pytest.mark.parametrize(
    ("judges", "best"),
    [({0: 0.5, 20: 0.6, 40: 0.7, 60: 0.1}, 40), ({0: 0.5, 20: 0.5, 40: 0.2}, None)],
)
def test_a_warning_leads_to_the_best_checkpoint_if_any_is_better(tmp_path, judges, best):
    studio = judged_run(tmp_path, judges)
    card = changed(studio.runs, LOCAL, ("judged",), Seen())[0]["warnings"]
    assert card.count("It fell.") == 1  # in one line, with both updates
    assert "40, 60" in card
    assert (f"adapter=run%3Ajudged%40{best}" in card) is bool(best)
    assert ("No checkpoint is better" in card) is (best is None)


def test_a_finished_run_with_an_adapter_leads_on(studio, tmp_path):
    assert "tab=compare" not in changed(studio.runs, LOCAL, ("one",), Seen())[0]["state"]
    (tmp_path / "runs" / "one" / "adapter").mkdir()
    state = changed(studio.runs, LOCAL, ("one",), Seen())[0]["state"]
    for tab in ("generate&amp;adapter", "compare&amp;arms", "study&amp;arms"):
        assert f"?tab={tab}=run%3Aone" in state
    assert "strengths=0.25%2C0.5%2C0.75%2C1" in state


@pytest.mark.parametrize(
    ("beta", "larger"), [(4, 8), (0, RunConfig.load("tiny-rocm-kl").beta), (9000, 10_000)]
)
def test_a_restart_has_twice_the_beta(beta, larger):
    assert larger_beta(RunConfig(beta=beta)) == larger


def test_a_page_is_told_to_look_only_when_something_has_changed(studio, tmp_path):
    run, before = RunDir(tmp_path / "runs" / "one"), studio.runs.mark()
    assert studio.runs.mark() == before
    for change in (
        lambda: run.append_metrics({"step": 3, "reward": 1.0}),
        lambda: run.write_state("stopped", step=3),
        lambda: run.describe(title="new"),
        lambda: RunDir.create(tmp_path / "runs" / "three", RunConfig()),
    ):
        change()
        assert studio.runs.mark() != before
        before = studio.runs.mark()


def test_pictures_of_ticked_runs_stand_beside(studio):
    previews = json.loads(changed(studio.runs, LOCAL, ("one", "two"), Seen())[0]["previews"])
    assert [run["run"] for run in previews["runs"]] == ["one", "two"]
