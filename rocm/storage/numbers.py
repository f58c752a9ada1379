"""Numbers and durations as pages, reports and the command line show them."""

import math

MINUS = "\N{MINUS SIGN}"


def number(value: float, decimals: int) -> str:
    """The value with fixed decimals and a comma between thousands: -1234.5 is '−1,234.5'.

    A value that rounds to 0 has no sign. What is not finite reads 'NaN', '∞' or '−∞'.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return f"{value:z,.{decimals}f}".replace("-", MINUS)


def quantity(num: int, noun: str) -> str:
    """A whole number and its noun, in the plural except for 1: '1 rater', '1,200 raters'."""
    return f"{num:,} {noun}{'' if num == 1 else 's'}"


def signed(value: float, decimals: int) -> str:
    """Like `number`, with a plus sign before a positive value."""
    text = number(value, decimals)
    is_positive = value > 0 and text != number(0, decimals)
    return f"+{text}" if is_positive else text


def plus_minus(mean: float, half: float | None, decimals: int) -> str:
    """A mean and the half-width of its interval, '0.31 ± 0.02'; the mean alone without one."""
    text = number(mean, decimals)
    return text if half is None else f"{text} ± {number(half, decimals)}"


def duration(seconds: float) -> str:
    """A time in the largest sensible unit: '3.4 s', '45 s', '12 min', '5.5 h', '3.1 days'."""
    if seconds < 59.5:
        return f"{number(seconds, 1 if seconds < 9.95 else 0)} s"
    if seconds < 59.5 * 60:
        return f"{number(seconds / 60, 0)} min"
    if seconds <= 48 * 3600:
        return f"{number(seconds / 3600, 1)} h"
    return f"{number(seconds / 86400, 1)} days"
