"""The page really served, and calls of its endpoints from outside."""

import json
import socket
import urllib.error
import urllib.request

import pytest

from rocm.studio import Studio
from rocm.ui.app import CLOSED, build


class Served:
    """An address, and what the page there tells a browser of itself."""

    def __init__(self, url):
        self.url = url
        with urllib.request.urlopen(f"{url}config") as answer:
            config = json.load(answer)
        self.parts = {item["id"]: item["props"] for item in config["components"]}
        self.inputs = {
            entry["api_name"]: [self.parts[number] for number in entry["inputs"]]
            for entry in config["dependencies"]
        }

    def post(self, name, data):
        """What the API answers to a plain POST: status, and the event that follows."""
        body = json.dumps({"data": data}).encode()
        address = f"{self.url}gradio_api/call/{name}"
        headers = {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
                event = json.load(answer)["event_id"]
        except urllib.error.HTTPError as error:
            return error.code, ""
        with urllib.request.urlopen(f"{address}/{event}") as answer:
            return 200, answer.read().decode()

    def call(self, name, values=()):
        """As `post`, with the page's own values but for those given by the control's `elem_id`."""
        values = dict(values)
        given = [part.get("elem_id") for part in self.inputs[name]]
        assert set(values) <= set(given)
        own = [part.get("value") for part in self.inputs[name]]
        return self.post(
            name, [values.get(one, kept) for one, kept in zip(given, own, strict=True)]
        )


@pytest.fixture
def serve(tmp_path):
    """Serves the page under a rule, over an empty home or a given studio."""
    pages = []

    def start(rule, studio=None, **options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pages.append(build(studio or Studio(tmp_path), rule))
        quiet = {"prevent_thread_lock": True, "quiet": True}
        return Served(pages[-1].launch(server_port=port, **quiet, **options, **CLOSED)[1])

    yield start
    for page in pages:
        page.close()
