"""What a server is for: `lab`, where one trains and looks, or `study`, where raters vote."""

from rocm.errors import ConfigError

MODES = ("lab", "study")


def chosen_mode(given: str, is_private: bool) -> str:
    """The mode of a server.

    Args:
        given: `lab`, `study`, or empty for the rule.
        is_private: whether only this machine can reach it.

    Returns:
        What was given; else `lab` where it is private and `study` where others can reach it.

    Raises:
        ConfigError: something else was given.
    """
    if given and given not in MODES:
        allowed = " or ".join(MODES)
        raise ConfigError(f"ROCM_MODE={given!r} is not allowed: {allowed}, or leave it out.")
    return given or ("lab" if is_private else "study")


def is_for_one(mode: str, is_local: bool, *ways_in: object) -> bool:
    """Whether whoever asks sits at this machine, so that votes without a person may come in too.

    Args:
        mode: of the server; one for raters has a proxy in front sooner or later.
        is_local: it listens on a loopback address, outside a Space.
        *ways_in: what others could come by: an admin token, further names, a proxy; any true value.

    Returns:
        True only for a lab that nobody else can reach.
    """
    return mode == "lab" and is_local and not any(ways_in)
