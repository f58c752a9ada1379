"""A rater is told that an answer is saved once a restart of the server cannot lose it."""

import os
import shutil

from rocm.study.design import lifecycle
from rocm.study.server.app import Server
from rocm.study.server.bodies import JoinBody
from rocm.study.server.start import server_of
from tests.study.conftest import PLACE
from tests.study.small import STUDY, answers, fill, wait_until


def begun(home, settings) -> tuple[Server, str, dict]:
    """A server of an open study, a rater's token, and the rater's first step."""
    server = server_of(home, settings, True, False)
    lifecycle.open_study(server.api.store, fill(server.api.store))
    token = server.api.join(STUDY, JoinBody(source="link"))["token"]
    server.api.consent(token, "1")
    return server, token, server.api.trial(token)


def num_unsaved(home, settings, happens=lambda: None):
    """What a rater reads before and after an answer, between which something `happens`."""
    server, token, before = begun(home, settings)
    happens()
    after = server.api.vote(token, before["trial"]["id"], answers())
    server.api.store.close()
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


def test_an_answer_is_called_saved_once_the_hub_has_it_and_outlives_the_disk(tmp_path, hub):
    home, settings = tmp_path / "home", {"SPACE_ID": "me/space", "ROCM_BACKUP": PLACE}
    server, token, step = begun(home, settings)

    def unsaved():
        return server.api.progress(token)["progress"]["num_unsaved"]

    hub.refusal = (403, b"")
    server.api.vote(token, step["trial"]["id"], answers())
    votes = server.api.store.votes(STUDY)
    wait_until(lambda: "403" in server.backup.status().error)
    status = server.backup.status()
    assert (unsaved(), status.num_saved, status.num_unsaved) == (1, 0, len(votes))
    hub.refusal = None
    wait_until(lambda: unsaved() == 0)
    status = server.backup.status()
    assert (status.num_saved, status.num_unsaved, status.error) == (len(votes), 0, "")
    server.api.store.close()
    shutil.rmtree(home)
    again = server_of(home, settings, True, False).api
    progress = again.progress(token)["progress"]
    assert (progress["num_done"], progress["num_unsaved"]) == (1, 0)
    assert again.store.votes(STUDY) == votes != []
    again.store.close()
