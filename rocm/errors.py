"""What a user can mend: each error says what was given, what is allowed and what to do.

The command line prints one line and exits with code 2, the page shows a message; anything that is
not a `RocmError` is a defect of ours and keeps its traceback.
"""

import difflib
from collections.abc import Collection


def did_you_mean(given: str, known: Collection[str]) -> str:
    """A sentence with the nearest of the known names, and a space before it; empty if none is."""
    near = difflib.get_close_matches(given, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


class RocmError(Exception):
    """Base of every error that a user can mend."""


class ConfigError(RocmError):
    """A setting, preset or prompt that is not allowed."""


class SettingsError(ConfigError):
    """Settings that are not allowed: `faults` has a sentence by setting."""

    def __init__(self, faults: dict[str, str]):
        super().__init__(" ".join(faults.values()))
        self.faults = faults


class MissingFile(RocmError):
    """A model, adapter, preset, prompt list or run that is not where it was said to be."""


class MissingDependency(RocmError):
    """An optional package that a chosen setting needs."""


class RunError(RocmError):
    """A run directory that is in use, damaged, or in the wrong state for the request."""


class TrainingError(RocmError):
    """Training cannot go on: a loss that is not finite, a full disk, too little memory."""


class DrawingError(RocmError):
    """The drawing process died, or its queue or the memory is full."""


class StudyError(RocmError):
    """A user study that is not there, not in the state for the request, or cannot be stored."""


class StoreUnavailable(StudyError):
    """The votes' database cannot be used now, as on a full disk; nothing was stored."""


class UnknownRater(StudyError):
    """A rater's token that no rater of an existing study has: the visit begins anew."""


class UnknownTrial(StudyError):
    """A trial that does not exist or is another rater's."""


class TrialExpired(StudyError):
    """A trial that was held too long, so that another rater has it now, or its study is closed."""


class StudyNotOpen(StudyError):
    """A study that is being prepared, is paused, or is closed, and so gives no trials."""
