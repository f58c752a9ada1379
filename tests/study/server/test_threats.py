"""The threats of docs/study.md against the server of studies, by somebody hostile."""

import asyncio
import json

import pytest
from starlette.websockets import WebSocketDisconnect

from rocm.errors import ConfigError, StoreUnavailable
from rocm.study.archive.export import csv_text
from rocm.study.design.recipe import Recipe
from rocm.study.server import app as server_module
from rocm.study.server.api import Api
from rocm.study.server.app import PAGE, Server, alone
from rocm.study.server.limits import Counter, Limit, Limits, visitor
from rocm.study.server.refusal import Refusal
from rocm.study.server.start import is_for_one
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.ui.middleware import hosts, same_host
from tests.study.design.test_build import RECIPE
from tests.study.server.conftest import Visitor
from tests.study.server.test_api import refused
from tests.study.small import STUDY

JOIN = f"/study/api/{STUDY}/join"
OF_GRADIO = """config gradio_api/info gradio_api/queue/join gradio_api/queue/data gradio_api/upload
gradio_api/file=/etc/passwd gradio_api/call/start gradio_api/run/predict gradio_api/heartbeat/x
queue/join file=/etc/passwd login logout token monitoring docs redoc openapi.json static/x
theme.css robots.txt manifest.json admin study.sqlite3""".split()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_of_gradio_or_of_an_admin_is_there(client, method):
    codes = {path: client.request(method, f"/{path}").status_code for path in OF_GRADIO}
    assert set(codes.values()) == {404}, codes


@pytest.mark.parametrize(
    "path", ["gradio_api/queue/join", "ws", f"study/{STUDY}", "study/api/vote"]
)
def test_no_websocket_is_accepted(client, path):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/{path}"):
        pass


def test_no_other_site_is_allowed_to_read_an_answer(client):
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options(JOIN, headers=foreign), client.get("/", headers=foreign)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_origin_or_name_is_refused_before_anything_else(serve, study, origin):
    client = serve(middleware=[same_host(hosts("127.0.0.1", False, []))])
    answer = client.post(JOIN, json={"source": "link"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.headers["x-content-type-options"] == "nosniff"
    named = client.get(f"/study/{STUDY}", headers={"Host": "evil.example"})
    assert named.status_code == 403
    assert client.post(JOIN, json={"source": "link"}).status_code == 200


def test_a_slash_too_many_leads_an_outside_id_to_no_other_address(client):
    """A whole address would be one of http, behind a proxy that speaks https."""
    own = f"{STUDY}?PROLIFIC_PID=5f"
    answer = client.get(f"/study/{STUDY}/?PROLIFIC_PID=5f", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"../{own}")
    assert client.get(f"/study/{STUDY}/").url.path == f"/study/{STUDY}"
    for path in (f"api/{STUDY}/", "%2f%2fevil.example/", "evil.example/"):
        answer = client.get(f"/study/{path}", follow_redirects=False)
        assert (answer.status_code, answer.headers.get("location")) == (404, None)


@pytest.mark.parametrize("word", ["\ud800", "\x00", "'; DROP TABLE vote; --", "../x", "\r\nX: y"])
def test_odd_words_are_refused_and_never_an_error_of_ours(client, visitor, word):
    trial = visitor.step("trial")["trial"]["id"]
    sent = {"side": word, "rt_ms": 1}
    answers = {"appeal": sent, "overall": sent, "alignment": sent}
    bodies = [
        (f"{STUDY}/join", {"source": word}),
        (f"{STUDY}/join", {"source": "link", word: 1}),
        ("vote", {"trial": trial, "answers": answers}),
        ("vote", {"trial": trial, "answers": {word: sent}}),
        ("vote", {"trial": word, "answers": {}}),
        ("consent", {"version": word}),
    ]
    headers = {"Authorization": f"Bearer {visitor.token}", "Content-Type": "application/json"}
    replies = [
        client.post(f"/study/api/{path}", content=json.dumps(body), headers=headers)
        for path, body in bodies
    ]
    assert [one.status_code for one in replies] == [400] * len(replies)


def test_an_id_that_no_study_can_have_is_not_even_asked_of_the_database(client, monkeypatch):
    monkeypatch.setattr(Store, "study", lambda self, study_id: 1 / 0)
    for study_id in ("%00", "x" * 5000, "0123456789AB"):
        refused(client.get(f"/study/api/{study_id}"), 404, "unknown_study")


def test_a_database_that_is_away_is_not_a_study_that_is_not_there(client, monkeypatch):
    def away(self, study_id):
        raise StoreUnavailable("The votes' database cannot be reached.")

    monkeypatch.setattr(Store, "study", away)
    refused(client.get(f"/study/api/{STUDY}"), 503, "unavailable")


@pytest.mark.parametrize(("last", "status"), [(None, 408), ({"type": "http.disconnect"}, 400)])
def test_a_body_that_never_ends_or_breaks_off_is_given_up(
    store, study, tmp_path, monkeypatch, last, status
):
    monkeypatch.setattr(server_module, "BODY_S", 0.01 if last is None else 60)
    api = Api(store, tmp_path / "secrets")
    app, said = alone(Server(api, Pictures(tmp_path / "pictures")), []), []
    head = {"type": "http", "method": "POST", "path": JOIN, "raw_path": JOIN.encode()}
    head |= {"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1"}
    head |= {"headers": [(b"content-type", b"application/json")], "client": ("1.1.1.1", 1)}
    parts = iter([{"type": "http.request", "body": b'{"source"', "more_body": True}])

    async def receive():
        return next(parts, last) or await asyncio.Event().wait()

    async def send(message):
        said.append(message)

    asyncio.run(asyncio.wait_for(app(head, receive, send), 60))
    assert said[0]["status"] == status


def test_raters_behind_one_router_do_not_use_up_each_others_calls(serve, study):
    client = serve(Limits(calls=Limit(3, 0.1)))
    first, second = Visitor(client), Visitor(client)
    codes = [first.get("progress").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert second.get("progress").status_code == 200


def test_whoever_owns_an_ipv6_network_is_one_visitor():
    assert visitor("2001:db8:1:2::1") == visitor("2001:db8:1:2:ffff::2")
    assert visitor("2001:db8:1:2::1") != visitor("2001:db8:1:3::1")
    assert visitor("::ffff:1.2.3.4") == visitor("1.2.3.4") != visitor("1.2.3.5")
    assert visitor("testclient") == "testclient"


def test_a_visitor_adds_no_address_of_its_own_to_a_proxys(serve, study):
    client = serve(Limits(joins=Limit(1, 0.1)), is_proxied=True)
    own = [("X-Forwarded-For", "7.7.7.7"), ("X-Forwarded-For", "1.1.1.1")]
    assert client.post(JOIN, json={"source": "link"}, headers=own).status_code == 200
    own[0] = ("X-Forwarded-For", "8.8.8.8")
    assert client.post(JOIN, json={"source": "link"}, headers=own).status_code == 429


def test_tokens_made_up_by_the_thousand_do_not_push_out_an_addresss_count(monkeypatch):
    monkeypatch.setattr("rocm.study.server.limits.MOST_REMEMBERED", 10)
    counter = Counter(Limits(joins=Limit(1, 0.0)), lambda: 0.0)
    counter.check("joins", "1.1.1.1")
    for number in range(50):
        counter.check("calls", f"token {number}")
    with pytest.raises(Refusal):
        counter.check("joins", "1.1.1.1")


@pytest.mark.parametrize(
    ("mode", "is_local", "ways_in", "expected"),
    [
        ("lab", True, (), True),
        ("lab", True, ("", False), True),
        ("study", True, (), False),
        ("lab", False, (), False),
        ("lab", True, ("token",), False),
        ("lab", True, ("", True), False),
    ],
)
def test_votes_without_a_person_come_in_only_where_nobody_else_can(
    mode, is_local, ways_in, expected
):
    assert is_for_one(mode, is_local, *ways_in) == expected


@pytest.mark.parametrize("file", sorted(PAGE.glob("*.js")), ids=lambda file: file.name)
def test_the_page_makes_no_html_or_code_of_words(file):
    words = "innerHTML outerHTML insertAdjacentHTML document.write eval( Function( srcdoc".split()
    assert not [word for word in words if word in file.read_text()]


@pytest.mark.parametrize("name", ["completion_url", "screen_out_url"])
def test_a_study_sends_nobody_to_a_script(name):
    Recipe.load(RECIPE | {name: "https://app.prolific.com/submissions/complete?cc=C0DE"})
    with pytest.raises(ConfigError, match=name):
        Recipe.load(RECIPE | {name: "javascript:alert(1)"})


@pytest.mark.parametrize("first", "=+-@\t\r\n")
def test_no_cell_of_an_export_is_a_formula(first):
    written = csv_text(["text", "next"], [{"text": f"{first}cmd|' /C calc'!A0", "next": 1}])
    assert f"'{first}cmd" in written
