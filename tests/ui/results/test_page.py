"""The Results page: what it says of a count, who may ask, and its figure."""

from types import SimpleNamespace

import gradio as gr
import pytest

from rocm.errors import StudyError
from rocm.runs.library import Runs
from rocm.study.report import loop
from rocm.study.report.loop import Loop, Loops
from rocm.study.report.results import Results, StudyResult
from rocm.ui.access import Access
from rocm.ui.figures import score_figure
from rocm.ui.results import view
from rocm.ui.results.page import ResultsPage

MARK = "SIMULATED: votes by simulated raters, no people"


def outcome(comparison, question, score, ends=None, note=""):
    return {
        **{"comparison": comparison, "question": question, "score": score, "note": note},
        "interval": ends and {"low": ends[0], "high": ends[1]},
        **{"num_votes": 40, "num_raters": 8, "num_prompts": 10, "holm_p": 0.02},
    }


OUTCOMES = [
    outcome("x:y", "overall", 0.7, (0.6, 0.8)),
    outcome("x:z", "overall", 0.5, (0.4, 0.6)),
    outcome("y:z", "overall", None, note="No votes yet."),
    outcome("x:y", "appeal", 0.3, (0.2, 0.4)),
    outcome("x:z", "appeal", 0.55, note="No interval: all the same."),
]
DECIDED = {"now": 12.5, "largest": 25.0, "is_decided": True, "num_votes_at_decision": 180}
CONTENT = {
    "marks": [MARK],
    "study": {"questions": ["overall", "appeal"], "exclusion_rules": []},
    "results": {
        "outcomes": OUTCOMES,
        "outcomes_of_all": OUTCOMES,
        "num_votes": 200,
        "num_excluded": 10,
        "cautions": ["Only 2 raters & few."],
        "evidence": {
            "x:y": {**DECIDED, "note": ""},
            "<b>": {**dict.fromkeys(DECIDED), "note": "Few."},
        },
    },
}


@pytest.fixture
def page(tmp_path):
    """A page that asks for a token, over an empty home."""
    results = Results(tmp_path)
    with gr.Blocks():
        loops = Loops(tmp_path, results, Runs(tmp_path), None)
        yield ResultsPage(results, loops, Access(may_train=True, token="secret"))
    results.store.close()


def test_the_headline_is_about_the_primary_question_and_compares_with_half():
    text = view.headline_html(CONTENT)
    assert "<strong>x</strong> against <strong>y</strong>: <b>70.0 %</b>" in text
    assert "60.0 to 80.0 % is above 50 %" in text
    assert "40.0 to 60.0 % includes 50 %" in text
    assert "<strong>z</strong>: No votes yet." in text
    assert "30.0 %" not in text
    assert "Only 2 raters &amp; few." in text


def test_an_open_study_shows_no_score_but_its_marks_and_new_votes_and_text_is_escaped():
    text = view.evidence_html(CONTENT)
    assert "<td>12.50</td><td>25.00</td><td>yes, after 180 votes</td>" in text
    assert "<b>" not in text
    assert "70" not in text
    result = StudyResult("0" * 12, "<script>", "open", "evidence", num_new=7, content=CONTENT)
    text = view.state_html(result)
    assert MARK in text
    assert "7 new votes" in text
    assert "<script>" not in text


def test_the_figure_has_a_bar_and_its_interval_for_every_score():
    figure = score_figure(OUTCOMES, [MARK], "All votes")
    overall, appeal, unknown = figure["data"]
    assert (overall["name"], overall["y"], overall["x"]) == ("overall", ["x:y", "x:z"], [70, 50])
    assert overall["error_x"]["array"] == pytest.approx([10, 10])
    assert appeal["error_x"]["arrayminus"] == pytest.approx([10])
    assert (unknown["name"], unknown["x"]) == ("appeal", [pytest.approx(55)])
    assert not unknown["error_x"]["visible"]  # no interval, no whiskers
    assert not unknown["showlegend"]
    assert MARK in figure["layout"]["title"]["text"]


def test_results_follow_the_study_that_was_chosen_since_on_the_study_page(page, monkeypatch):
    asked = []
    monkeypatch.setattr(page, "_listed", lambda wanted: asked.append(wanted) or {})
    request = SimpleNamespace(query_params={})
    for study, chosen, followed in (("a", "", ""), ("a", "b", ""), ("a", "b", "b")):
        changes = page._enter("secret", study, chosen, followed, request)
        assert changes[page._followed] == chosen
    assert asked == ["a", "b", "a"]


def test_the_loop_marks_one_next_step_and_escapes_what_is_stored():
    first = Loop("0123456789ab", "closed", 40, "preference:<b>", {}, False, "", "")
    words = view.loop_html(first.stages)
    assert words.count(">done<") == 2
    assert words.count(">next<") == 1
    assert words.count(">later<") == 2
    assert "<b>" not in words
    whole = Loop("0123456789ab", "closed", 40, "r", {"ROCM": "a"}, True, "ab" * 6, "closed")
    assert ">next<" not in view.loop_html(whole.stages)


def test_a_round_is_not_drawn_twice_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "gather", lambda store, studies: None)
    running = SimpleNamespace(poll=lambda: None)
    begun = []
    monkeypatch.setattr(
        loop, "detached", lambda command, *_, **__: begun.append(command) or running
    )
    loops = Loops(tmp_path, Results(tmp_path), Runs(tmp_path), None)
    loops.next_round(["0123456789ab", "ba9876543210"])
    with pytest.raises(StudyError, match="is being drawn already"):
        loops.next_round(["0123456789ab", "ba9876543210"])
    running.poll = lambda: 0
    loops.next_round(["0123456789ab", "ba9876543210"])
    assert [command[-2:] for command in begun] == [["0123456789ab", "ba9876543210"]] * 2
