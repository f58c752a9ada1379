"""What a browser may know: of a study, a trial, a rater's progress. Nothing else is ever sent.

A frozen study's manifest says which picture is whose, so fields are named here one by one.
"""

from collections.abc import Sequence
from typing import Any

from rocm.study.store.studies import StudyInfo
from rocm.study.store.visit import Progress, Question, Trial

CONSENT = ("version", "text", "contact", "min_age", "ethics", "pay", "retention")
RETURNING = ("link", "prolific")
MIN_PICTURE_PX = 140


def study(info: StudyInfo, questions: Sequence[Question]) -> dict[str, Any]:
    """A study before anybody has agreed to anything.

    Args:
        info: the study.
        questions: its questions.

    Returns:
        Title, status, texts, and the questions in the order in which they are asked.
    """
    consent, design = info.config["consent"], info.config["design"]
    return {
        "study": info.study_id,
        "title": info.title,
        "status": info.status,
        "is_demo": info.is_demo,
        "consent": {name: consent[name] for name in CONSENT if name in consent},
        "instructions": info.config.get("instructions", ""),
        "questions": [vars(one) for one in in_order(questions)],
        "allow_skip": design.get("allow_skip", True),
        "min_picture_px": MIN_PICTURE_PX,
        "declined_url": info.config.get("screen_out_url") or None,
    }


def in_order(questions: Sequence[Question]) -> list[Question]:
    """Questions of the manifest, those that are asked without the prompt first."""
    return sorted(questions, key=lambda one: one.show_prompt)


def trial(one: Trial) -> dict[str, Any]:
    """A trial: its id, the prompt, the addresses of both pictures."""
    return {
        "id": one.public_id,
        "prompt": one.prompt,
        "left": picture(one.left),
        "right": picture(one.right),
        "is_practice": one.is_practice,
        "lease_until": one.lease_until,
    }


def picture(picture_id: str) -> str:
    """Address of a picture, relative to the page."""
    return f"picture/{picture_id}"


def progress(done: Progress, info: StudyInfo, source: str) -> dict[str, Any]:
    """How far a rater is, and where the browser goes at the end.

    Args:
        done: by the rater.
        info: the study.
        source: how the rater came.

    Returns:
        Counts, status, completion code; `return_url` where the study names one.
    """
    urls = {"complete": "completion_url", "screened_out": "screen_out_url"}
    wanted = urls.get(done.status) if source in RETURNING else None
    return {
        "num_done": done.num_done,
        "num_trials": done.num_trials,
        "status": done.status,
        "completion_code": done.completion_code,
        "return_url": (wanted and info.config.get(wanted)) or None,
    }
