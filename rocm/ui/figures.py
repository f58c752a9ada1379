"""Figures from plain data, as dictionaries for plotly.js; live charts are in train/charts.py.

Colors work on light and dark backgrounds; backgrounds are transparent.
"""

from typing import Any

from rocm.evaluation.efficiency import Curve
from rocm.experiments.overoptimization import Fit, Point
from rocm.experiments.sweep import SweepReport

Figure = dict[str, Any]

SHIFT = 0.03
ENDS = ("low", "high")
JUDGE_AXIS = "judge (\N{BLACK DIAMOND})"
REWARD, JUDGE, TEXT, GRID = "#4f6ef7", "#e8833a", "#717a88", "#7d859033"
OTHERS = (REWARD, "#2ba58c", "#a667d8", "#b58a00", "#c95f96", "#3a9bdc")


def sweep_figure(report: SweepReport) -> Figure:
    """Reward (circles) and judge (diamonds) against the first numeric setting, with intervals.

    A color for each combination of the other settings; the peak has a star. Values are equidistant:
    0 and 0.001 can be told apart. The judge has the right-hand axis.
    """
    axis = numeric_setting(report)
    layout = _layout(report.sweep_id, axis, "reward (\N{BLACK CIRCLE})", JUDGE_AXIS)
    drawn = [cell for cell in report.cells if cell.reward]
    if not axis or not drawn:
        reason = "No finished run yet" if axis else "No numeric setting to draw against"
        return {"data": [], "layout": {**layout, **_empty(reason)}}
    places = {value: place for place, value in enumerate(sorted(report.grid[axis]))}
    words = [f"{value:g}" for value in places]
    layout["xaxis"] |= {"tickvals": list(places.values()), "ticktext": words}
    data: list[Figure] = []
    for group in dict.fromkeys(_others(cell.settings, axis) for cell in report.cells):
        members = [cell for cell in drawn if _others(cell.settings, axis) == group]
        members.sort(key=lambda cell: cell.settings[axis])
        color = OTHERS[len(data) // 2 % len(OTHERS)]
        label = ", ".join(f"{name} {value}" for name, value in group)
        for measure, symbol, side in (("reward", "circle", "y"), ("judge", "diamond", "y2")):
            # Side by side, so that neither hides the other's interval.
            shift = -SHIFT if measure == "reward" else SHIFT
            points = [
                (places[cell.settings[axis]] + shift, getattr(cell, measure)) for cell in members
            ]
            tone = color if group else {"reward": REWARD, "judge": JUDGE}[measure]
            data.append(_trace(points, f"{label} {measure}".strip(), tone, symbol, side))
    return {"data": [*data, *_peak(report, axis, places)], "layout": layout}


def efficiency_figure(curves: dict[str, Curve], cost: str) -> Figure:
    """Running mean of the reward against cost, with a band, a color for each run."""
    layout = _layout(f"{cost} {sorted(curves)}", cost, "reward")
    data: list[Figure] = []
    for number, (label, curve) in enumerate(curves.items()):
        color = OTHERS[number % len(OTHERS)]
        plain = {"type": "scatter", "mode": "lines", "name": label, "x": curve.cost}
        edge = {**plain, "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        fill = {"fill": "tonexty", "fillcolor": f"{color}26"}
        line = {"line": {"color": color, "width": 2.5}, "hovertemplate": "%{y:.4g}"}
        data += [{**edge, "y": curve.low}, {**edge, **fill, "y": curve.high}]
        data.append({**plain, **line, "y": curve.mean, "showlegend": True})
    return {"data": data, "layout": layout}


def overoptimization_figure(points: list[Point], laws: dict[str, Fit | None]) -> Figure:
    """Scores against sqrt(KL), a color for each name in `laws`, with the law that fits as a line.

    The numbers on the axis are sqrt(KL); pointing at a mark shows the KL.
    """
    across, up = "sqrt(KL), from the base model", "change, base deviations"
    layout = _layout(f"laws {list(laws)}", across, up)
    layout["margin"] |= {"r": 14}
    most = max((point.distance for point in points), default=1.0)
    places = [most * k / 60 for k in range(1, 61)]
    data: list[Figure] = []
    for (name, fit), color in zip(laws.items(), (REWARD, JUDGE, *OTHERS[1:]), strict=False):
        drawn = [point for point in points if name in point.scores]
        values = {
            "x": [point.distance for point in drawn],
            "y": [point.scores[name] for point in drawn],
            "customdata": [point.distance**2 for point in drawn],
        }
        mark = {"mode": "markers", "name": name, "marker": {"color": color, "size": 8}}
        hover = {"hovertemplate": "%{y:.3g} at %{customdata:.3g} nats"}
        data.append({"type": "scatter", **values, **mark, **hover})
        if fit:
            line = {"mode": "lines", "line": {"color": color, "width": 2}, "showlegend": False}
            height = [fit.at(place) for place in places]
            data.append({"type": "scatter", "x": places, "y": height, **line, "hoverinfo": "skip"})
    return {"data": data, "layout": layout}


def score_figure(outcomes: list[dict[str, Any]], marks: list[str], title: str) -> Figure:
    """The paper's Figure 3 from votes: a bar for every comparison, a color for every question.

    Score of the first named arm in percent with its headline interval, from report.json's
    `outcomes` of all questions; `marks` are lines that must be in the drawing.
    """
    shown = [bar for bar in outcomes if bar["score"] is not None]
    if not shown:
        return {"data": [], "layout": {**_layout(title, "", ""), **_empty("No votes that count")}}
    names = list(dict.fromkeys(bar["comparison"] for bar in shown))
    questions = list(dict.fromkeys(bar["question"] for bar in shown))
    layout = _layout(f"{title} {names} {questions}", "score of the first arm, %", "")
    # The legend is below: on a phone it takes a line for each question, over a title.
    below = 20 * len(questions)
    height = 150 + 24 * len(shown) + 16 * len(marks) + below
    at_top = {"x": 0.5, "y": 1, "yanchor": "top", "pad": {"t": 20}}
    at_half = {"x0": 50, "x1": 50, "y0": 0, "y1": 1, "yref": "paper"}
    layout |= {
        "height": height,
        "barmode": "group",
        "title": {"text": "<br>".join([title, *marks]), "font": {"size": 12}, **at_top},
        "margin": {"l": 10, "r": 14, "t": 50 + 16 * len(marks), "b": 44 + below},
        "legend": {"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom"},
        "shapes": [{"type": "line", **at_half, "line": {"color": TEXT, "dash": "dot", "width": 1}}],
        # Touch screens show these buttons all the time, over the title.
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "remove": ["select2d", "lasso2d"]},
    }
    layout["xaxis"] |= {"range": [0, 100], "tickvals": [0, 25, 50, 75, 100], "fixedrange": True}
    # Rows from above; a name on two lines leaves a phone some room for the bars.
    rows = {"tickvals": names, "ticktext": [name.replace(":", "<br>vs ") for name in names]}
    layout["yaxis"] = {"autorange": "reversed", "automargin": True, "fixedrange": True, **rows}
    data: list[Figure] = []
    for question, color in zip(questions, OTHERS, strict=False):
        rows_of = [bar for bar in shown if bar["question"] == question]
        for is_known in (True, False):
            some = [bar for bar in rows_of if bool(bar["interval"]) is is_known]
            is_named = not any(trace["name"] == question for trace in data)
            data += [_score_bars(some, question, color) | {"showlegend": is_named}] if some else []
    return {"data": data, "layout": layout}


def _score_bars(outcomes: list[dict[str, Any]], question: str, color: str) -> Figure:
    """Bars of one question, which all have an interval or all have none and no whiskers."""
    scores = [100 * bar["score"] for bar in outcomes]
    ends = [
        [100 * bar["interval"][end] for end in ENDS] if bar["interval"] else [] for bar in outcomes
    ]
    known = [end for end in ends if end]
    interval = " (%{customdata[1]:.1f} to %{customdata[2]:.1f})" if known else ""
    look = {"visible": bool(known), "color": TEXT, "thickness": 1.4}
    return {
        "type": "bar",
        "orientation": "h",
        "name": question,
        "x": scores,
        "y": [bar["comparison"] for bar in outcomes],
        "offsetgroup": question,
        "marker": {"color": color},
        "error_x": _whiskers(scores, known) | look,
        "customdata": [[bar["num_votes"], *end] for bar, end in zip(outcomes, ends, strict=True)],
        "hovertemplate": "%{x:.1f} %" + interval + "<br>%{customdata[0]} votes",
    }


def _whiskers(values: list[float], ends: list[list[float]]) -> Figure:
    """Error bars from values to the low and high ends of their intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, ends, strict=False)],
        "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=False)],
        "width": 4,
    }


def numeric_setting(report: SweepReport) -> str:
    """The varied setting for the x axis: beta, else the first number; empty without one."""
    numbers = [
        name
        for name, values in report.grid.items()
        if all(isinstance(value, int | float) for value in values)
    ]
    return "beta" if "beta" in numbers else next(iter(numbers), "")


def _others(settings: dict[str, Any], axis: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in settings.items() if name != axis)


def _trace(points: list[Any], label: str, color: str, symbol: str, side: str) -> Figure:
    known = [(place, interval) for place, interval in points if interval]
    means = [interval.mean for _, interval in known]
    ends = [
        [interval.mean if end is None else end for end in (interval.low, interval.high)]
        for _, interval in known
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "yaxis": side,
        "x": [place for place, _ in known],
        "y": means,
        "error_y": _whiskers(means, ends) | {"thickness": 1.2, "color": color},
        "line": {"color": color, "width": 2, "dash": "solid" if side == "y" else "dash"},
        "marker": {"color": color, "size": 8, "symbol": symbol},
        "hovertemplate": "%{y:.4g}",
    }


def _peak(report: SweepReport, axis: str, places: dict[Any, int]) -> list[Figure]:
    if report.peak is None:
        return []
    cell = report.cells[report.peak]
    best, side = (cell.judge, "y2") if cell.judge else (cell.reward, "y")
    if best is None:
        return []
    mark = {"symbol": "star", "size": 17, "color": "#f5b301", "line": {"color": TEXT, "width": 1}}
    x = [places[cell.settings[axis]] + (SHIFT if side == "y2" else -SHIFT)]
    star = {"type": "scatter", "mode": "markers", "name": "peak", "x": x, "y": [best.mean]}
    return [{**star, "yaxis": side, "marker": mark, "hovertemplate": "peak: %{y:.4g}"}]


def _empty(text: str) -> Figure:
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    words = {"text": text, "showarrow": False, "font": {"size": 14}, **place}
    hidden = {"visible": False}
    return {"annotations": [words], "xaxis": hidden, "yaxis": hidden, "yaxis2": hidden}


def _layout(revision: str, across: str, up: str, right: str = "") -> Figure:
    """The layout with titles of the axes; `right` is the second axis of values, if there is one."""
    line = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID}
    value = {**line, "tickformat": ".3~g"}
    layout: Figure = {
        "uirevision": revision,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": TEXT, "size": 12, "family": "system-ui, sans-serif"},
        "margin": {"l": 62, "r": 66, "t": 12, "b": 40},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**line, "title": {"text": across, "standoff": 6}},
        "yaxis": {**value, "title": {"text": up, "standoff": 6}},
    }
    if right:
        over = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto"}
        layout["yaxis2"] = {**value, **over, "title": {"text": right, "standoff": 6}}
    return layout
