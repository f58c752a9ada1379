"""Figures as text, in the report and on the Results page; a dash if unknown."""

from rocm.storage.numbers import number, signed
from rocm.study.statistics.agreement import Alpha, Share
from rocm.study.statistics.score_intervals import ScoreInterval

NONE = "\N{EN DASH}"


def percent(value: float | None) -> str:
    """61.2 %."""
    return NONE if value is None else f"{number(100 * value, 1)} %"


def span(interval: ScoreInterval | None) -> str:
    """58.1 to 64.3 %."""
    if interval is None:
        return NONE
    return f"{number(100 * interval.low, 1)} to {number(100 * interval.high, 1)} %"


def signed_span(interval: tuple[float, float] | None) -> str:
    """Two signed bounds: +0.21 to +0.40."""
    return NONE if interval is None else " to ".join(signed(bound, 2) for bound in interval)


def p_value(value: float | None) -> str:
    """Three decimals, small ones as < 0.001."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else number(value, 3)


def decimal(value: float | None, decimals: int) -> str:
    """The value with fixed decimals."""
    return NONE if value is None else number(value, decimals)


def e_value(value: float | None) -> str:
    """Two decimals, large ones as > 1,000,000."""
    return "> 1,000,000" if value is not None and value > 1e6 else decimal(value, 2)


def share(value: Share) -> str:
    """61.2 % of 49."""
    return NONE if value.share is None else f"{percent(value.share)} of {value.total}"


def alpha(value: Alpha) -> str:
    """0.31 (0.27 to 0.35)."""
    if value.value is None or value.low is None or value.high is None:
        return decimal(value.value, 2)
    return f"{number(value.value, 2)} ({number(value.low, 2)} to {number(value.high, 2)})"
