import json
import secrets

import pytest
from sqlalchemy import select

from rocm.study.design import lifecycle
from rocm.study.server.app import PAGE
from rocm.study.store.tables import arm, image, study
from tests.study.server.conftest import Visitor, fill
from tests.study.small import STUDY

MARKS = {
    "name": "zebra-run-20260101-7f3a", "method": "quokka", "reward": "wombat-score",
    "base_model": "kakapo",
}  # fmt: skip
# Chunks of PNG and WebP that hold text, dates, profiles, EXIF or XMP.
CHUNKS = [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf", b"iCCP", b"EXIF", b"XMP ", b"ICCP", b"VP8X"]
ALLOWED = {
    "study", "title", "status", "is_demo", "consent", "version", "text", "contact", "min_age",
    "ethics", "pay", "retention", "instructions", "questions", "key", "show_prompt", "allow_tie",
    "allow_skip", "min_picture_px", "declined_url", "token", "is_new", "source", "has_consented",
    "progress", "num_done", "num_trials", "num_unsaved", "completion_code", "return_url", "trial",
    "id", "prompt", "left", "right", "is_practice", "lease_until", "upcoming", "notice",
}  # fmt: skip


@pytest.fixture
def marked(store, tmp_path):
    words = []
    fill(store, tmp_path / "pictures")
    with store.database.write() as w:
        for number, row in enumerate(w.execute(select(arm)).all()):
            own = {name: f"{word}-{number}" for name, word in MARKS.items()}
            own |= {"code": secrets.token_hex(4), "adapter_sha256": secrets.token_hex(32)}
            w.update(arm, arm.c.id == row.id, **own)
            words += own.values()
    lifecycle.open_study(store, STUDY)
    with store.database.read() as connection:
        words += connection.execute(select(image.c.sha256)).scalars()
        row = connection.execute(select(study)).one()
    return {*words, row.key_nonce, row.key_sha256, row.config_sha256}


@pytest.fixture
def recorded(marked, serve):
    client, answers = serve(), []
    send = client.send

    def record(request, **options):
        answer = send(request, **options)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        answers.append((request.url.path, head.encode() + b"\n\n" + answer.content))
        return answer

    client.send = record
    rater = Visitor(client)
    for path in ("", *(f"/{file.name}" for file in PAGE.iterdir())):
        client.get(f"/study/assets{path}" if path else f"/study/{STUDY}")
    client.get(f"/study/api/{STUDY}")
    rater.agree()
    step = rater.step("trial")
    while step["trial"]:
        shown = step["trial"]
        for address in (shown["left"], shown["right"], *step["upcoming"]):
            assert client.get(f"/study/{address}").status_code == 200
        rater.step("shown", trial=shown["id"])
        if shown["is_practice"]:
            rater.post("vote", trial=shown["id"], answers={})  # refusals are answers too
        step = rater.vote(shown)
    rater.get("progress")
    rater.step("withdraw")
    return answers


def test_no_word_of_an_arm_is_in_any_response(recorded, marked):
    assert len(recorded) > 40
    for address, content in recorded:
        assert not [word for word in marked if word.encode() in content], address


def test_pictures_carry_nothing_but_pixels(recorded):
    pictures = [content for address, content in recorded if "/picture/" in address]
    assert pictures
    assert not [chunk for chunk in CHUNKS if any(chunk in content for content in pictures)]


def test_answers_have_no_member_that_is_not_listed(recorded):
    members = set()
    for address, content in recorded:
        if "/api/" in address:
            body = content.split(b"\n\n", 1)[1]
            json.loads(body, object_pairs_hook=lambda pairs: members.update(dict(pairs)))
    assert members <= ALLOWED | {"error", "code", "message"}
    assert members >= ALLOWED - {"notice"}
