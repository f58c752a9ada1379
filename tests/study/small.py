"""A study small enough to be worked through in a test."""

import os
import time

from sqlalchemy import func, select

from rocm.study.design import lifecycle
from rocm.study.store.session import Answer
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, image, pair, prompt, score

STUDY = "0123456789ab"
QUESTIONS = [
    {"key": "appeal", "text": "Which looks better?", "show_prompt": False, "allow_tie": True},
    {"key": "overall", "text": "Which do you prefer?", "show_prompt": True, "allow_tie": True},
    {"key": "alignment", "text": "Which fits the text?", "show_prompt": True, "allow_tie": False},
]


def config(**design) -> dict:
    numbers = {
        "votes_per_pair": 2, "main_per_rater": 3, "checks_per_rater": 1, "repeats_per_rater": 0,
        "lease_minutes": 15,
    }  # fmt: skip
    return {
        "title": "Which picture?", "seed": 1, "is_demo": False, "questions": QUESTIONS,
        "design": numbers | design,
        "consent": {"version": "1", "text": "You may stop at any time."},
    }  # fmt: skip


def fill(store: Store, num_pairs: int = 6, settings: dict | None = None, **design) -> str:
    """A draft with main pairs, one check and one practice pair."""
    named = [("compared", "rocm"), ("compared", "rlcm"), ("damaged", "scrambled")]
    with store.database.write() as w:
        plan = config(**design) | (settings or {})
        lifecycle.insert_draft(w, STUDY, plan, store.stamp())
        arms = [
            w.insert(
                arm, study_id=STUDY, code=f"{number:08x}", role=role, name=name, method=name,
                reward="tiny-clip", base_model="assets/tiny-lcm", adapter_sha256=None,
                params_json="{}",
            ).id
            for number, (role, name) in enumerate(named)
        ]  # fmt: skip
        for number, kind in enumerate(["practice", "check", *["main"] * num_pairs]):
            make_pair(w, arms, number, kind, design.get("votes_per_pair", 2))
    return STUDY


def make_pair(w, arms: list[int], number: int, kind: str, target: int) -> None:
    text = w.insert(
        prompt, study_id=STUDY, source="own", source_row=number, category="", text=f"p{number}"
    ).id
    two = (arms[0], arms[2]) if kind == "check" else (arms[0], arms[1])
    images = []
    for one in two:
        row = w.insert(
            image, study_id=STUDY, arm_id=one, prompt_id=text, seed=7,
            picture_id=os.urandom(16).hex(), sha256="0" * 64, width=64, height=64,
        )  # fmt: skip
        w.insert(score, image_id=row.id, reward="tiny-clip", value=0.5)
        images.append(row.id)
    w.insert(
        pair, study_id=STUDY, prompt_id=text, seed=7, arm_a=two[0], arm_b=two[1],
        image_a=images[0], image_b=images[1], kind=kind, issued=0,
        expected="a" if kind == "check" else None, target=target if kind == "main" else None,
    )  # fmt: skip


def column(store: Store, wanted, *where) -> list:
    with store.database.read() as connection:
        return list(connection.execute(select(wanted).where(*where)).scalars())


def count(store: Store, table, *where) -> int:
    with store.database.read() as connection:
        return connection.execute(select(func.count()).select_from(table).where(*where)).scalar()


def rater(store: Store, source: str = "link", study_id: str = STUDY, **identity) -> str:
    token = store.join(study_id, source, **identity).token
    store.consent(token, "1")
    return token


def answers(side: str = "left", **more) -> dict:
    return {one["key"]: Answer(side, 1200, **more) for one in QUESTIONS}


def work(store: Store, token: str, most: int = 1000) -> int:
    """Answer until nothing is left; how many trials that were."""
    done, step = 0, store.next_step(token)
    while done < most and step.trial:
        step = store.submit(token, step.trial.public_id, answers())
        done += 1
    return done


def wait_until(is_so):
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)
