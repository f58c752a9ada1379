"""What the server refuses: foreign pages and names, large bodies, files, calls of handlers."""

import json
import logging
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import IncompleteRead
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from rocm.storage.paths import ROOT
from rocm.ui.access import access
from rocm.ui.middleware import body_limit, brief_log, hosts, only_the_page, same_host
from rocm.ui.plot import PLOTLY_JS, plotly_route

LOCAL = hosts("127.0.0.1", False, [])
PROXIED = hosts("127.0.0.1", False, ["Studio.example.org ", ""])
PUBLIC = hosts("0.0.0.0", False, [])
SPACE = hosts("127.0.0.1", True, ["studio.example.org"])
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:80", "[::1]:7860"])
def test_a_private_page_goes_by_loopback_names(host):
    assert LOCAL.refusal("GET", host, None) == ""
    assert LOCAL.refusal("POST", host, f"http://{host}") == ""
    assert LOCAL.refusal("POST", host, None) == ""  # what is no browser names no origin


@pytest.mark.parametrize(
    "host",
    ["evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "0.0.0.0"],
)
def test_a_private_page_goes_by_no_other_name(host):
    for method in ("GET", "POST"):
        assert "ROCM_ALLOWED_HOSTS" in LOCAL.refusal(method, host, f"http://{host}")


@pytest.mark.parametrize("rule", [LOCAL, PROXIED, PUBLIC, SPACE])
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost:3000", "null", "", "http://", "localhost:7860"],
)
def test_a_foreign_page_may_read_what_browsers_let_it_but_change_nothing(rule, origin):
    assert rule.refusal("GET", "localhost:7860", origin) == ""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert "ROCM_ALLOWED_HOSTS" in rule.refusal(method, "localhost:7860", origin)


def test_a_reverse_proxy_works_whether_or_not_it_passes_the_host_on():
    for host in ("studio.example.org", "127.0.0.1:7860"):
        assert PROXIED.refusal("POST", host, "https://studio.example.org") == ""
        assert PROXIED.refusal("POST", host, "https://studio.example.org:8443") == ""
    assert PROXIED.refusal("GET", "other.example.org", None)


def test_where_anybody_may_look_any_name_is_right_until_names_are_given():
    for rule in (PUBLIC, SPACE):
        assert rule.refusal("POST", "me-rocm.hf.space", "https://me-rocm.hf.space") == ""
    assert SPACE.refusal("POST", "10.0.0.5:7860", "https://studio.example.org") == ""
    assert hosts("0.0.0.0", False, ["a.example"]).refusal("GET", "b.example", None)


def ask(url, body=None, **headers):
    """Status and words of an answer."""
    try:
        request = urllib.request.Request(url, body, {**JSON, **headers})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.filterwarnings("ignore")
def test_the_server_refuses_foreign_names_and_pages_before_anything_else(serve):
    url = serve(access("127.0.0.1", False, ""), app_kwargs={"middleware": [same_host(LOCAL)]}).url
    own, evil, body = urlsplit(url).netloc, "evil.example:80", b'{"data": ["", ""]}'
    for path in ("call/stop", "component_server", "queue/join"):
        for foreign in ({"Host": own}, {"Host": evil}):
            origin = {"Origin": f"http://{evil}"}
            assert ask(f"{url}gradio_api/{path}", body, **foreign, **origin)[0] == 403
    status, words = ask(url, Host=evil)
    assert (status, "does not go by the name" in words) == (403, True)
    named = {"Host": own, "Origin": f"http://{own}"}
    assert ask(url, **named)[0] == 200
    assert ask(f"{url}gradio_api/call/stop", body, **named)[0] == 200


@pytest.fixture
def url(serve):
    middleware, routes = [only_the_page()], [plotly_route()]
    parts = {"middleware": middleware, "routes": routes}
    return serve(access("0.0.0.0", False, ""), app_kwargs=parts).url


def test_a_request_for_an_unknown_session_or_part_writes_no_traceback(url, caplog, monkeypatch):
    # Other tests start the app, whose limit of lines a minute stays in this process.
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "filters", [])
    nobody = {"data": [], "session_hash": "nobody"}
    brief_log()
    with suppress(IncompleteRead):  # an error after the answer has begun
        ask(f"{url}gradio_api/queue/data?session_hash=nobody")
    for named in ({"fn_index": 99999}, {"component_id": 99999, "fn_name": "look"}):
        path = "component_server" if "fn_name" in named else "queue/join"
        assert ask(f"{url}gradio_api/{path}", json.dumps(nobody | named).encode())[0] >= 400
    deadline = time.monotonic() + 60
    while len(caplog.records) < 3 and time.monotonic() < deadline:  # they come after the answers
        time.sleep(0.05)
    assert caplog.text.count("not here") == 3
    assert "Traceback" not in caplog.text


def test_a_public_lab_takes_nothing_and_tells_no_folder(url, capfd):
    for path in ("upload", "call/look", "call/look/unknown", "call/v2/look/unknown"):
        assert ask(f"{url}gradio_api/{path}", b"{}")[0] == 404
    for path in ("config", ""):
        page = ask(f"{url}{path}")[1]
        assert str(ROOT) not in page
        assert str(PLOTLY_JS.parent) not in page
    assert ask(f"{url}{PLOTLY_JS.name}")[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_nobody_can_fill_the_disk_with_uploads_or_print_a_key_into_the_log(serve):
    """Gradio's own bounds, where nothing stands before them."""
    url = serve(access("0.0.0.0", False, "")).url
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="z"\r\n\r\n'
    body += b"0" * 5000 + b"\r\n--b--\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ask(f"{url}gradio_api/upload", body, **form)[0] == 413
    assert ask(f"{url}monitoring")[0] == 403


@pytest.fixture
def served():
    """A client of an application that reads whole bodies, and the sizes that it has read."""
    sizes = []

    async def read(request):
        sizes.append(len(await request.body()))
        return PlainTextResponse("read")

    routes = [Route("/", read, methods=["GET", "POST"])]
    app = Starlette(routes=routes, middleware=[body_limit(1000)])
    return TestClient(app, raise_server_exceptions=False), sizes


def test_a_body_within_the_limit_is_read(served):
    client, sizes = served
    assert client.get("/").status_code == 200
    assert client.post("/", content=b"x" * 1000).status_code == 200
    assert client.post("/", content=iter([b"x" * 600, b"x" * 400])).status_code == 200
    assert sizes == [0, 1000, 1000]


@pytest.mark.parametrize("size", ["1001", "9" * 5000, "-1", "x"])
def test_a_size_beyond_the_limit_is_refused_in_a_sentence(served, size):
    client, sizes = served
    answer = client.post("/", content=iter([b"x"]), headers={"Content-Length": size})
    assert (answer.status_code, sizes) == (413, [])
    assert answer.text == "The request is larger than 1000 bytes. Send less."


def test_a_body_that_tells_no_size_is_given_up_at_the_limit(served):
    client, sizes = served
    answer = client.post("/", content=iter([b"x" * 100] * 50))
    assert (answer.status_code != 200, sizes) == (True, [])
