"""Starts the page's server: on a busy machine too, and past a proxy for other addresses."""

import os
import threading
import time
from typing import Any
from urllib.request import getproxies_environment

import gradio as gr
import httpx
from gradio import http_server

from rocm.errors import RocmError

START_S = 120  # Gradio gives up after 5 s, which a machine that trains may need


class PatientServer(http_server.Server):
    """Gradio's server, with more time to start."""

    def run_in_thread(self) -> None:
        """Start, and return once the server listens."""
        if self.reloader:
            self.watch_thread = threading.Thread(target=self.watch, daemon=True)
            self.watch_thread.start()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        end = time.monotonic() + START_S
        while not self.started:
            if not self.thread.is_alive() or time.monotonic() > end:
                raise RocmError(
                    f"No server started at {self.config.host}:{self.config.port}. Set PORT to "
                    "another one, or wait until the machine is less busy."
                )
            time.sleep(0.01)


def launch(pages: gr.Blocks, host: str, port: int, **options: Any) -> None:
    """Serve `pages`; RocmError if they do not answer where they listen.

    Gradio asks its own server to begin, for which no proxy is needed. Its second question, whether
    a link of its own must be created, is left out: it ends the app if no answer comes in 3 s.
    """
    past = [getproxies_environment().get("no", ""), "localhost", "127.0.0.1", "::1", host]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, past))
    http_server.Server = PatientServer
    at_once: dict[str, Any] = {"prevent_thread_lock": True, "quiet": True, "_frontend": False}
    try:
        pages.launch(server_name=host, server_port=port, **at_once, **options)
    except httpx.TransportError as error:
        pages.close(verbose=False)
        raise RocmError(
            f"The page cannot be reached at {pages.local_url}: {error}. Set GRADIO_SERVER_NAME and "
            "PORT to an address that this machine reaches."
        ) from error
