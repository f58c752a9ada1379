"""Nobody sends files or calls handlers, and nothing tells where the program is installed."""

import json
import logging
import time
import urllib.error
import urllib.request

import pytest

from rocm.storage.paths import ROOT
from rocm.ui.access import access
from rocm.ui.middleware import brief_log, only_the_page
from rocm.ui.plot import PLOTLY_JS, plotly_route

FILE = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n1\r\n--x--\r\n'
FORM = "multipart/form-data; boundary=x"


def status(url: str, body: bytes | None = None, kind: str = "application/json") -> int:
    try:
        request = urllib.request.Request(url, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def url(serve):
    middleware, routes = [only_the_page()], [plotly_route()]
    return serve(
        access("0.0.0.0", False, ""), app_kwargs={"middleware": middleware, "routes": routes}
    ).url


def test_a_request_for_an_unknown_session_or_part_writes_no_traceback(url, caplog, monkeypatch):
    # Other tests start the app, whose limit of lines a minute stays in this process.
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "filters", [])
    nobody = {"data": [], "session_hash": "nobody"}
    brief_log()
    status(f"{url}gradio_api/queue/data?session_hash=nobody")
    for named in ({"fn_index": 99999}, {"component_id": 99999, "fn_name": "look"}):
        path = "component_server" if "fn_name" in named else "queue/join"
        assert status(f"{url}gradio_api/{path}", json.dumps(nobody | named).encode()) >= 400
    deadline = time.monotonic() + 60
    while len(caplog.records) < 3 and time.monotonic() < deadline:  # they come after the answers
        time.sleep(0.05)
    assert caplog.text.count("not here") == 3
    assert "Traceback" not in caplog.text


def test_a_public_lab_takes_nothing_and_tells_no_folder(url, capfd):
    assert status(f"{url}gradio_api/upload", FILE, FORM) == 404
    for path in ("call/nothing/unknown", "call/look/unknown", "call/v2/look/unknown"):
        assert status(f"{url}gradio_api/{path}") == 404
    assert status(f"{url}gradio_api/call/look", b'{"data": []}') == 404
    for path in ("config", ""):
        with urllib.request.urlopen(f"{url}{path}") as answer:
            page = answer.read().decode()
        assert str(ROOT) not in page
        assert str(PLOTLY_JS.parent) not in page
    assert status(f"{url}{PLOTLY_JS.name}") == 200
    assert "Traceback" not in "".join(capfd.readouterr())
