import asyncio
import json

import pytest

from rocm.errors import StoreUnavailable
from rocm.study.archive.export import csv_text
from rocm.study.server import app as server_module
from rocm.study.server.api import Api
from rocm.study.server.app import PAGE, Server, alone
from rocm.study.server.limits import Counter, Limit, Limits, visitor
from rocm.study.server.refusal import Refusal
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from tests.study import small
from tests.study.server.conftest import Visitor
from tests.study.server.test_api import JOIN, LEFT, refused
from tests.study.small import STUDY

NOT_THERE = """config gradio_api/info gradio_api/queue/join gradio_api/upload queue/join monitoring
gradio_api/file=/etc/passwd gradio_api/run/predict file=/etc/passwd login logout token docs
openapi.json theme.css manifest.json admin study.sqlite3 study/picture/../study.sqlite3
study/picture/%2e%2e%2fstudy.sqlite3 study/assets/../api.py study/assets/none.js""".split()
NOT_THERE += [f"study/picture/{digit * 32}" for digit in "0g"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_of_gradio_of_an_admin_or_of_another_file_is_there(client, method):
    codes = {path: client.request(method, f"/{path}").status_code for path in NOT_THERE}
    assert set(codes.values()) <= {404, 405}, codes


def test_a_slash_too_many_leads_an_outside_id_to_no_other_address(client):
    query = "?PROLIFIC_PID=5f"
    for path, expected in (
        (f"{STUDY}/{query}", (307, f"../{STUDY}{query}")),
        (f"api/{STUDY}/", (404, None)),
        ("%2f%2fevil.example/", (404, None)),
        ("evil.example/", (404, None)),
    ):
        answer = client.get(f"/study/{path}", follow_redirects=False)
        assert (answer.status_code, answer.headers.get("location")) == expected


@pytest.mark.parametrize("word", ["\ud800", "\x00", "'; DROP TABLE vote; --", "../x", "\r\nX: y"])
def test_odd_words_are_refused_and_never_an_error_of_ours(client, visitor, word):
    trial = visitor.step("trial")["trial"]["id"]
    sent = {"side": word, "rt_ms": 1}
    headers = {"Authorization": f"Bearer {visitor.token}", "Content-Type": "application/json"}
    for path, body in (
        (f"{STUDY}/join", {"source": word}),
        (f"{STUDY}/join", {"source": "link", word: 1}),
        ("vote", {"trial": trial, "answers": dict.fromkeys(small.answers(), sent)}),
        ("vote", {"trial": trial, "answers": {word: sent}}),
        ("vote", {"trial": word, "answers": {}}),
        ("consent", {"version": word}),
    ):
        answer = client.post(f"/study/api/{path}", content=json.dumps(body), headers=headers)
        assert answer.status_code == 400


def test_an_odd_id_is_not_asked_of_the_database_and_an_absent_database_is_no_absent_study(
    client, monkeypatch
):
    def away(self, study_id):
        raise StoreUnavailable("The votes' database cannot be reached.")

    refused(client.get("/study/api/ffffffffffff"), 404, "unknown_study")
    monkeypatch.setattr(Store, "study", away)
    for study_id in ("%00", "x" * 5000, "0123456789AB"):
        refused(client.get(f"/study/api/{study_id}"), 404, "unknown_study")
    refused(client.get(f"/study/api/{STUDY}"), 503, "unavailable")


@pytest.mark.parametrize(("last", "status"), [(None, 408), ({"type": "http.disconnect"}, 400)])
def test_a_body_that_never_ends_or_breaks_off_is_given_up(
    store, study, tmp_path, monkeypatch, last, status
):
    monkeypatch.setattr(server_module, "BODY_S", 0.01 if last is None else 60)
    api, statuses = Api(store, tmp_path / "secrets"), []
    app = alone(Server(api, Pictures(tmp_path / "pictures")), [])
    head = {
        "type": "http", "method": "POST", "path": JOIN, "raw_path": JOIN.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "client": ("1.1.1.1", 1),
    }  # fmt: skip
    parts = iter([{"type": "http.request", "body": b'{"source"', "more_body": True}])

    async def receive():
        return next(parts, last) or await asyncio.Event().wait()

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(asyncio.wait_for(app(head, receive, send), 60))
    assert statuses[0] == status


def test_raters_behind_one_router_do_not_use_up_each_others_calls(serve, study):
    client = serve(Limits(calls=Limit(3, 0.1), answers=Limit(1, 0.5)))
    first, second = Visitor(client), Visitor(client)
    codes = [first.get("progress").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    second.agree()
    trial = second.vote(second.step("trial")["trial"])["trial"]
    refused(second.post("vote", trial=trial["id"], answers=LEFT), 429, "too_many")


def test_whoever_owns_an_ipv6_network_is_one_visitor():
    assert visitor("2001:db8:1:2::1") == visitor("2001:db8:1:2:ffff::2")
    assert visitor("2001:db8:1:2::1") != visitor("2001:db8:1:3::1")
    assert visitor("::ffff:1.2.3.4") == visitor("1.2.3.4") != visitor("1.2.3.5")
    assert visitor("testclient") == "testclient"


def test_tokens_made_up_by_the_thousand_do_not_push_out_an_addresss_count(monkeypatch):
    monkeypatch.setattr("rocm.study.server.limits.MOST_REMEMBERED", 10)
    counter = Counter(Limits(joins=Limit(1, 0.0)), lambda: 0.0)
    counter.check("joins", "1.1.1.1")
    for number in range(50):
        counter.check("calls", f"token {number}")
    with pytest.raises(Refusal):
        counter.check("joins", "1.1.1.1")


@pytest.mark.parametrize("file", sorted(PAGE.glob("*.js")), ids=lambda file: file.name)
def test_the_page_makes_no_html_or_code_of_words(file):
    words = "innerHTML outerHTML insertAdjacentHTML document.write eval( Function( srcdoc".split()
    assert not [word for word in words if word in file.read_text()]


@pytest.mark.parametrize("first", "=+-@\t\r\n")
def test_no_cell_of_an_export_is_a_formula(first):
    written = csv_text(["text", "next"], [{"text": f"{first}cmd|' /C calc'!A0", "next": -1}])
    assert f"'{first}cmd" in written
    assert written.rstrip().endswith(",-1")
