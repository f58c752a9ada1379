"""Figures from plain data; plotly itself says whether they are figures."""

import plotly.graph_objects as go

from rocm.algorithms.intervals import Interval
from rocm.experiments.sweep import SweepCell, SweepReport
from rocm.ui.figures import score_figure, sweep_figure
from rocm.ui.train.sweeps import sweep_table


def cell(settings, reward, judge, states=("finished",)):
    known = reward is not None
    return SweepCell(
        settings=settings,
        run_ids=["a"],
        states=list(states),
        reward=Interval(reward, reward - 0.5, reward + 0.25, 3, "seeds") if known else None,
        judge=Interval(judge, None, None, 1, "seeds") if known else None,
        divergence=None,
    )


def report(grid, cells, peak):
    return SweepReport("sweep-1", "tiny-rocm-kl", 0.0, grid, 1, cells, peak, 2, 3)


BY_BETA = report(
    {"beta": [0.1, 0.0, 1.0]},
    [cell({"beta": 0.1}, 2, 0.4), cell({"beta": 0.0}, 3, 0.1), cell({"beta": 1.0}, None, None)],
    peak=0,
)
BY_TWO = report(
    {"divergence": ["kl", "js"], "beta": [0.1]},
    [cell({"divergence": one, "beta": 0.1}, 2, 0.4) for one in ("kl", "js")],
    peak=1,
)


def test_values_stand_in_order_with_their_intervals_and_a_star_on_the_judge_of_the_peak():
    figure = sweep_figure(BY_BETA)
    go.Figure(figure)
    assert figure["layout"]["xaxis"]["ticktext"] == ["0", "0.1", "1"]
    reward, judge, star = figure["data"]
    assert [round(x) for x in reward["x"]] == [0, 1]  # a cell that is not trained is left out
    assert reward["y"] == [3, 2]
    bars = reward["error_y"]
    assert (bars["array"], bars["arrayminus"]) == ([0.25, 0.25], [0.5, 0.5])
    assert judge["error_y"]["array"] == [0, 0]
    assert (star["name"], star["yaxis"], star["y"]) == ("peak", "y2", [0.4])
    assert round(star["x"][0]) == 1


def test_every_combination_of_the_other_settings_has_its_own_lines():
    figure = sweep_figure(BY_TWO)
    go.Figure(figure)
    names = [trace["name"] for trace in figure["data"]]
    reward_and_judge = ["divergence kl reward", "divergence kl judge"]
    assert names[:2] == reward_and_judge
    assert names[2:4] == [name.replace("kl", "js") for name in reward_and_judge]


def test_a_study_without_votes_that_count_says_so_in_place_of_a_chart():
    figure = score_figure([{"score": None}], [], "All votes")
    assert go.Figure(figure).layout.annotations[0].text


def test_the_table_marks_the_peak_and_escapes_what_others_wrote():
    html = sweep_table(BY_BETA)
    assert html.count('class="peak"') == 1
    assert "0.1 \N{BLACK STAR} peak" in html
    assert "2.00 (1.50 to 2.25)" in html
    evil = report({"model": ["<b>"]}, [cell({"model": "<b>"}, None, None)], None)
    assert "<b>" not in sweep_table(evil)
