"""The entry point, as a user who knows other servers starts it."""

import http.client
import os
import socket
import subprocess
import sys
import time

import pytest

from app import chosen_port
from rocm.config import ROOT
from rocm.errors import ConfigError
from rocm.web.mode import chosen_mode


def start(home, *arguments, **settings):
    environment = {**os.environ, "ROCM_HOME": str(home), **settings}
    command = [sys.executable, "app.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_an_argument_is_refused_and_help_names_the_variables(tmp_path):
    refused = start(tmp_path, "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "unrecognized arguments: --host 0.0.0.0" in refused.stderr
    assert "GRADIO_SERVER_NAME=" in refused.stderr
    assert "ROCM_ADMIN_TOKEN" in start(tmp_path, "--help").stdout
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        ended = start(tmp_path, PORT=str(port), GRADIO_SERVER_NAME="127.0.0.1")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"The page cannot listen on 127.0.0.1:{port}: ")
    assert "Set PORT" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "7860.5"])
def test_a_port_that_is_none_is_one_sentence(monkeypatch, port):
    monkeypatch.setenv("PORT", port)
    with pytest.raises(SystemExit, match=f"Port '{port}' is no port. Set PORT to a whole number"):
        chosen_port()


@pytest.mark.parametrize(
    ("given", "is_private", "mode"),
    [("", True, "lab"), ("", False, "study"), ("lab", False, "lab"), ("study", True, "study")],
)
def test_a_server_that_others_reach_is_for_raters_unless_said_otherwise(given, is_private, mode):
    assert chosen_mode(given, is_private) == mode


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="ROCM_MODE='public' is not allowed: lab or study"):
        chosen_mode("public", True)


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
    assert not [name for name in ("gradio", "torch", "rocm.services") if f" {name}\n" in imported]


def answer_of(port, path, **headers):
    """Status of a request, once the server listens."""
    deadline = time.monotonic() + 60
    while True:
        line = http.client.HTTPConnection("127.0.0.1", port)
        try:
            line.request("GET", path, headers=headers)
            return line.getresponse().status
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
        finally:
            line.close()
