"""The rules of docs/study-api.md, asked of the real server without a socket."""

import pytest
from sqlalchemy import select

from rocm.study.design import lifecycle
from rocm.study.server.app import MAX_BODY_BYTES
from rocm.study.server.limits import Counter, Limit, Limits
from rocm.study.server.refusal import Refusal
from rocm.study.store import tables
from rocm.study.store.identity import external_hmac, study_secret
from tests.study.server.conftest import TEXTS, Visitor, fill, full_disk, random_id
from tests.study.small import QUESTIONS, STUDY, column, count


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"].endswith(".")
    return error["message"]


def test_a_study_tells_what_one_agrees_to(client):
    said = client.get(f"/study/api/{STUDY}").json()
    assert said["consent"] == TEXTS["consent"]
    assert said["instructions"] == TEXTS["instructions"]
    assert (said["status"], said["is_demo"]) == ("open", False)
    assert "config" not in said
    assert "design" not in said


def test_questions_without_the_prompt_come_first_and_keep_their_order(serve, store, tmp_path):
    turned = [QUESTIONS[1], QUESTIONS[2], QUESTIONS[0]]
    fill(store, tmp_path / "pictures", {"questions": turned})
    asked = serve().get(f"/study/api/{STUDY}").json()["questions"]
    assert [one["key"] for one in asked] == ["appeal", "overall", "alignment"]
    assert [one["show_prompt"] for one in asked] == [False, True, True]


def test_a_visit_from_consent_to_code(client, store):
    rater = Visitor(client)
    assert rater.agree()["has_consented"]
    step = rater.step("trial")
    assert step["trial"]["is_practice"]
    assert step["progress"]["num_trials"] == 5
    done = rater.work()
    assert done["trial"] is None
    assert done["progress"]["status"] == "complete"
    assert len(done["progress"]["completion_code"]) == 10
    assert done["progress"]["return_url"].endswith("cc=C0DE")
    assert count(store, tables.vote) == 15


def test_a_full_disk_is_no_fault_of_the_rater_and_the_vote_can_be_sent_again(
    visitor, store, caplog
):
    trial = visitor.step("trial")["trial"]
    answers = {one["key"]: {"side": "right", "rt_ms": 900} for one in QUESTIONS}
    with full_disk(store):
        answer = visitor.post("vote", trial=trial["id"], answers=answers)
        late = visitor.post(f"{STUDY}/join", source="link")
    message = refused(answer, 503, "unavailable")
    assert "not saved" in message
    assert answer.headers["Retry-After"]
    refused(late, 503, "unavailable")
    assert "database cannot be used" in caplog.text
    assert "database" not in message
    assert (count(store, tables.vote), count(store, tables.rater)) == (0, 1)
    assert visitor.step("vote", trial=trial["id"], answers=answers)["progress"]["num_done"] == 1
    assert set(column(store, tables.vote.c.raw_side)) == {"right"}


def test_shown_and_screen_are_stored(visitor, store):
    trial = visitor.step("trial")["trial"]
    visitor.step("shown", trial=trial["id"])
    assert column(store, tables.trial.c.shown_at) != [None]
    visitor.vote(trial, screen={"viewport_width": 390, "viewport_height": 844, "picture_size": 250})
    assert set(column(store, tables.vote.c.picture_size)) == {250}


def test_a_study_without_skipping_refuses_a_skip(serve, store, tmp_path):
    fill(store, tmp_path / "pictures", allow_skip=False)
    lifecycle.open_study(store, STUDY)
    rater = Visitor(serve())
    rater.agree()
    trial = rater.step("trial")["trial"]
    refused(rater.post("skip", trial=trial["id"]), 400, "refused")
    assert rater.step("trial")["trial"]["id"] == trial["id"]


@pytest.mark.parametrize("path", "trial consent decline shown vote skip withdraw progress".split())
def test_every_act_asks_for_the_token(client, visitor, path):
    body = {
        "consent": {"version": "1"},
        "shown": {"trial": random_id()},
        "skip": {"trial": random_id()},
        "vote": {"trial": random_id(), "answers": {}},
    }.get(path, {})

    def ask(**headers):
        if path == "progress":
            return client.get("/study/api/progress", headers=headers)
        return client.post(f"/study/api/{path}", json=body, headers=headers)

    refused(ask(), 401, "unknown_rater")
    for given in ("Bearer guess", "Basic guess", "Bearer ", "Bearer " + "x" * 300):
        refused(ask(Authorization=given), 401, "unknown_rater")
    refused(ask(Authorization=f"Basic {visitor.token}"), 401, "unknown_rater")
    assert visitor.get("progress").json()["progress"]["status"] == "active"


def test_left_is_the_side_that_the_store_says(visitor, store):
    """Over several trials, from the tables alone."""
    step, sides = visitor.step("trial"), set()
    while shown := step["trial"]:
        with store.database.read() as connection:
            row = connection.execute(
                select(tables.trial.c.left_is, tables.pair.c.image_a, tables.pair.c.image_b)
                .join(tables.pair, tables.pair.c.id == tables.trial.c.pair_id)
                .where(tables.trial.c.public_id == shown["id"])
            ).one()
            left = row.image_a if row.left_is == "a" else row.image_b
            wanted = connection.execute(
                select(tables.image.c.picture_id).where(tables.image.c.id == left)
            ).scalar()
        assert shown["left"] == f"picture/{wanted}"
        assert shown["right"] != shown["left"]
        sides.add(row.left_is)
        step = visitor.vote(shown)
    assert sides == {"a", "b"}


def test_who_declines_gets_no_trial(client):
    rater = Visitor(client, "prolific", external_id="abc")
    end = rater.step("decline")["progress"]
    assert end["return_url"] == "https://app.prolific.com/submissions/complete?cc=NOPE"
    refused(rater.post("trial"), 400, "refused")


def test_a_prolific_rater_is_known_again_and_returns_with_the_code(client, store):
    rater = Visitor(client, "prolific", external_id="5f0c")
    rater.agree()
    first = rater.step("trial")["trial"]
    again = Visitor(client, "prolific", external_id="5f0c")
    assert again.step("trial")["trial"]["id"] == first["id"]
    refused(rater.post("trial"), 401, "unknown_rater")
    end = again.work()["progress"]
    assert end["return_url"] == "https://app.prolific.com/submissions/complete?cc=C0DE"
    assert count(store, tables.rater) == 1


def test_an_outside_id_is_stored_as_keyed_hash_only(client, store, tmp_path):
    Visitor(client, "mturk", external_id="A1B2C3D4WORKER")
    stored = column(store, tables.rater.c.ext_hmac)
    assert stored == [
        external_hmac(study_secret(tmp_path / "secrets", STUDY), "mturk", "A1B2C3D4WORKER")
    ]
    assert count(store, tables.payment) == 0
    store.close()
    assert all(b"A1B2C3D4WORKER" not in file.read_bytes() for file in tmp_path.glob("study*"))


def test_an_outside_id_is_kept_for_payment_only_if_the_study_says_so(serve, store, tmp_path):
    fill(store, tmp_path / "pictures", {"pays": True})
    lifecycle.open_study(store, STUDY)
    Visitor(serve(), "prolific", external_id="5f0c")
    assert column(store, tables.payment.c.external_id) == ["5f0c"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"source": "friend"}, "not one of link"),
        ({"source": "simulated"}, "not one of link"),
        ({"source": "prolific"}, "external_id"),
        ({"source": "link", "external_id": "x"}, "external_id"),
        ({"source": "mturk", "external_id": "a b"}, "external_id"),
        ({}, "source"),
        ({"source": "link", "arm": "rocm"}, "arm"),
        ([], "body"),
    ],
)
def test_odd_arrivals_are_one_sentence(client, store, body, words):
    answer = client.post(f"/study/api/{STUDY}/join", json=body)
    assert words in answer.json()["error"]["message"]
    assert answer.status_code == 400
    assert count(store, tables.rater) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"answers": {}}, "trial"),
        ({"trial": "x", "answers": {}}, "trial"),
        ({"trial": 1, "answers": {}}, "trial"),
        ({"answers": {"overall": "left"}}, "trial"),
        ({"trial": "own", "answers": {}}, "Answer exactly"),
        ({"trial": "own", "answers": {"overall": {"side": "left"}}}, "rt_ms"),
        ({"trial": "own", "answers": {"overall": {"side": "left", "rt_ms": 1.5}}}, "rt_ms"),
        ({"trial": "own", "answers": {}, "left_is": "a"}, "left_is"),
        ({"trial": "own", "answers": {str(n): {} for n in range(30)}}, "answers"),
    ],
)
def test_odd_votes_are_one_sentence_and_store_nothing(visitor, store, body, words):
    trial = visitor.step("trial")["trial"]["id"]
    if body.get("trial") == "own":
        body = {**body, "trial": trial}
    code = "refused" if words == "Answer exactly" else "bad_request"
    assert words in refused(visitor.post("vote", **body), 400, code)
    assert count(store, tables.vote) == 0


def test_a_study_that_is_not_there_is_404(client):
    refused(client.get("/study/api/ffffffffffff"), 404, "unknown_study")
    join = client.post("/study/api/ffffffffffff/join", json={"source": "link"})
    refused(join, 404, "unknown_study")


def test_a_closed_study_takes_no_answer(client, visitor, store):
    trial = visitor.step("trial")["trial"]
    lifecycle.close(store, STUDY)
    answers = {one["key"]: {"side": "left", "rt_ms": 1} for one in QUESTIONS}
    refused(visitor.post("vote", trial=trial["id"], answers=answers), 409, "trial_expired")
    join = client.post(f"/study/api/{STUDY}/join", json={"source": "link"})
    assert "closed" in refused(join, 409, "study_not_open")


def test_a_pilot_may_come_before_the_study_opens(serve, draft):
    pilot = Visitor(serve(), "pilot")
    pilot.agree()
    assert pilot.work()["progress"]["status"] == "complete"
    refused(
        serve().post(f"/study/api/{STUDY}/join", json={"source": "link"}), 409, "study_not_open"
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_may_not_write(client, store, site):
    address, headers = f"/study/api/{STUDY}/join", {"Sec-Fetch-Site": site}
    answer = client.post(address, json={"source": "link"}, headers=headers)
    refused(answer, 403, "foreign_page")
    assert count(store, tables.rater) == 0
    for own in ("same-origin", "none"):
        headers = {"Sec-Fetch-Site": own}
        assert client.post(address, json={"source": "link"}, headers=headers).status_code == 200


def test_bodies_are_json_and_small(client, store):
    address = f"/study/api/{STUDY}/join"
    form = client.post(address, data={"source": "link"})
    assert "application/json" in refused(form, 415, "bad_request")
    kind = {"Content-Type": "application/json"}
    refused(client.post(address, content=b"{source", headers=kind), 400, "bad_request")
    refused(client.post(address, content=b"[" * 9000, headers=kind), 400, "bad_request")
    large = b'{"source": "link"' + b" " * MAX_BODY_BYTES + b"}"
    refused(client.post(address, content=large, headers=kind), 413, "bad_request")
    parts = iter([b" " * 9000] * 3)
    refused(client.post(address, content=parts, headers=kind), 413, "bad_request")
    assert count(store, tables.rater) == 0


def test_too_many_visits_of_one_address_are_refused_and_others_are_not(serve, study):
    limits = Limits(joins=Limit(2, 0.1))
    client = serve(limits, is_proxied=True)
    address, body = f"/study/api/{STUDY}/join", {"source": "link"}

    def join(forwarded):
        return client.post(address, json=body, headers={"X-Forwarded-For": forwarded})

    assert [join("1.1.1.1").status_code for _ in range(2)] == [200, 200]
    late = join("9.9.9.9, 1.1.1.1")  # the first entry is the visitor's own invention
    refused(late, 429, "too_many")
    assert late.headers["Retry-After"] == "2"
    assert join("2.2.2.2").status_code == 200


def test_a_visitor_cannot_choose_its_address_where_no_proxy_is(serve, study):
    client = serve(Limits(joins=Limit(1, 0.1)))
    address, body = f"/study/api/{STUDY}/join", {"source": "link"}
    headers = [{"X-Forwarded-For": name} for name in ("1.1.1.1", "2.2.2.2")]
    codes = [client.post(address, json=body, headers=one).status_code for one in headers]
    assert codes == [200, 429]


def test_votes_faster_than_anybody_judges_are_refused_and_can_be_sent_again(serve, study, store):
    rater = Visitor(serve(Limits(answers=Limit(1, 0.5))))
    rater.agree()
    trial = rater.vote(rater.step("trial")["trial"])["trial"]
    answers = {one["key"]: {"side": "left", "rt_ms": 1} for one in QUESTIONS}
    refused(rater.post("vote", trial=trial["id"], answers=answers), 429, "too_many")
    assert count(store, tables.vote) == 3


def test_a_limit_fills_up_again_with_time_and_forgets_addresses_after_a_day():
    now = [0.0]
    counter = Counter(Limits(joins=Limit(1, 0.1)), lambda: now[0])
    counter.check("joins", "1.1.1.1")
    now[0] = 9.0
    with pytest.raises(Refusal):
        counter.check("joins", "1.1.1.1")
    now[0] = 19.5
    counter.check("joins", "1.1.1.1")
    before = set(counter._left["joins"])
    now[0] = 86_500.0
    counter.check("joins", "1.1.1.1")
    assert not before & set(counter._left["joins"])
    assert "1.1.1.1" not in repr(counter._left)


@pytest.mark.parametrize(
    "path",
    [
        "picture/../study.sqlite3",
        "picture/%2e%2e%2fstudy.sqlite3",
        "picture/x",
        "picture/" + "g" * 32,
        "picture/" + "0" * 32,
        "assets/../api.py",
        "assets/none.js",
        "api/vote",
    ],
)
def test_what_is_not_there_is_a_sentence(client, path):
    answer = client.get(f"/study/{path}")
    assert answer.status_code in (404, 405)
    assert b"SQLite" not in answer.content


def test_pictures_say_neither_when_nor_by_what_they_were_made(visitor, client):
    trial = visitor.step("trial")["trial"]
    for side in ("left", "right"):
        answer = client.get(f"/study/{trial[side]}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert not {"etag", "last-modified", "content-disposition"} & set(answer.headers)


def test_every_answer_forbids_what_the_page_does_not_need(client, visitor):
    picture = visitor.step("trial")["trial"]["left"]
    for path in (
        f"/study/{STUDY}",
        "/study/assets/vote.js",
        f"/study/{picture}",
        "/",
        "/study/api/none",
    ):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_what_is_said_to_raters_is_not_kept_by_caches(client, visitor):
    for answer in (
        visitor.post("trial"),
        visitor.get("progress"),
        client.get(f"/study/api/{STUDY}"),
    ):
        assert answer.headers["cache-control"] == "no-store"
