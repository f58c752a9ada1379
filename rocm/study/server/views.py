"""What a browser may know of a study, a trial and a rater: fields named one by one."""

from collections.abc import Sequence
from typing import Any

from rocm.study.store.session import Step, Trial, TrialQuestion
from rocm.study.store.studies import StudyContext

CONSENT = ("version", "text", "contact", "min_age", "ethics", "pay", "retention")
RETURNING = ("link", "prolific")
RETURN_URLS = {"complete": "completion_url", "screened_out": "screen_out_url"}
MIN_PICTURE_PX = 140


def study(info: StudyContext, questions: Sequence[TrialQuestion]) -> dict[str, Any]:
    """A study before consent; its questions in the order in which the page asks them."""
    consent, design = info.config["consent"], info.config["design"]
    return {
        "study": info.study_id,
        "title": info.title,
        "status": info.status,
        "is_demo": info.is_demo,
        "consent": {name: consent[name] for name in CONSENT if name in consent},
        "instructions": info.config.get("instructions", ""),
        # Questions without the prompt come first.
        "questions": [
            vars(asked) for asked in sorted(questions, key=lambda asked: asked.show_prompt)
        ],
        "allow_skip": design.get("allow_skip", True),
        "min_picture_px": MIN_PICTURE_PX,
        "declined_url": info.config.get("screen_out_url") or None,
    }


def step(now: Step, num_unsaved: int | None) -> dict[str, Any]:
    """Where a rater stands, the next trial, and the addresses of pictures to load ahead."""
    return {
        **position(now, num_unsaved),
        "trial": now.trial and _trial(now.trial),
        "upcoming": [_picture(picture_id) for picture_id in now.upcoming],
        "notice": now.notice or None,
    }


def position(now: Step, num_unsaved: int | None) -> dict[str, Any]:
    """Where a rater stands; `return_url` where the study names one for the rater's status.

    `num_unsaved` counts answers that a loss of the disk would take; None if nothing saves any.
    """
    is_earned = now.status != "complete" or now.completion_code is not None
    url = RETURN_URLS.get(now.status, "") if now.source in RETURNING and is_earned else ""
    return {
        "study": now.study.study_id,
        "source": now.source,
        "has_consented": now.has_consented,
        "progress": {
            "num_done": now.num_done,
            "num_trials": now.num_trials,
            "num_unsaved": num_unsaved,
            "status": now.status,
            "completion_code": now.completion_code,
            "return_url": now.study.config.get(url) or None,
        },
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "id": trial.public_id,
        "prompt": trial.prompt,
        "left": _picture(trial.left),
        "right": _picture(trial.right),
        "is_practice": trial.is_practice,
        "lease_until": trial.lease_until,
    }


def _picture(picture_id: str) -> str:
    """Address of a picture, relative to the page."""
    return f"picture/{picture_id}"
