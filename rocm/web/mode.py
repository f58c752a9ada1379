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
