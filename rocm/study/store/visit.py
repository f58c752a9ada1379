"""What passes between the store and a vote server: plain data that says nothing of arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rocm.errors import StudyError
from rocm.study.store.tables import SIDES, TIE_REASONS

MAX_PIXELS = 100_000
MAX_RT_MS = 86_400_000


@dataclass(frozen=True)
class Visit:
    """A rater who has come in.

    Attributes:
        token: secret that the browser keeps and sends with each request; given only here.
        is_new: False for one whom the outside id shows to have been here before.
    """

    token: str
    is_new: bool


@dataclass(frozen=True)
class RaterInfo:
    """Who a token stands for.

    Attributes:
        study_id: whose rater.
        number: within the study, from 1.
        source: how the rater came, one of `SOURCES`.
        status: `active`, `complete`, `screened_out` or `withdrawn`.
        consent_version: that was agreed to; None before.
        completion_code: once complete, else None.
    """

    study_id: str
    number: int
    source: str
    status: str
    consent_version: str | None
    completion_code: str | None


@dataclass(frozen=True)
class Question:
    """One question of every trial, in the manifest's order.

    Attributes:
        key: short name that answers are sent under.
        text: as the rater reads it.
        show_prompt: False: asked before the prompt is shown.
        allow_tie: whether `tie` is an answer.
    """

    key: str
    text: str
    show_prompt: bool
    allow_tie: bool


@dataclass(frozen=True)
class Trial:
    """What a rater judges next. It says nothing of arms, checks or repeats.

    Attributes:
        public_id: 32 hexadecimal digits, to be sent back.
        prompt: text.
        left: id of the left picture, for `Pictures.file`.
        right: id of the right one.
        questions: to be answered, all of them, in this order.
        position: of the trial in the rater's work, from 0.
        is_practice: the rater may know; it is not analysed.
        lease_until: ISO time until which it is the rater's.
        is_shown: whether both pictures were seen before, as after a reload.
    """

    public_id: str
    prompt: str
    left: str
    right: str
    questions: tuple[Question, ...]
    position: int
    is_practice: bool
    lease_until: str
    is_shown: bool


@dataclass(frozen=True)
class Answer:
    """A rater's answer to one question.

    Attributes:
        side: `left`, `right` or `tie`.
        rt_ms: milliseconds from seeing both pictures, by the browser's clock.
        tie_reason: `both_good`, `both_bad` or None.
    """

    side: str
    rt_ms: int
    tie_reason: str | None = None


@dataclass(frozen=True)
class Screen:
    """What the rater looked at, in CSS pixels.

    Attributes:
        viewport_width: of the browser's window.
        viewport_height: of the browser's window.
        picture_size: shown width of either picture.
    """

    viewport_width: int
    viewport_height: int
    picture_size: int


@dataclass(frozen=True)
class Progress:
    """How far a rater is.

    Attributes:
        num_done: trials answered or skipped.
        num_trials: of the rater's work, as far as it can still be done; 0 when the study needs
            nobody any more.
        status: the rater's.
        completion_code: once complete.
        was_saved_before: of a submission: it had been stored earlier, and nothing was added.
    """

    num_done: int
    num_trials: int
    status: str
    completion_code: str | None
    was_saved_before: bool = False


def checked(
    questions: Sequence[Question], answers: Mapping[str, Answer], screen: Screen | None
) -> list[tuple[Question, Answer]]:
    """Answers beside their questions, if they are what can be stored.

    Args:
        questions: that were asked.
        answers: by the question's key.
        screen: sizes, or None.

    Returns:
        Question and answer, in the questions' order.

    Raises:
        StudyError: an answer too many, too few, or one that is not allowed; a size out of bounds.
    """
    keys = [question.key for question in questions]
    if sorted(answers) != sorted(keys):
        raise StudyError(f"An answer is needed to each question and no other: {', '.join(keys)}.")
    if screen and not all(_is_within(size, 1, MAX_PIXELS) for size in vars(screen).values()):
        raise StudyError(f"Sizes of the screen are whole numbers, 1 to {MAX_PIXELS} pixels.")
    return [(question, _checked_answer(question, answers[question.key])) for question in questions]


def _checked_answer(question: Question, answer: Answer) -> Answer:
    sides = SIDES if question.allow_tie else SIDES[:2]
    if answer.side not in sides:
        raise StudyError(
            f"{question.key}={answer.side!r} is not allowed: answer {', '.join(sides)}."
        )
    if not _is_within(answer.rt_ms, 0, MAX_RT_MS):
        raise StudyError(f"rt_ms={answer.rt_ms!r} is not allowed: milliseconds, up to a day.")
    reasons = TIE_REASONS if answer.side == "tie" else ()
    if answer.tie_reason is not None and answer.tie_reason not in reasons:
        raise StudyError(
            f"tie_reason={answer.tie_reason!r} is not allowed: with a tie, "
            f"{' or '.join(TIE_REASONS)}."
        )
    return answer


def _is_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
