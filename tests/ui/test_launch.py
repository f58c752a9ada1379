"""The start of the page on a busy machine, behind a proxy, and where nothing can be reached."""

import socket
import time
import urllib.request

import gradio as gr
import pytest
import uvicorn
from gradio import http_server, networking
from starlette.middleware import Middleware

from rocm.errors import RocmError
from rocm.ui import launch as launching
from rocm.ui.app import CLOSED
from rocm.ui.launch import launch


class Busy:
    """Answers no HEAD request."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "HEAD":
            raise ConnectionError("busy")
        await self.app(scope, receive, send)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def pages(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setattr(http_server, "Server", http_server.Server)  # put back afterwards
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.Markdown("Here.")
    yield blocks
    blocks.close(verbose=False)


def test_a_proxy_for_other_addresses_and_a_failed_check_do_not_end_the_page(
    pages, port, monkeypatch
):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    launch(pages, "127.0.0.1", port, app_kwargs={"middleware": [Middleware(Busy)]}, **CLOSED)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200
    assert not networking.url_ok(pages.local_url)  # Gradio's own check would have ended it


@pytest.mark.slow
def test_a_server_that_takes_long_to_start_is_waited_for(pages, port, monkeypatch):
    load = uvicorn.Config.load
    monkeypatch.setattr(uvicorn.Config, "load", lambda self: (time.sleep(6), load(self)))
    launch(pages, "127.0.0.1", port, **CLOSED)
    assert networking.url_ok(pages.local_url)


def test_a_server_that_never_starts_is_one_sentence(pages, port, monkeypatch):
    monkeypatch.setattr(launching.PatientServer, "run", lambda self: None)
    with pytest.raises(RocmError, match=f"127.0.0.1:{port}"):
        launch(pages, "127.0.0.1", port, **CLOSED)
