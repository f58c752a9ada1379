"""Votes whose only lasting copy is a dataset repository of the hub; the hub is a local server."""

import time
from itertools import count

import pytest
from huggingface_hub import constants

from rocm.errors import ConfigError, MissingFile
from rocm.study.design import lifecycle
from rocm.study.store import backup as backups
from rocm.study.store.backup import forget_the_past, open_store
from rocm.study.store.erase import erase
from tests.hub_server import serving
from tests.study.small import STUDY, fill, rater, work

PLACE = "hf://datasets/me/votes"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with an empty repository, at the address that the library asks."""
    with serving() as hub:
        folder = tmp_path / "hub"
        folder.mkdir()
        hub.folders["datasets/me/votes"] = folder
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(backups, "COPY_EVERY_S", 0.05)
        yield hub


@pytest.fixture
def disks(tmp_path):
    """Gives the file of votes on one new, empty disk after the other."""

    def new():
        for number in count():
            folder = tmp_path / f"disk-{number}"
            folder.mkdir()
            yield folder / "study.sqlite3"

    return new()


def wait_until(is_so):
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_votes_are_saved_once_the_hub_has_them_and_come_back_from_there(hub, disks):
    store, backup = open_store(next(disks), PLACE)
    lifecycle.open_study(store, fill(store))
    hub.refusal = (403, b"")
    work(store, rater(store))
    wait_until(lambda: "403" in backup.status().error)
    votes = store.votes(STUDY)
    assert (backup.status().num_saved, backup.status().num_unsaved) == (0, len(votes))
    hub.refusal = None
    wait_until(lambda: backup.status().num_unsaved == 0)
    assert (backup.status().num_saved, backup.status().error) == (len(votes), "")
    store.close()
    again, _ = open_store(next(disks), PLACE)
    assert again.votes(STUDY) == votes != []
    work(again, rater(again))
    again.close()


def test_what_the_hub_did_not_take_is_lost_with_the_disk_and_was_never_called_saved(hub, disks):
    store, backup = open_store(next(disks), PLACE)
    lifecycle.open_study(store, fill(store))
    work(store, rater(store), most=1)
    wait_until(lambda: backup.status().num_unsaved == 0)
    saved = store.votes(STUDY)
    hub.refusal = (403, b"")
    work(store, rater(store), most=1)
    assert backup.status().num_unsaved == len(store.votes(STUDY)) - len(saved) > 0
    wait_until(lambda: backup.status().error)
    backup.hub = None  # the process is gone: nothing is sent any more
    time.sleep(1)  # and what was on its way has been refused
    hub.refusal = None
    again, _ = open_store(next(disks), PLACE)
    assert again.votes(STUDY) == saved
    again.close()


def test_an_erased_rater_is_in_no_file_and_no_history_of_the_hub(hub, disks):
    file = next(disks)
    store, backup = open_store(file, PLACE)
    lifecycle.open_study(store, fill(store))
    token = store.join(STUDY, "prolific", ext_hmac="ab" * 32).token
    store.consent(token, "1")
    work(store, token)
    wait_until(lambda: backup.status().num_unsaved == 0)
    folder, before = hub.folders["datasets/me/votes"], hub.squashed
    assert any(b"ab" * 32 in one.read_bytes() for one in folder.iterdir())
    erase(store, STUDY, 1)
    forget_the_past(store.database, PLACE)
    assert not any(b"ab" * 32 in one.read_bytes() for one in folder.iterdir())
    assert hub.squashed > before
    store.close()


def test_a_copy_that_cannot_be_made_stops_the_start(hub, disks):
    hub.refusal = (403, b"")
    with pytest.raises(MissingFile, match="me/votes"):
        open_store(next(disks), PLACE)
    for place in ("hf://buckets/me/votes", "hf://datasets/votes", "hf://datasets/me/votes@main"):
        with pytest.raises(ConfigError, match="hf://datasets/OWNER/NAME"):
            open_store(next(disks), place)
