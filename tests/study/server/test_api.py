import re

import pytest

from rocm.study.design import lifecycle
from rocm.study.report.progress import study_progress
from rocm.study.server.app import MAX_BODY_BYTES
from rocm.study.server.limits import Counter, Limit, Limits
from rocm.study.server.refusal import Refusal
from rocm.study.statistics.flags import rater_reports
from rocm.study.statistics.votes import Votes
from rocm.study.store import tables
from rocm.study.store.identity import external_hmac, study_secret
from rocm.study.store.invitations import invite
from tests.study.server.conftest import Visitor, fill, full_disk, stored_bytes
from tests.study.small import QUESTIONS, STUDY, column, count

JOIN = f"/study/api/{STUDY}/join"
LEFT = {one["key"]: {"side": "left", "rt_ms": 1} for one in QUESTIONS}


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"].endswith(".")
    return error["message"]


def test_questions_without_the_prompt_come_first_and_keep_their_order(serve, store, tmp_path):
    fill(store, tmp_path / "pictures", {"questions": [*QUESTIONS[1:], QUESTIONS[0]]})
    asked = serve().get(f"/study/api/{STUDY}").json()["questions"]
    assert [one["key"] for one in asked] == ["appeal", "overall", "alignment"]
    assert [one["show_prompt"] for one in asked] == [False, True, True]


def test_a_visit_from_consent_to_code(client, store):
    rater = Visitor(client)
    assert rater.agree()["has_consented"]
    step = rater.step("trial")
    assert step["trial"]["is_practice"]
    assert step["progress"]["num_trials"] == 5
    rater.step("shown", trial=step["trial"]["id"])
    assert column(store, tables.trial.c.shown_at) != [None]
    screen = {"viewport_width": 390, "viewport_height": 844, "picture_size": 250}
    rater.vote(step["trial"], screen=screen)
    for name, value in screen.items():
        assert set(column(store, tables.vote.c[name])) == {value}
    done = rater.work()
    assert (done["trial"], done["progress"]["status"]) == (None, "complete")
    assert len(done["progress"]["completion_code"]) == 10
    assert done["progress"]["return_url"].endswith("cc=C0DE")
    assert count(store, tables.vote) == 15


def test_a_full_disk_is_no_fault_of_the_rater_and_the_vote_can_be_sent_again(
    visitor, store, caplog
):
    trial = visitor.step("trial")["trial"]["id"]
    with full_disk(store):
        answer = visitor.post("vote", trial=trial, answers=LEFT)
        late = visitor.post(f"{STUDY}/join", source="link")
    message = refused(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    refused(late, 503, "unavailable")
    assert "database cannot be used" in caplog.text
    assert "database" not in message
    assert (count(store, tables.vote), count(store, tables.rater)) == (0, 1)
    assert visitor.step("vote", trial=trial, answers=LEFT)["progress"]["num_done"] == 1
    assert set(column(store, tables.vote.c.raw_side)) == {"left"}


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
    trial = {"trial": "f" * 32}
    bodies = {"consent": {"version": "1"}, "vote": trial | {"answers": {}}}
    bodies |= {"shown": trial, "skip": trial, "progress": None}
    method, body = "GET" if path == "progress" else "POST", bodies.get(path, {})
    guesses = ["Bearer guess", "Bearer ", "Bearer " + "x" * 300, f"Basic {visitor.token}"]
    for headers in ({}, *({"Authorization": guess} for guess in guesses)):
        answer = client.request(method, f"/study/api/{path}", headers=headers, json=body)
        refused(answer, 401, "unknown_rater")
    assert visitor.get("progress").json()["progress"]["status"] == "active"


def test_who_declines_gets_no_trial(client):
    rater = Visitor(client, "prolific", external_id="abc")
    end = rater.step("decline")["progress"]
    assert (end["status"], end["return_url"][-7:]) == ("screened_out", "cc=NOPE")
    refused(rater.post("trial"), 400, "refused")


@pytest.mark.parametrize("pays", [False, True])
def test_an_outside_id_is_a_keyed_hash_and_kept_only_to_pay(serve, store, tmp_path, pays):
    fill(store, tmp_path / "pictures", {"pays": pays})
    lifecycle.open_study(store, STUDY)
    Visitor(serve(), "mturk", external_id="A1B2C3D4WORKER")
    hashed = external_hmac(study_secret(tmp_path / "secrets", STUDY), "mturk", "A1B2C3D4WORKER")
    assert column(store, tables.rater.c.ext_hmac) == [hashed]
    assert column(store, tables.payment.c.external_id) == ["A1B2C3D4WORKER"] * pays
    assert (b"A1B2C3D4WORKER" in stored_bytes(store)) == pays


@pytest.mark.parametrize(
    ("act", "body", "code", "words"),
    [
        ("join", {"source": "friend"}, "refused", "not one of link"),
        ("join", {"source": "prolific"}, "refused", "external_id"),
        ("join", {"source": "link", "external_id": "x"}, "refused", "external_id"),
        ("join", {"source": "mturk", "external_id": "a b"}, "bad_request", "external_id"),
        ("join", [], "bad_request", "body"),
        ("vote", {"trial": "x"}, "bad_request", "trial"),
        ("vote", {}, "refused", "Answer exactly"),
        ("vote", {"answers": {"overall": {"side": "left", "rt_ms": 1.5}}}, "bad_request", "rt_ms"),
        ("vote", {"left_is": "a"}, "bad_request", "left_is"),
        ("vote", {"answers": {"overall": {**LEFT["overall"], "x": 1}}}, "bad_request", "x"),
        ("vote", {"answers": {str(n): {} for n in range(30)}}, "bad_request", "answers"),
    ],
)
def test_odd_bodies_are_one_sentence_and_store_nothing(visitor, store, act, body, code, words):
    if act == "vote":
        body = {"trial": visitor.step("trial")["trial"]["id"], "answers": {}} | body
    path = JOIN if act == "join" else f"/study/api/{act}"
    answer = visitor.client.post(path, json=body, headers=visitor.headers)
    assert words in refused(answer, 400, code)
    assert (count(store, tables.vote), count(store, tables.rater)) == (0, 1)


def test_a_closed_study_takes_no_answer(client, visitor, store):
    trial = visitor.step("trial")["trial"]
    lifecycle.close(store, STUDY)
    refused(visitor.post("vote", trial=trial["id"], answers=LEFT), 409, "trial_expired")
    refused(client.post(JOIN, json={"source": "link"}), 409, "study_not_open")


def test_a_page_of_another_site_may_not_write(client, store):
    def join(site):
        return client.post(JOIN, json={"source": "link"}, headers={"Sec-Fetch-Site": site})

    for site in ("cross-site", "same-site"):
        refused(join(site), 403, "foreign_page")
    assert count(store, tables.rater) == 0
    assert [join(site).status_code for site in ("same-origin", "none")] == [200, 200]


def test_bodies_are_json_and_small(client, store):
    assert "application/json" in refused(client.post(JOIN, data={"a": "b"}), 415, "bad_request")
    large = b'{"source": "link"' + b" " * MAX_BODY_BYTES + b"}"
    for content, status in (
        (b"{source", 400), (b"[" * 9000, 400), (large, 413), (iter([b" " * 9000] * 3), 413),
    ):  # fmt: skip
        answer = client.post(JOIN, content=content, headers={"Content-Type": "application/json"})
        refused(answer, status, "bad_request")
    assert count(store, tables.rater) == 0


@pytest.mark.parametrize("is_proxied", [True, False])
def test_too_many_visits_of_one_address_are_refused_and_others_are_not(serve, study, is_proxied):
    client = serve(Limits(joins=Limit(2, 0.1)), is_proxied=is_proxied)

    def join(*forwarded):
        headers = [("X-Forwarded-For", one) for one in forwarded]
        return client.post(JOIN, json={"source": "link"}, headers=headers)

    assert [join("1.1.1.1").status_code for _ in range(2)] == [200, 200]
    # Only a proxy's last entry is not the visitor's own invention.
    for late in (join("9.9.9.9, 1.1.1.1"), join("8.8.8.8", "1.1.1.1")):
        refused(late, 429, "too_many")
        assert late.headers["Retry-After"] == "2"
    assert join("2.2.2.2").status_code == (200 if is_proxied else 429)


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


def test_pictures_say_neither_when_nor_by_what_they_were_made(visitor, client):
    trial = visitor.step("trial")["trial"]
    for side in ("left", "right"):
        answer = client.get(f"/study/{trial[side]}")
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert not {"etag", "last-modified", "content-disposition"} & set(answer.headers)


def test_every_answer_forbids_what_the_page_does_not_need(client, visitor):
    picture, api = visitor.step("trial")["trial"]["left"], f"study/api/{STUDY}"
    for path in (f"study/{STUDY}", "study/assets/vote.js", f"study/{picture}", "", api):
        headers = client.get(f"/{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
    for answer in (visitor.post("trial"), visitor.get("progress"), client.get(f"/{api}")):
        assert answer.headers["cache-control"] == "no-store"


def test_a_ballot_box_is_not_stuffed_unseen(serve, store, tmp_path):
    rule = {"max_unseen_share": 0.5, "min_median_ms": 800}
    fill(store, tmp_path / "pictures", rule, votes_per_pair=9)
    lifecycle.open_study(store, STUDY)
    client = serve()
    for _ in range(5):
        rater = Visitor(client)
        rater.agree()
        rater.work()
    refused(client.post(JOIN, json={"source": "link"}), 429, "too_many")
    votes = store.votes(STUDY)
    assert {vote.rules for vote in votes} == {"unseen"}
    assert all(vote.excluded for vote in votes)
    reports = rater_reports(Votes.from_rows(vars(vote) for vote in votes if vote.kind == "main"))
    assert all("100% of the pairs were never shown" in " ".join(one.flags) for one in reports)
    said = study_progress(store, STUDY).few_addresses
    assert re.fullmatch(r"100 % of the last \d+ answers came from one address \(1 in all\)", said)
    assert b"testclient" not in stored_bytes(store)


def test_invited_raters_of_one_address_do_not_wait(serve, store, study):
    codes = invite(store, STUDY, 12)
    client = serve()
    answers = [client.post(JOIN, json={"source": "invite", "external_id": c}) for c in codes]
    assert {answer.status_code for answer in answers} == {200}


def test_who_looks_at_the_pictures_is_counted(serve, store, tmp_path, clock):
    fill(store, tmp_path / "pictures", {"max_unseen_share": 0.5, "min_median_ms": 800})
    lifecycle.open_study(store, STUDY)
    rater = Visitor(serve())
    rater.agree()
    trial = rater.step("trial")["trial"]
    while trial:
        rater.step("shown", trial=trial["id"])
        clock.forward(0.05)
        trial = rater.vote(trial)["trial"]
    assert not any(vote.excluded or vote.unseen for vote in store.votes(STUDY))


@pytest.mark.parametrize(("num_skipped", "is_earned"), [(5, False), (3, False), (2, True)])
def test_who_skips_most_pairs_ends_without_a_code(serve, store, tmp_path, num_skipped, is_earned):
    fill(store, tmp_path / "pictures", {"min_answered_share": 0.5})
    lifecycle.open_study(store, STUDY)
    rater = Visitor(serve(), "prolific", external_id="5f0c")
    rater.agree()
    step = rater.step("trial")
    while trial := step["trial"]:
        skips = step["progress"]["num_done"] < num_skipped
        step = rater.step("skip", trial=trial["id"]) if skips else rater.vote(trial)
    for end in (step["progress"], rater.get("progress").json()["progress"]):
        assert end["status"] == "complete"
        assert (end["completion_code"] is not None) == is_earned
        assert (end["return_url"] is not None) == is_earned
