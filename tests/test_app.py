"""The entry point, as a user who knows other servers starts it."""

import asyncio
import http.client
import os
import socket
import subprocess
import sys

import pytest
import uvicorn
from starlette.middleware import Middleware

import app
from rocm.storage.paths import ROOT
from rocm.study.server.app import Server
from rocm.study.server.start import chosen_mode


def test_a_port_in_use_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        settings = {
            "ROCM_HOME": str(tmp_path),
            "PORT": str(port),
            "GRADIO_SERVER_NAME": "127.0.0.1",
        }
        command = [sys.executable, "app.py"]
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"The page cannot listen on 127.0.0.1:{port}: ")
    assert "Set PORT" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "is_private", "mode"),
    [("", True, "lab"), ("", False, "study"), ("lab", False, "lab"), ("study", True, "study")],
)
def test_a_server_that_others_reach_is_for_raters_unless_said_otherwise(given, is_private, mode):
    assert chosen_mode(given, is_private) == mode


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What app.py would serve, by its variables: the vote server and the names that it goes by."""

    def main(mode, **settings):
        served = []
        for name in ("serve_study", "serve_lab"):
            monkeypatch.setattr(app, name, lambda host, port, *parts: served.extend(parts))
        monkeypatch.setattr(sys, "argv", ["app.py", "--mode", mode])
        monkeypatch.setattr(app, "check_free", lambda host, port: None)
        for name, value in {"ROCM_HOME": str(tmp_path), **settings}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
        app.main()
        (votes,) = (part for part in served if isinstance(part, Server))
        (guard,) = (part for part in served if isinstance(part, Middleware))
        return votes, guard.args[0]

    return main


def test_addresses_of_a_proxy_are_believed_only_where_one_is_named(started):
    for settings, is_proxied in (({"ROCM_PROXIED": "0"}, False), ({"SPACE_ID": "me/space"}, True)):
        assert started("study", **settings)[0].is_proxied == is_proxied


@pytest.mark.parametrize(
    ("mode", "name", "value", "expected"),
    [
        ("lab", "UNUSED", "", True),
        ("study", "UNUSED", "", False),
        ("lab", "ROCM_PROXIED", "1", False),
        ("lab", "ROCM_ADMIN_TOKEN", "secret", False),
        ("lab", "ROCM_ALLOWED_HOSTS", "studio.example.org", False),
        ("lab", "GRADIO_SERVER_NAME", "0.0.0.0", False),
        ("lab", "SPACE_ID", "me/space", False),
    ],
)
def test_simulated_raters_come_in_only_where_nothing_leads_others_here(
    started, mode, name, value, expected
):
    assert ("simulated" in started(mode, **{name: value})[0].api.sources) == expected


def test_the_names_of_the_settings_are_those_that_requests_may_ask_for(started):
    _, rule = started("study", ROCM_ALLOWED_HOSTS="studio.example.org")
    assert rule.refusal("GET", "evil.example", None)
    assert rule.refusal("POST", "studio.example.org", "https://evil.example")
    assert not rule.refusal("POST", "studio.example.org", "https://studio.example.org")


def test_no_program_of_this_machine_says_who_a_visitor_is(started):
    """uvicorn, as Gradio starts it, leaves the connection's address as it is."""
    started("lab")
    seen = []

    async def note(scope, receive, send):
        seen.append(scope["client"])

    config = uvicorn.Config(note, log_config=None)
    config.load()
    scope = {"type": "http", "client": ("127.0.0.1", 1), "scheme": "http"}
    scope |= {"headers": [(b"x-forwarded-for", b"7.7.7.7")], "asgi": {}}
    asyncio.run(config.loaded_app(scope, None, None))
    assert seen == [("127.0.0.1", 1)]


def test_a_server_of_studies_has_nothing_else(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ROCM_HOME": str(tmp_path), "PORT": str(port)}
    command = [sys.executable, "-X", "importtime", "app.py", "--mode", "study"]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=log, stdout=subprocess.PIPE, text=True
        )
    try:
        assert process.stdout.readline() == f"ROCM Studio, study: http://127.0.0.1:{port}\n"
        codes = {path: answer_of(port, path) for path in ("/", "/config", "/gradio_api/info")}
        page = answer_of(port, "/study/0123456789ab")
        foreign = answer_of(port, "/study/0123456789ab", Host="evil.example")
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert codes == {"/": 200, "/config": 404, "/gradio_api/info": 404}
    assert (page, foreign) == (200, 403)
    imported = (tmp_path / "log").read_text()
    assert "| starlette" in imported.replace("|   ", "| ")
    heavy = "gradio plotly torch diffusers transformers pandas numpy rocm.studio".split()
    assert not [name for name in heavy if f" {name}\n" in imported]


def answer_of(port, path, **headers):
    line = http.client.HTTPConnection("127.0.0.1", port)
    line.request("GET", path, headers=headers)
    return line.getresponse().status
