"""The report's figures as SVG: the paper's Figures 3 and 4, drawn from votes.

Every drawing carries the study's marks, so that one cut out of the report still says what it is.
"""

from collections.abc import Sequence
from html import escape

from rocm.study.statistics.beta_curve import BetaPoint
from rocm.study.statistics.outcomes import Outcome
from rocm.study.statistics.reward_agreement import CurvePoint
from rocm.study.statistics.score_intervals import ScoreInterval

FONT = 'font-family="system-ui,sans-serif" font-size="12"'
WIN, TIE, LOSS = "#2b6cb0", "#c9d1da", "#c2571a"
SHADES = ("#2b6cb0", "#c2571a", "#2f7d4f", "#7a4aa0", "#8a6d00", "#b03060")
"""Colours of the rewards in Figure 4, told apart by shape as well."""
SHAPES = ("circle", "square", "triangle")


def share_bars(outcomes: Sequence[Outcome], marks: Sequence[str]) -> str:
    """Figure 3: one bar per comparison, split into wins, ties and losses; the score with interval.

    Args:
        outcomes: about one question, with votes.
        marks: words that must stand in the drawing.

    Returns:
        An SVG element.
    """
    left, width, step, top = 210, 400, 44, 34
    height = top + step * len(outcomes) + 40
    parts = [_legend(left)]
    for number, one in enumerate(outcomes):
        y = top + step * number
        parts.append(_text(left - 10, y + 15, one.comparison, "end"))
        start = float(left)
        for count, colour in ((one.wins, WIN), (one.ties, TIE), (one.losses, LOSS)):
            share = width * count / one.num_votes
            parts.append(
                f'<rect x="{start:.1f}" y="{y}" width="{share:.1f}" height="22" fill="{colour}"/>'
            )
            start += share
        if one.score is not None:
            parts.append(_whisker(left, width, y + 30, one.score, one.interval))
            parts.append(_text(left + width + 12, y + 15, _label(one), "start"))
    middle = left + width / 2
    parts.append(
        f'<line x1="{middle}" y1="{top - 6}" x2="{middle}" y2="{height - 34}" stroke="#1c2430" '
        'stroke-dasharray="3 3"/>'
    )
    parts += [
        _text(left + width * tick, height - 18, f"{tick:.0%}", "middle") for tick in (0, 0.5, 1)
    ]
    return _svg(left + width + 150, height, "Wins, ties and losses by comparison", parts, marks)


def hacking_chart(points: Sequence[CurvePoint], marks: Sequence[str]) -> str:
    """Figure 4: how often a reward prefers arm a (across) and what people say (up).

    Points of one reward are joined in their order, from the largest beta to the smallest; on the
    diagonal reward and people agree, below it the reward is more pleased than people are.

    Args:
        points: by reward, in order.
        marks: words that must stand in the drawing.

    Returns:
        An SVG element.
    """
    left, top, size = 70, 20, 340
    parts = [
        f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="#8a95a3"/>',
        f'<line x1="{left}" y1="{top + size}" x2="{left + size}" y2="{top}" stroke="#8a95a3" '
        'stroke-dasharray="3 3"/>',
        _text(
            left + size / 2, top + size + 38, "pairs in which the reward prefers arm a", "middle"
        ),
        f'<text transform="translate(18 {top + size / 2}) rotate(-90)" text-anchor="middle" {FONT}>'
        "people's score of arm a</text>",
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(left + size * tick, top + size + 18, f"{tick:.0%}", "middle"))
        parts.append(_text(left - 8, top + size * (1 - tick) + 4, f"{tick:.0%}", "end"))
    names = list(dict.fromkeys(point.reward for point in points))
    dots: list[str] = []  # over all error bars: points of two rewards often share a place
    for number, name in enumerate(names):
        colour = SHADES[number % len(SHADES)]
        shape = SHAPES[number % len(SHAPES)]
        own = [point for point in points if point.reward == name]
        spots = [
            (left + size * one.reward_share, top + size * (1 - one.human_score)) for one in own
        ]
        if all(one.beta is not None for one in own):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        for one, (x, y) in zip(own, spots, strict=True):
            parts.append(_error_bar(x, top, size, one.interval, colour))
            dots.append(_spot(x, y, shape, colour, f"{name}, {one.comparison}"))
        parts.append(_spot(left + size + 24, top + 12 + 20 * number, shape, colour, name))
        parts.append(_text(left + size + 36, top + 16 + 20 * number, name, "start"))
    parts += dots
    return _svg(left + size + 200, top + size + 60, "Rewards against people", parts, marks)


def beta_chart(points: Sequence[BetaPoint], marks: Sequence[str]) -> str:
    """Win rate, and each reward's agreement with people, against beta, which falls to the right.

    Betas stand at equal distances, so that 0 and 0.001 are told apart.

    Args:
        points: by falling beta.
        marks: words that must stand in the drawing.

    Returns:
        An SVG element.
    """
    left, top, size, width = 70, 20, 260, 420
    betas = list(dict.fromkeys(one.beta for one in points))
    step = width / len(betas)
    across = [left + step * (betas.index(one.beta) + 0.5) for one in points]
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{size}" fill="none" '
        'stroke="#8a95a3"/>',
        _text(left + width / 2, top + size + 38, "beta", "middle"),
    ]
    parts += [
        _text(left + step * (place + 0.5), top + size + 18, f"{beta:g}", "middle")
        for place, beta in enumerate(betas)
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(left - 8, top + size * (1 - tick) + 4, f"{tick:.0%}", "end"))
    for x, one in zip(across, points, strict=True):
        parts.append(_error_bar(x, top, size, one.interval, "#1c2430"))
    lines: dict[str, list[float | None]] = {"people's win rate": [p.win_rate for p in points]}
    for name in points[0].agreed:
        lines[f"{name} agrees with people"] = [one.agreed[name].share for one in points]
    for number, (name, values) in enumerate(lines.items()):
        colour = ("#1c2430", *SHADES)[number % (len(SHADES) + 1)]
        shape = SHAPES[number % len(SHAPES)]
        spots = [
            (x, top + size * (1 - value))
            for x, value in zip(across, values, strict=True)
            if value is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        dashes = 'stroke-dasharray="5 4"' if number else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" {dashes}/>')
        parts += [_spot(x, y, shape, colour, name) for x, y in spots]
        below = top + size + 62 + 20 * number
        parts.append(_spot(left + 6, below - 4, shape, colour, name))
        parts.append(_text(left + 18, below, name, "start"))
    height = top + size + 76 + 20 * len(lines)
    return _svg(left + width + 40, height, "People and rewards against beta", parts, marks)


def _svg(
    width: float, height: float, title: str, parts: Sequence[str], marks: Sequence[str]
) -> str:
    label = escape(title, quote=True)
    banner = ""
    if marks:
        banner = (
            f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle" font-weight="bold" '
            f'fill="#8a1c1c" {FONT}>{escape("; ".join(marks))}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img" aria-label="{label}">{"".join(parts)}{banner}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {FONT}>{escape(text)}</text>'


def _legend(left: float) -> str:
    words = (("arm a", WIN), ("tie", TIE), ("arm b", LOSS))
    return "".join(
        f'<rect x="{left + 80 * i}" y="6" width="12" height="12" fill="{colour}"/>'
        + _text(left + 80 * i + 18, 16, word, "start")
        for i, (word, colour) in enumerate(words)
    )


def _label(one: Outcome) -> str:
    if one.interval is None:
        return f"{one.score:.1%}"
    return f"{one.score:.1%} ({one.interval.low:.1%}, {one.interval.high:.1%})"


def _whisker(
    left: float, width: float, y: float, score: float, interval: ScoreInterval | None
) -> str:
    dot = f'<circle cx="{left + width * score:.1f}" cy="{y}" r="4" fill="#1c2430"/>'
    if interval is None:
        return dot
    low, high = left + width * interval.low, left + width * interval.high
    return (
        f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="#1c2430" '
        f'stroke-width="2"/>{dot}'
    )


def _error_bar(
    x: float, top: float, size: float, interval: ScoreInterval | None, colour: str
) -> str:
    if interval is None:
        return ""
    high, low = top + size * (1 - interval.high), top + size * (1 - interval.low)
    return f'<line x1="{x:.1f}" y1="{high:.1f}" x2="{x:.1f}" y2="{low:.1f}" stroke="{colour}"/>'


def _spot(x: float, y: float, shape: str, colour: str, name: str) -> str:
    title = f"<title>{escape(name)}</title>"
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}">{title}</circle>'
    if shape == "square":
        return (
            f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour}">'
            f"{title}</rect>"
        )
    corners = f"{x:.1f},{y - 6:.1f} {x - 6:.1f},{y + 5:.1f} {x + 6:.1f},{y + 5:.1f}"
    return f'<polygon points="{corners}" fill="{colour}">{title}</polygon>'
