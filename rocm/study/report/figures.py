"""The paper's Figures 3 and 4 as SVG, drawn from votes; every drawing carries the study's marks."""

from collections.abc import Sequence
from html import escape

from rocm.study.report.cells import percent
from rocm.study.statistics.outcomes import Outcome
from rocm.study.statistics.reward_agreement import BetaPoint, CurvePoint
from rocm.study.statistics.score_intervals import ScoreInterval

FONT = 'font-family="system-ui,sans-serif" font-size="12"'
WIN, TIE, LOSS = "#2b6cb0", "#c9d1da", "#c2571a"
INK, FRAME = "#1c2430", "#8a95a3"
SHADES = ("#2b6cb0", "#c2571a", "#2f7d4f", "#7a4aa0", "#8a6d00", "#b03060")
"""Colors of the rewards in Figure 4, which also differ by shape."""
SHAPES = ("circle", "square", "triangle")
TICKS = (0, 0.25, 0.5, 0.75, 1)
LEFT, TOP = 70, 20


def share_bars(outcomes: Sequence[Outcome], marks: Sequence[str]) -> str:
    """Figure 3 as SVG: a bar of wins, ties and losses per comparison with votes, and the score."""
    left, width, step, top = 210, 400, 44, 34
    height = top + step * len(outcomes) + 40
    parts = []
    for i, (word, color) in enumerate((("arm a", WIN), ("tie", TIE), ("arm b", LOSS))):
        parts.append(_bar(left + 80 * i, 6, 12, 12, color))
        parts.append(_text(left + 80 * i + 18, 16, word, "start"))
    for row, outcome in enumerate(outcomes):
        y = top + step * row
        parts.append(_text(left - 10, y + 15, outcome.comparison, "end"))
        start = float(left)
        for count, color in ((outcome.wins, WIN), (outcome.ties, TIE), (outcome.losses, LOSS)):
            share = width * count / outcome.num_votes
            parts.append(_bar(start, y, share, 22, color))
            start += share
        if outcome.score is None:
            continue
        label, interval = percent(outcome.score), outcome.interval
        if interval is not None:
            low, high = left + width * interval.low, left + width * interval.high
            parts.append(_line(low, y + 30, high, y + 30, INK, 'stroke-width="2"'))
            label += f" ({percent(interval.low)}, {percent(interval.high)})"
        x = left + width * outcome.score
        parts.append(f'<circle cx="{x:.1f}" cy="{y + 30}" r="4" fill="{INK}"/>')
        parts.append(_text(left + width + 12, y + 15, label, "start"))
    middle = left + width / 2
    parts.append(_line(middle, top - 6, middle, height - 34, INK, 'stroke-dasharray="3 3"'))
    for tick in (0, 0.5, 1):
        parts.append(_text(left + width * tick, height - 18, f"{100 * tick:.0f} %", "middle"))
    return _svg(left + width + 170, height, "Wins, ties and losses by comparison", parts, marks)


def hacking_chart(points: Sequence[CurvePoint], marks: Sequence[str]) -> str:
    """Figure 4 as SVG: how often a reward (across) and people (up) prefer arm a.

    Points of a reward are joined in their order, by falling beta. On the diagonal reward and people
    agree; below it the reward prefers arm a more often than people do.
    """
    size = 340
    parts = _frame(size, size, "pairs in which the reward prefers arm a")
    parts.append(
        _line(LEFT, TOP + size, LEFT + size, TOP, FRAME, 'stroke-dasharray="3 3"')
        + f'<text transform="translate(18 {TOP + size / 2}) rotate(-90)" text-anchor="middle" '
        f"{FONT}>people's score of arm a</text>"
    )
    for tick in TICKS:
        x = LEFT + size * tick
        parts.append(_text(x, TOP + size + 18, f"{100 * tick:.0f} %", "middle"))
    dots: list[str] = []  # over all error bars: points of two rewards often coincide
    for row, name in enumerate(dict.fromkeys(point.reward for point in points)):
        color, shape = SHADES[row % len(SHADES)], SHAPES[row % len(SHAPES)]
        own = [point for point in points if point.reward == name]
        spots = [(LEFT + size * p.reward_share, TOP + size * (1 - p.human_score)) for p in own]
        if all(point.beta is not None for point in own):
            parts.append(_path(spots, color))
        for point, (x, y) in zip(own, spots, strict=True):
            parts.append(_error_bar(x, size, point.interval, color))
            dots.append(_spot(x, y, shape, color, f"{name}, {point.comparison}"))
        y = TOP + 12 + 20 * row
        parts.append(_spot(LEFT + size + 24, y, shape, color, name))
        parts.append(_text(LEFT + size + 36, y + 4, name, "start"))
    return _svg(LEFT + size + 200, TOP + size + 60, "Rewards and people", [*parts, *dots], marks)


def beta_chart(points: Sequence[BetaPoint], marks: Sequence[str]) -> str:
    """Win rate and agreement of rewards with people, by falling beta at equal distances, as SVG."""
    size, width = 260, 420
    betas = list(dict.fromkeys(point.beta for point in points))
    step = width / len(betas)
    across = [LEFT + step * (betas.index(point.beta) + 0.5) for point in points]
    parts = _frame(width, size, "beta")
    for place, beta in enumerate(betas):
        parts.append(_text(LEFT + step * (place + 0.5), TOP + size + 18, f"{beta:g}", "middle"))
    for x, point in zip(across, points, strict=True):
        parts.append(_error_bar(x, size, point.interval, INK))
    lines: dict[str, list[float | None]] = {"people's win rate": [p.win_rate for p in points]}
    for name in points[0].agreed:
        lines[f"{name} agrees with people"] = [point.agreed[name].share for point in points]
    for row, (name, values) in enumerate(lines.items()):
        color = (INK, *SHADES)[row % (len(SHADES) + 1)]
        shape = SHAPES[row % len(SHAPES)]
        spots = [
            (x, TOP + size * (1 - value))
            for x, value in zip(across, values, strict=True)
            if value is not None
        ]
        parts.append(_path(spots, color, 'stroke-dasharray="5 4"' if row else ""))
        parts += [_spot(x, y, shape, color, name) for x, y in spots]
        below = TOP + size + 62 + 20 * row
        parts.append(_spot(LEFT + 6, below - 4, shape, color, name))
        parts.append(_text(LEFT + 18, below, name, "start"))
    height = TOP + size + 76 + 20 * len(lines)
    return _svg(LEFT + width + 40, height, "People and rewards by beta", parts, marks)


def _frame(width: float, size: float, label: str) -> list[str]:
    """The frame of a chart at (LEFT, TOP), its vertical ticks in percent, its horizontal label."""
    box = f'x="{LEFT}" y="{TOP}" width="{width}" height="{size}"'
    frame = f'<rect {box} fill="none" stroke="{FRAME}"/>'
    heights = {tick: TOP + size * (1 - tick) + 4 for tick in TICKS}
    ticks = [_text(LEFT - 8, y, f"{100 * tick:.0f} %", "end") for tick, y in heights.items()]
    return [frame, *ticks, _text(LEFT + width / 2, TOP + size + 38, label, "middle")]


def _svg(width: float, height: float, title: str, parts: list[str], marks: Sequence[str]) -> str:
    banner = ""
    if marks:
        banner = (
            f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle" font-weight="bold" '
            f'fill="#8a1c1c" {FONT}>{escape("; ".join(marks))}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img" aria-label="{title}">{"".join(parts)}{banner}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {FONT}>{escape(text)}</text>'


def _bar(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{color}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{color}" {more}/>'


def _path(spots: Sequence[tuple[float, float]], color: str, more: str = "") -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline points="{points}" fill="none" stroke="{color}" {more}/>'


def _error_bar(x: float, size: float, interval: ScoreInterval | None, color: str) -> str:
    if interval is None:
        return ""
    return _line(x, TOP + size * (1 - interval.high), x, TOP + size * (1 - interval.low), color)


def _spot(x: float, y: float, shape: str, color: str, name: str) -> str:
    title = f"<title>{escape(name)}</title>"
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}">{title}</circle>'
    if shape == "square":
        return (
            f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{color}">'
            f"{title}</rect>"
        )
    corners = f"{x:.1f},{y - 6:.1f} {x - 6:.1f},{y + 5:.1f} {x + 6:.1f},{y + 5:.1f}"
    return f'<polygon points="{corners}" fill="{color}">{title}</polygon>'
