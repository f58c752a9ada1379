"""The entry point, as a user who knows other servers starts it."""

import os
import socket
import subprocess
import sys

import pytest

from app import chosen_port
from rocm.config import ROOT


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
