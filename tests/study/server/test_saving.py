"""A rater is told that an answer is saved once a restart of the server cannot lose it."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from rocm.storage.paths import ROOT
from rocm.study.design import lifecycle
from rocm.study.server.bodies import JoinBody
from rocm.study.server.start import server_of
from rocm.study.store.store import Store
from tests.hub_server import serving
from tests.study import small
from tests.study.small import STUDY, fill

ANSWERS = {one["key"]: {"side": "left", "rt_ms": 1500} for one in small.QUESTIONS}


def opened(home):
    home.mkdir()
    store = Store.open(home / "study.sqlite3")
    lifecycle.open_study(store, fill(store))
    store.close()


def num_unsaved(home, settings, happens=lambda: None):
    """What a rater reads before and after an answer, between which something `happens`."""
    opened(home)
    api = server_of(home, settings, True, False).api
    token = api.join(STUDY, JoinBody(source="link"))["token"]
    api.consent(token, "1")
    before = api.trial(token)
    happens()
    after = api.vote(token, before["trial"]["id"], small.answers())
    api.store.close()
    return [step["progress"]["num_unsaved"] for step in (before, after)]


def test_a_disk_that_lasts_and_a_folder_that_does_save_at_once(tmp_path):
    assert num_unsaved(tmp_path / "laptop", {}) == [0, 0]
    folder = {"SPACE_ID": "me/space", "ROCM_BACKUP": str(tmp_path / "bucket")}
    assert num_unsaved(tmp_path / "space", folder) == [0, 0]


def test_a_folder_that_takes_nothing_leaves_the_answer_unsaved(tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    settings = {"ROCM_BACKUP": str(tmp_path / "bucket")}
    fill_up = lambda: monkeypatch.setattr(os, "fsync", full)  # noqa: E731
    assert num_unsaved(tmp_path / "home", settings, fill_up) == [0, 1]


def test_nothing_is_saved_on_a_space_without_a_backup(tmp_path, caplog):
    assert num_unsaved(tmp_path / "home", {"SPACE_ID": "me/space"}) == [None, None]
    assert "ROCM_BACKUP" in caplog.text


@contextmanager
def app(home, hub):
    """A Space that serves raters; killed at the end, as a restart kills it. Gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"ROCM_HOME": str(home), "PORT": str(port), "ROCM_BACKUP": "hf://datasets/me/votes"}
    environment = {**os.environ, **hub.environment, **own, "SPACE_ID": "me/space"}
    command = [sys.executable, "app.py", "--mode", "study"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        yield port
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def ask(port, path, token="", method="POST", **body):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    for _ in range(200):
        line = http.client.HTTPConnection("127.0.0.1", port)
        try:
            line.request(method, f"/study/api/{path}", json.dumps(body), headers)
            answer = line.getresponse()
            assert answer.status == 200
            return json.loads(answer.read())
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("the server does not listen")


@pytest.mark.slow
def test_an_answer_that_was_called_saved_outlives_a_killed_server_and_its_disk(tmp_path):
    home = tmp_path / "home"
    opened(home)
    with serving() as hub:
        hub.folders["datasets/me/votes"] = tmp_path / "hub"
        (tmp_path / "hub").mkdir()
        with app(home, hub) as port:
            token = ask(port, f"{STUDY}/join", source="link")["token"]
            ask(port, "consent", token, version="1")
            trial = ask(port, "trial", token)["trial"]["id"]
            now = ask(port, "vote", token, trial=trial, answers=ANSWERS)
            assert now["progress"]["num_unsaved"] == 1
            until = time.monotonic() + 120
            while now["progress"]["num_unsaved"]:
                assert time.monotonic() < until
                time.sleep(0.2)
                now = ask(port, "progress", token, method="GET")
        shutil.rmtree(home)
        with app(home, hub) as port:
            again = ask(port, "progress", token, method="GET")["progress"]
    assert (again["num_done"], again["num_unsaved"]) == (1, 0)
