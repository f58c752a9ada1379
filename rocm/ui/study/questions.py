"""What the Study page asks before an action that cannot be undone, or only with effort."""

from typing import Any

from rocm.errors import ConfigError, StudyError
from rocm.storage.numbers import quantity
from rocm.study.service import Studies
from rocm.ui.study.view import effect


def whole(num: Any) -> int:
    """A number of raters; ConfigError if it is not a number."""
    try:
        return int(num)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{num!r} is not a number of raters. Give 1 to 1000.") from error


def _open(studies: Studies, study_id: str, _: Any) -> str:
    study = studies.details(study_id)
    excluded = f" ({study.progress.num_struck} excluded)" if study.progress.num_struck else ""
    pairs = quantity(study.progress.num_pairs, "pair")
    words = f"Open study '{study.info.title}' with {pairs}{excluded}?"
    return f"{words} This freezes its design permanently."


def _close(studies: Studies, study_id: str, _: Any) -> str:
    study = studies.details(study_id)
    missing = study.progress.num_planned - study.progress.num_judged
    title, words = study.info.title, effect(studies.widths(study_id, 0))
    return f"Close study '{title}' permanently? Pairs still to be judged: {missing}. {words}"


def _more(studies: Studies, study_id: str, num: Any) -> str:
    words = effect(studies.widths(study_id, whole(num)), whole(num))
    return f"Add {quantity(whole(num), 'rater')}? Pairs will be judged unequally often. {words}"


def _delete(studies: Studies, study_id: str, _: Any) -> str:
    study = studies.details(study_id)
    num = study.progress.num_pilots
    pilots = f" The votes of its pilots ({num}) are deleted permanently." if num else ""
    return f"Move draft '{study.info.title}' to the bin? You can restore it.{pilots}"


def _empty(studies: Studies, _: str, __: Any) -> str:
    num = len(studies.bin.drafts())
    if not num:
        raise StudyError("The bin is empty.")
    return f"Delete all drafts in the bin ({num}) permanently?"


def _invite(studies: Studies, study_id: str, num: Any) -> str:
    words = f"Create {quantity(whole(num), 'invitation link')}?"
    if studies.details(study_id).num_invited:
        return words
    return f"{words} Afterwards only invited raters and pilots can vote. This cannot be undone."


QUESTIONS = {
    "open": _open, "close": _close, "more": _more, "delete": _delete, "empty": _empty,
    "invite": _invite,
}  # fmt: skip
"""Functions of the studies, a study's id and the number beside the button, by the button's name."""
