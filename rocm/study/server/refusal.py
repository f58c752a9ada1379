"""Refusals of requests: a status, a word for programs, a sentence for people."""

import logging

from rocm import errors
from rocm.errors import RocmError

# The narrowest class first.
STATUS_OF_ERROR: tuple[tuple[type[RocmError], int, str], ...] = (
    (errors.UnknownRater, 401, "unknown_rater"),
    (errors.UnknownTrial, 404, "unknown_trial"),
    (errors.TrialExpired, 409, "trial_expired"),
    (errors.StudyNotOpen, 409, "study_not_open"),
    (errors.MissingFile, 404, "not_found"),
    (RocmError, 400, "refused"),
)

NOT_SAVED = (
    "This was not saved because the server cannot store anything now. Wait a minute, then try "
    "again."
)
log = logging.getLogger(__name__)


class Refusal(RocmError):
    """A request that is not answered."""

    def __init__(self, status: int, code: str, message: str):
        """Refuse with a status of HTTP, a code of docs/study-api.md, and a sentence."""
        super().__init__(message)
        self.status, self.code = status, code


def as_refusal(error: RocmError) -> Refusal:
    """The refusal that an error of the store becomes; what is wrong with a disk is logged only."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, errors.StoreUnavailable):
        log.warning("%s", error)  # whoever runs the server learns which disk is full
        return Refusal(503, "unavailable", NOT_SAVED)
    kinds = (row[1:] for row in STATUS_OF_ERROR if isinstance(error, row[0]))
    status, code = next(kinds)
    return Refusal(status, code, str(error))
