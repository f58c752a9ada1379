"""Nobody sends files or calls handlers, and nothing tells where the program is installed."""

import urllib.error
import urllib.request

import pytest

from rocm.storage.paths import ROOT
from rocm.ui.access import access
from rocm.ui.middleware import only_the_page
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
