"""Values that pass between the store and a vote server; none of them says which arm drew what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from rocm.errors import StudyError
from rocm.study.store.studies import StudyContext
from rocm.study.store.tables import SIDES, TIE_REASONS

MAX_PIXELS = 100_000
MAX_RT_MS = 86_400_000


@dataclass(frozen=True)
class Session:
    """A rater who has joined: a secret token, given only here, and whether the rater is new."""

    token: str
    is_new: bool


@dataclass(frozen=True)
class TrialQuestion:
    """One question of every trial; without `show_prompt` it comes before the prompt is shown."""

    key: str
    text: str
    show_prompt: bool
    allow_tie: bool


@dataclass(frozen=True)
class Trial:
    """A pair of pictures to judge, by ids for `Pictures.file`; nothing of arms or checks."""

    public_id: str
    prompt: str
    left: str
    right: str
    is_practice: bool
    lease_until: str


@dataclass(frozen=True)
class Step:
    """Where a rater stands, and the trial to judge next."""

    study: StudyContext
    source: str  # how the rater came, one of `SOURCES`
    status: str  # `active`, `complete`, `screened_out` or `withdrawn`
    has_consented: bool
    num_done: int  # answered or skipped
    num_trials: int  # done or can still be done
    completion_code: str | None
    was_saved_before: bool = False  # the answer was stored earlier; nothing was added
    trial: Trial | None = None  # None at the end, or if `notice` says why
    upcoming: tuple[str, ...] = ()  # pictures that probably follow; the order hides the sides
    notice: str = ""  # why an open study gives no trial now


@dataclass(frozen=True)
class Answer:
    """An answer: `left`, `right` or `tie`, milliseconds, `both_good` or `both_bad` of a tie."""

    side: Annotated[str, MaxLen(10)]
    rt_ms: int
    tie_reason: Annotated[str, MaxLen(20)] | None = None


@dataclass(frozen=True)
class Screen:
    """Sizes in CSS pixels: the browser's window, and the shown width of either picture."""

    viewport_width: int
    viewport_height: int
    picture_size: int


def checked(
    questions: Sequence[TrialQuestion], answers: Mapping[str, Answer], screen: Screen | None
) -> list[tuple[TrialQuestion, Answer]]:
    """Answers beside their questions; StudyError if an answer or a size cannot be stored."""
    keys = [question.key for question in questions]
    if sorted(answers) != sorted(keys):
        given = ", ".join(answers) or "none"
        raise StudyError(f"Answers to {given} were given. Answer exactly: {', '.join(keys)}.")
    if screen and not all(_is_within(size, 1, MAX_PIXELS) for size in vars(screen).values()):
        raise StudyError(f"Screen sizes must be whole numbers from 1 to {MAX_PIXELS} pixels.")
    return [(question, _checked_answer(question, answers[question.key])) for question in questions]


def _checked_answer(question: TrialQuestion, answer: Answer) -> Answer:
    sides = SIDES if question.allow_tie else SIDES[:2]
    if answer.side not in sides:
        raise StudyError(f"{question.key}={answer.side!r} is not one of {', '.join(sides)}.")
    if not _is_within(answer.rt_ms, 0, MAX_RT_MS):
        raise StudyError(f"rt_ms={answer.rt_ms!r} is not allowed. Give 0 to {MAX_RT_MS} ms.")
    reasons = TIE_REASONS if answer.side == "tie" else ()
    if answer.tie_reason is not None and answer.tie_reason not in reasons:
        raise StudyError(
            f"tie_reason={answer.tie_reason!r} is not allowed. Give it only with a tie: "
            f"{' or '.join(TIE_REASONS)}."
        )
    return answer


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
