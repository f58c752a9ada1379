"""Who may train, asked of the rule and of the running server itself."""

import json
import socket
import urllib.error
import urllib.request

import pytest

from rocm.errors import RunError
from rocm.studio import Studio
from rocm.ui.access import Access, access, is_loopback
from rocm.ui.app import CLOSED, build

HANDLERS = [
    *("start", "stop", "resume", "sample_now", "save_now", "cancel", "earlier", "later"),
    *("continue", "export", "open_folder", "delete", "undo", "restore", "empty_bin", "write"),
    *("save_preset", "start_sweep"),
]


@pytest.mark.parametrize(
    ("host", "is_space", "token", "may_train"),
    [
        ("127.0.0.1", False, "", True),
        ("localhost", False, "", True),
        ("::1", False, "", True),
        ("0.0.0.0", False, "", False),
        ("192.168.1.5", False, "", False),
        ("example.org", False, "", False),
        ("127.0.0.1", True, "", False),
        ("0.0.0.0", False, "secret", True),
        ("0.0.0.0", True, "secret", True),
    ],
)
def test_training_is_for_loopback_or_a_token(host, is_space, token, may_train):
    assert access(host, is_space, token).may_train == may_train


def test_an_address_that_only_looks_like_loopback_is_not():
    assert not is_loopback("127.0.0.1.example.org")
    assert not is_loopback("")


def test_a_token_is_asked_for_wherever_it_is_set():
    rule = access("127.0.0.1", False, "secret")
    rule.check("secret")
    for nothing in ("", None):
        with pytest.raises(RunError, match="Type the admin token first"):
            rule.check(nothing)
    for wrong in ("Secret", "secret ", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(RunError, match="token is not right"):
            rule.check(wrong)


def test_no_token_opens_a_page_without_training():
    with pytest.raises(RunError, match="Training is off"):
        Access(may_train=False).check("")


@pytest.fixture
def serve(tmp_path):
    """The page under a rule, really served; yields its address."""
    pages = []

    def start(rule):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pages.append(build(Studio(tmp_path), rule))
        _, url, _ = pages[-1].launch(
            server_port=port, prevent_thread_lock=True, quiet=True, **CLOSED
        )
        return url

    yield start
    for page in pages:
        page.close()


def post(url, name, data):
    """What the API answers to a plain POST: status, and the event that follows."""
    body = json.dumps({"data": data}).encode()
    address = f"{url}gradio_api/call/{name}"
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            event = json.load(answer)["event_id"]
    except urllib.error.HTTPError as error:
        return error.code, ""
    with urllib.request.urlopen(f"{address}/{event}") as answer:
        return 200, answer.read().decode()


@pytest.mark.filterwarnings("ignore")
def test_where_training_is_off_the_endpoints_do_not_exist(serve, tmp_path):
    url = serve(access("0.0.0.0", False, ""))
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    names = [entry["api_name"] for entry in config["dependencies"]]
    assert not set(names) & {*HANDLERS, "fill", "describe"}
    for name in HANDLERS:
        status, text = post(url, name, ["", "tiny-rocm-kl"])
        assert status != 200 or "error" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.filterwarnings("ignore")
def test_where_a_token_is_asked_for_a_call_without_it_is_refused(serve, tmp_path):
    rule = access("0.0.0.0", False, "secret")
    url = serve(rule)
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    values = {item["id"]: item["props"].get("value") for item in config["components"]}
    entries = {entry["api_name"]: entry for entry in config["dependencies"]}
    for name in HANDLERS:
        if name == "open_folder":  # for a visitor who sits at the machine
            assert name not in entries
            continue
        data = [values.get(number) for number in entries[name]["inputs"]]
        for wrong, words in {"": "Type the admin token", "wrong": "token is not right"}.items():
            status, text = post(url, name, [wrong, *data[1:]])
            assert (status, "event: error" in text) == (200, True)
            assert words in text
    assert not (tmp_path / "runs").exists()


def call(url, name, values):
    """As `post`, with the page's own values but for those given by the control's `elem_id`."""
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    props = {item["id"]: item["props"] for item in config["components"]}
    entry = next(one for one in config["dependencies"] if one["api_name"] == name)
    parts = [props[number] for number in entry["inputs"]]
    return post(url, name, [values.get(one.get("elem_id"), one.get("value")) for one in parts])


@pytest.mark.filterwarnings("ignore")
def test_without_the_token_nobody_learns_which_files_are_on_this_machine(serve):
    url = serve(access("0.0.0.0", False, "secret"))
    asked = {"setting_prompts": "/no/such/file", "setting_judge": "clip:/no/such/folder"}
    stranger = call(url, "describe", asked)
    assert "event: complete" in stranger[1]
    assert "No folder" not in stranger[1]
    assert "does not exist" not in stranger[1]
    assert "does not exist" in call(url, "describe", {**asked, "token": "secret"})[1]


@pytest.mark.filterwarnings("ignore")
def test_nobody_can_fill_the_disk_with_uploads(serve):
    url = serve(access("0.0.0.0", False, ""))
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="z"\r\n\r\n'
    body += b"0" * 5000 + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{url}gradio_api/upload", body, headers))
    assert refused.value.code == 413
    with pytest.raises(urllib.error.HTTPError) as refused:  # it would print its key into the log
        urllib.request.urlopen(f"{url}monitoring")
    assert refused.value.code == 403
