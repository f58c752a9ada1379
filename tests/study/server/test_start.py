"""What a server says is saved is there after the loss of its disk, and raters are known again."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from rocm.errors import StudyError
from rocm.study.design import lifecycle
from rocm.study.server.app import Server
from rocm.study.server.bodies import JoinBody
from rocm.study.server.start import server_of
from rocm.study.store.identity import study_secret
from tests.study.conftest import PLACE, new_database, url
from tests.study.small import STUDY, answers, fill, rater, wait_until, work


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


@pytest.mark.parametrize("master", ["0123456789abcdef" * 2, ""])
def test_who_came_before_the_loss_of_a_disk_is_known_again_by_the_secret(tmp_path, caplog, master):
    home, bucket = tmp_path / "home", tmp_path / "bucket"
    settings = {"ROCM_BACKUP": str(bucket), "ROCM_STUDY_SECRET": master}
    body = JoinBody(source="prolific", external_id="5f0c")
    api = server_of(home, settings, True, False).api
    study = fill(api.store)
    lifecycle.open_study(api.store, study)
    assert [api.join(study, body)["is_new"] for _ in range(2)] == [True, False]
    work(api.store, rater(api.store))
    votes = api.store.votes(study)
    api.store.close()
    kept = b"".join(file.read_bytes() for file in bucket.iterdir())
    assert study_secret(home / "study-secrets", study, master) not in kept
    shutil.rmtree(home)
    again = server_of(home, settings, True, False).api
    assert again.store.votes(study) == votes != []
    assert again.join(study, body)["is_new"] == (not master)
    assert ("ROCM_STUDY_SECRET" in caplog.text) == (not master)
    again.store.close()


def test_odd_settings_are_one_sentence_that_tells_no_secret(tmp_path):
    both = {"DATABASE_URL": "postgresql://nowhere/x", "ROCM_BACKUP": str(tmp_path)}
    for settings, words in ((both, "both set"), ({"ROCM_STUDY_SECRET": "hunter2"}, "32 or more")):
        with pytest.raises(StudyError, match=words) as caught:
            server_of(tmp_path / "home", settings, True, False)
        assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_a_secret_that_is_there_stays_and_each_study_has_its_own(tmp_path):
    master = "0123456789abcdef" * 2
    kept = study_secret(tmp_path, "0" * 12)
    assert study_secret(tmp_path, "0" * 12, master) == kept
    assert len({kept, *(study_secret(tmp_path, one * 12, master) for one in "1234")}) == 5


def test_raters_who_come_at_once_get_the_same_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: study_secret(tmp_path, "0" * 12), range(200)))
    assert len(secrets) == 1


def test_votes_go_into_the_database_that_is_named(tmp_path, postgres):
    settings = {"DATABASE_URL": url(postgres, new_database(postgres))}
    store = server_of(tmp_path, settings, True, False).api.store
    assert fill(store) in str(store.studies())
    assert not (tmp_path / "study.sqlite3").exists()
    store.close()
