"""Foreign pages and foreign names, refused by the rule and by the running server itself."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from rocm.ui.access import access
from rocm.ui.middleware import hosts, same_host

LOCAL = hosts("127.0.0.1", False, [])
PROXIED = hosts("127.0.0.1", False, ["Studio.example.org ", ""])
PUBLIC = hosts("0.0.0.0", False, [])
SPACE = hosts("127.0.0.1", True, ["studio.example.org"])


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


def ask(port, method, path, headers):
    line = http.client.HTTPConnection("127.0.0.1", port)
    line.request(method, path, json.dumps({"data": ["", ""]}), headers)
    answer = line.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.filterwarnings("ignore")
def test_the_server_refuses_foreign_names_and_pages_before_anything_else(serve):
    guard = {"middleware": [same_host(LOCAL)]}
    port = urlsplit(serve(access("127.0.0.1", False, ""), app_kwargs=guard).url).port
    own, evil, stop = f"127.0.0.1:{port}", f"evil.example:{port}", "/gradio_api/call/stop"
    named = {"Content-Type": "application/json", "Host": own, "Origin": f"http://{own}"}
    foreign = {**named, "Origin": "http://evil.example"}
    rebound = {**named, "Origin": f"http://{evil}", "Host": evil}
    for path in (stop, "/gradio_api/component_server", "/gradio_api/queue/join"):
        assert ask(port, "POST", path, foreign)[0] == 403
        assert ask(port, "POST", path, rebound)[0] == 403
    status, words = ask(port, "GET", "/", {"Host": evil})
    assert (status, "does not go by the name" in words) == (403, True)
    assert ask(port, "GET", "/", named)[0] == 200
    assert ask(port, "POST", stop, named)[0] == 200
