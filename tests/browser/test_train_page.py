"""The training page, driven in Chromium: the real app, real runs of the embedded model."""

import csv
import os
import signal
import time
import zipfile

import pytest

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from rocm.storage.files import json_line, write_atomic
from rocm.studio import Studio
from tests.browser.conftest import WAIT_MS, go, running, toast

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SMALL = {"batch_size": 1, "num_eval_prompts": 4}
SMALL |= dict.fromkeys(("num_samples", "eval_every", "checkpoint_every"), 2)
POINTS = """([chart, trace]) => {
  const node = document.querySelector(`#${chart} .js-plotly-plot`);
  const found = node && node._fullData && node._fullData.find(one => one.name === trace);
  return found ? found.x.length : 0;
}"""
BETA = "value => document.querySelector('#setting_beta input')?.value == value"
PLOT = "document.querySelector('#reward_chart .js-plotly-plot')"
RANGE = f"() => {PLOT}._fullLayout.xaxis.range"
ZOOM = f"() => Plotly.relayout({PLOT}, {{'xaxis.range': [1, 3]}})"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of its own, for tests that kill the app and look for the newest run."""
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def app(home):
    with running(home) as one:
        yield one


@pytest.fixture(scope="module")
def finished(app, home):
    """A run of the embedded model that ended."""
    studio = Studio(home)
    run_id = studio.start_run(RunConfig(num_steps=4, learning_rate=1e-3, **SMALL), "tiny-rocm-kl")
    wait_for(studio, run_id, "finished")
    return run_id


def write_run(home, name, num_steps):
    """A run directory with a row for every update."""
    run = RunDir.create(home / "runs" / name, RunConfig(num_steps=num_steps), preset=name)
    steps = range(1, num_steps + 1)
    rows = [{"time": 1.7e9 + step, "step": step, "reward": step % 7 + 1} for step in steps]
    write_atomic(run.path / "metrics.jsonl", "".join(json_line(row) for row in rows))
    run.write_state("stopped", step=num_steps)


def wait_for(studio, run_id, state, step=0):
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        status = studio.runs.report(run_id).status
        if status.state == state and status.step >= step:
            return status
        time.sleep(0.1)
    raise AssertionError(
        f"{status} instead of {state}; log: {studio.runs.run(run_id).log_tail(30)}"
    )


def wait_for_points(page, count, chart="reward_chart", trace="training"):
    page.locator(f"#{chart}").scroll_into_view_if_needed()  # drawn only while it is seen
    page.wait_for_function(f"arguments => ({POINTS})(arguments) >= {count}", arg=[chart, trace])
    return page.evaluate(POINTS, [chart, trace])


def wait_for_state(page, *states):
    chosen = ", ".join(f"#state .badge.{state}" for state in states)
    page.wait_for_selector(chosen)


def wait_until_form_is_filled(page):
    page.wait_for_function("() => document.querySelector('#forecast')?.innerText.length > 10")


def fill(page, setting, value):
    page.locator(f"#setting_{setting} input").first.fill(str(value))


def choose(page, dropdown, name):
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=name, exact=True).click()


def fill_small(page, num_steps):
    """Settings of a run that is evaluated at its start and its end."""
    fill(page, "num_steps", num_steps)
    for group in ("Evaluation", "Optimizer"):
        page.get_by_role("button", name=group).click()
    for name, value in {**SMALL, "eval_every": 1000}.items():
        fill(page, name, value)


def test_a_run_from_start_through_every_accident_to_stop(visit, home, app):
    page = visit()
    fill_small(page, 5000)
    page.click("#start")
    wait_for_state(page, "running")
    wait_for_points(page, 2)
    studio = Studio(home)
    run_id = studio.runs.all()[0].run_id
    page.wait_for_url(f"**?run={run_id}")

    # Zoom is kept while rows arrive.
    page.evaluate(ZOOM)
    before = studio.runs.run(run_id).metrics()[-1]["step"]
    wait_for(studio, run_id, "running", step=before + 3)
    wait_for_points(page, before + 2, "divergence_chart", "total")
    assert page.evaluate(RANGE) == [1, 3]
    assert wait_for_points(page, 4, "steps_chart", "latest update") == 4

    # A second visitor finds the run.
    second = visit()
    wait_for_points(second, 1)
    assert f"run={run_id}" in second.url

    # What is asked for now is done after the update.
    page.click("#save_now")
    assert "checkpoint" in toast(page)

    # A killed trainer is seen, and the run goes on where its checkpoint was.
    wait_for(studio, run_id, "running", step=4)
    os.kill(studio.runs.report(run_id).status.pid, signal.SIGKILL)
    wait_for_state(page, "interrupted")
    wait_for_state(second, "interrupted")
    page.click("#resume_run")
    wait_for_state(page, "running")
    for one in (page, second):
        one.context.close()

    # Killed, the app takes nothing with it; an open page finds the run again.
    page = visit(f"?run={run_id}", is_strict=False, may_fail=True)
    wait_for_points(page, 2)
    app.end(signal.SIGKILL)
    reached = studio.runs.report(run_id).status.step
    wait_for(studio, run_id, "running", step=reached + 2)
    app.start()
    wait_for_points(page, reached + 2)
    page.wait_for_selector("#stop_run:not([disabled])")
    page.click("#stop_run")
    wait_for_state(page, "stopped")
    steps = [row["step"] for row in studio.runs.run(run_id).metrics()]
    assert steps == list(range(len(steps)))


def test_a_queue_goes_on_by_itself_and_can_be_changed(visit, home):
    page = visit()
    wait_until_form_is_filled(page)
    fill_small(page, 4000)
    page.click("#start")
    wait_for_state(page, "starting", "running")
    at_work = Studio(home).runs.all()[0].run_id
    fill(page, "num_steps", 2)
    for place in (1, 2):
        page.click("#start")
        assert f"Queued as number {place}" in toast(page)
    waiting = Studio(home).runs.waiting
    first, last = [report.run_id for report in waiting()]
    page.wait_for_url(f"**?run={at_work}")  # the view is kept
    page.click(f"#runs tr[data-run='{last}'] .name button")
    wait_for_state(page, "queued")
    page.go_back()  # to the run before
    wait_for_state(page, "running")
    page.go_forward()
    wait_for_state(page, "queued")
    page.click("#earlier")
    page.wait_for_selector("#earlier[disabled]")
    assert [report.run_id for report in waiting()] == [last, first]
    page.click("#cancel_run")
    wait_for_state(page, "cancelled")
    page.click(f"#runs tr[data-run='{at_work}'] .name button")
    wait_for_state(page, "running")
    # Stop reaches the run that it was pressed for, even if another is clicked at once.
    page.evaluate(
        "clicked => clicked.forEach(name => document.querySelector(name).click())",
        ["#stop_run", f"#runs tr[data-run='{first}'] .name button"],
    )
    wait_for_state(page, "finished")
    assert Studio(home).runs.report(at_work).status.state == "stopped"
    page.wait_for_url(f"**?run={first}")


def test_a_sweep_is_trained_and_its_peak_marked(visit):
    page = visit()
    wait_until_form_is_filled(page)
    fill_small(page, 1)
    page.click("#sweeps > button")
    page.wait_for_selector("#sweep_table .empty")
    page.fill("#sweep_betas input, #sweep_betas textarea", "0, 0.5")
    page.click("#start_sweep")
    page.wait_for_selector("#sweep_table:has-text('2 of 2 runs finished')")
    assert page.locator("#sweep_table tr.peak").count() == 1
    names = (
        "() => document.querySelector('#sweep_chart .js-plotly-plot')._fullData.map(t => t.name)"
    )
    assert page.evaluate(names) == ["reward", "judge", "peak"]
    page.wait_for_selector("#sweep_laws .subtle")


def test_a_pilot_says_what_it_costs_before_it_starts(visit):
    page = visit()
    wait_until_form_is_filled(page)
    page.click("#advice > button")
    page.wait_for_selector("#advice_cost:has-text('13 runs of 40 updates')")
    page.wait_for_selector("#advice_state .empty")


def test_a_run_is_exported_deleted_and_taken_back(visit, finished, home, app):
    page = visit(f"?run={finished}")
    wait_for_state(page, "finished")
    page.click("#manage > button")
    page.click("#export")
    page.wait_for_selector("#archive:has-text('Download'), #archive :has-text('Download')")
    with page.expect_download() as saving:
        page.click("#archive")
    names = zipfile.ZipFile(saving.value.path()).namelist()
    assert any(name.endswith("metrics.jsonl") for name in names)
    assert not list(app.temporary.glob("rocm-export-*"))
    row = f"#runs tr[data-run='{finished}']"
    for click in ("#delete", "#delete_keep", "#delete", "#delete_sure"):
        assert page.locator(row).count() == 1
        page.click(click)
    page.wait_for_selector(row, state="detached")
    page.click("#undo")
    page.wait_for_selector(f"{row}.chosen")
    assert Studio(home).runs.report(finished).status.state == "finished"


def test_settings_become_a_command_a_preset_and_come_back(visit, finished):
    page = visit(f"?run={finished}")
    wait_until_form_is_filled(page)
    fill(page, "beta", "0.25")
    page.get_by_role("button", name="Command line").click()
    page.wait_for_function(
        "() => document.querySelector('#command textarea')?.value.includes('0.25')"
    )

    # Neither a list of presets that is left without a choice nor a reload loses what was typed.
    page.click("#preset input")
    page.keyboard.press("Escape")
    page.click("#title h1")
    page.wait_for_timeout(2000)
    assert page.input_value("#setting_beta input") == "0.25"
    wait_until_form_is_filled(page)
    go(page)
    page.wait_for_function(BETA, arg="0.25")
    page.wait_for_selector(f"#runs tr[data-run='{finished}'].chosen")
    page.get_by_role("button", name="Save as a preset").click()
    page.fill("#preset_name input, #preset_name textarea", "mine")
    page.fill("#preset_description input, #preset_description textarea", "A quarter.")
    page.click("#save_preset")
    assert "mine" in toast(page)
    page.wait_for_function("() => document.querySelector('#preset input')?.value === 'Own: mine'")

    # A preset and a run's settings fill the form.
    choose(page, "#preset", "tiny-rocm-beta0")
    page.wait_for_function(BETA, arg="0")
    assert page.inner_text("#preset_sentence").strip()
    page.click("#manage > button")
    page.click("#clone")
    page.wait_for_function("() => document.querySelector('#setting_num_steps input')?.value == '4'")


def test_charts_and_previews_change_without_a_word_to_the_server_and_the_address_keeps_it(
    visit, finished
):
    page = visit(f"?run={finished}")
    assert wait_for_points(page, 4) == 4
    asked = []
    page.on("request", lambda request: "component_server" in request.url and asked.append(request))
    page.select_option("#charts [name=axis]", "images")
    page.uncheck("#charts [name=band]")
    page.check("#charts [name=log]")
    page.focus("#charts [name=window]")
    page.keyboard.press("End")
    assert page.evaluate(f"() => {PLOT}._fullLayout.xaxis.title.text") == "pictures drawn"
    assert "values" in page.evaluate(f"() => {PLOT}._fullLayout.yaxis.title.text")
    assert page.evaluate(POINTS, ["reward_chart", "training band"]) == 0
    assert asked == []
    for part in ("x=images", "band=0", "log=1", "mean=100"):
        assert part in page.url
    with page.expect_download() as saving:
        page.click("#reward_chart [data-save=csv]")
    rows = list(csv.DictReader(saving.value.path().read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[0]["heldout/tiny-judge"]
    with page.expect_download() as saving:
        page.click("#divergence_chart [data-save=png]")
    assert saving.value.path().read_bytes().startswith(b"\x89PNG")

    # The slider goes through the previews by keyboard.
    page.wait_for_selector(".preview-step:has-text('after update 4 (newest)')")
    sources = "() => [...document.querySelectorAll('.previews img')].map(image => image.src)"
    page.wait_for_function(f"() => ({sources})().length == 4 && ({sources})().every(Boolean)")
    newest = page.evaluate(sources)
    page.focus(".preview-bar input")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".preview-step:has-text('after update 2')")
    page.wait_for_function(f"newest => ({sources})()[1] != newest", arg=newest[1])
    assert page.evaluate(sources)[0] == newest[0]

    wait_until_form_is_filled(page)
    go(page)
    wait_for_points(page, 4)
    assert page.input_value("#charts [name=axis]") == "images"


def test_judge_and_audit_share_an_axis_in_base_deviations(visit, home):
    run = RunDir.create(home / "runs" / "judged", RunConfig(num_steps=2), preset="judged")
    for step, (judge, taste) in enumerate([(0.7, -12.0), (0.8, -10.0)]):
        scores = {"heldout/tiny-judge": judge, "audit/taste": taste}
        run.append_metrics({"time": 1.7e9 + step, "step": step, "reward": 1.0, **scores})
    scales = {"tiny-judge": {"mean": 0.7, "deviation": 0.1}}
    scales["taste"] = {"mean": -12.0, "deviation": 4.0}
    run.write_manifest({"base_scores": scales})
    run.write_state("stopped", step=1)
    for kind in ("hacking", "saturation"):
        run.append_event("warning", step=1, warning=kind, message=f"About {kind}.")
    page = visit("?run=judged")
    drawn = f"() => ({PLOT}?._fullData ?? []).filter(t => t.yaxis === 'y2').map(t => [...t.y])"
    page.wait_for_function(f"() => ({drawn})().length === 2")
    assert page.evaluate(drawn) == [[0, 1], [0, 0.5]]
    assert "base SD" in page.evaluate(f"() => {PLOT}._fullLayout.yaxis2.title.text")
    lines = f"() => {PLOT}._fullData.filter(t => t.yaxis === 'y2').map(t => t.line.dash)"
    assert len(set(page.evaluate(lines))) == 2
    labels = f"() => {PLOT}.layout.annotations.map(one => one.text.slice(2))"
    assert page.evaluate(labels) == ["hacking, saturation"]
    # On a phone nothing of the list of runs is beyond its edge.
    page.set_viewport_size({"width": 390, "height": 800})
    wide = "list => [...list.querySelectorAll('*')].map(one => one.getBoundingClientRect().right)"
    assert max(page.locator("#runs").evaluate(wide)) <= 390


def test_a_long_run_is_drawn_with_few_points_all_where_one_zooms_and_another_on_top(visit, home):
    write_run(home, "long", num_steps=3000)
    write_run(home, "other", num_steps=30)
    page = visit("?run=long")
    ends = f"() => {{ const x = {PLOT}._fullData.at(-1).x; return [x.length, x[0], x.at(-1)]; }}"
    page.wait_for_function(f"() => {PLOT}?._fullData?.at(-1)?.x?.at(-1) === 3000")
    assert page.evaluate(ends) == [500, 1, 3000]
    page.evaluate(f"() => Plotly.relayout({PLOT}, {{'xaxis.range': [1000, 1100]}})")
    page.wait_for_function(f"() => ({ends})()[0] < 200")
    assert page.evaluate(ends) == [103, 999, 1101]

    page.check("#runs tr[data-run='other'] input")
    both = f"() => ({PLOT}?._fullData ?? []).filter(t => t.showlegend).map(t => t.name)"
    page.wait_for_function(f"() => ({both})().length == 2 && ({both})()[0].includes('long')")
    page.wait_for_url("**with=other")
    wait_until_form_is_filled(page)
    go(page)
    page.wait_for_function(f"() => ({both})().length == 2")


def test_runs_are_found_and_sorted_and_no_arrow_covers_a_word(visit, home):
    names = ["apple-b", "apple-e", "apple-a", "apple-d", "apple-c"]
    for name in names:
        write_run(home, name, num_steps=2)
    page = visit("?run=apple-d")
    titles = page.locator("#runs tbody .name button")
    page.get_by_label("Find a run").fill("apple")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 5")
    page.get_by_label("Order", exact=True).select_option("title")
    assert titles.all_inner_texts() == sorted(names)
    # Gradio's arrow is 24 px wide.
    room = "boxes => boxes.map(box => parseInt(getComputedStyle(box).paddingRight))"
    assert min(page.eval_on_selector_all("#runs select", room)) >= 24
    page.get_by_label("Find a run").fill("no such run")
    page.wait_for_selector("#runs .empty:not([hidden])")
    assert page.locator("#runs .empty").inner_text()
