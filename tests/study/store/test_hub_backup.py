"""Votes whose only lasting copy is a dataset repository of the hub; the hub is a local server."""

import time
from itertools import count

import pytest

from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.study.design import lifecycle
from rocm.study.store.backup import forget_the_past, open_store
from rocm.study.store.erase import erase
from tests.study.conftest import PLACE
from tests.study.small import STUDY, fill, rater, wait_until, work


@pytest.fixture
def disks(tmp_path):
    """Gives the file of votes on one new, empty disk after the other."""

    def new():
        for number in count():
            folder = tmp_path / f"disk-{number}"
            folder.mkdir()
            yield folder / "study.sqlite3"

    return new()


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


@pytest.mark.parametrize("is_on_hub", [True, False])
def test_an_erased_rater_is_in_no_file_and_no_history_of_a_backup(is_on_hub, hub, disks, tmp_path):
    folder = hub.folders["datasets/me/votes"] if is_on_hub else tmp_path / "bucket"
    place = PLACE if is_on_hub else str(folder)
    store, backup = open_store(next(disks), place)
    lifecycle.open_study(store, fill(store))
    work(store, rater(store, "prolific", ext_hmac="ab" * 32))
    wait_until(lambda: backup.status().num_unsaved == 0)
    before = hub.squashed
    assert any(b"ab" * 32 in one.read_bytes() for one in folder.iterdir())
    erase(store, STUDY, 1)
    forget_the_past(store.database, place)
    assert not any(b"ab" * 32 in one.read_bytes() for one in folder.iterdir())
    assert hub.squashed > before or not is_on_hub
    store.close()


def test_a_copy_that_cannot_be_made_stops_the_start(hub, disks):
    hub.refusal = (403, b"")
    with pytest.raises(MissingFile, match="me/votes"):
        open_store(next(disks), PLACE)
    for place in ("hf://buckets/me/votes", "hf://datasets/votes", "hf://datasets/me/votes@main"):
        with pytest.raises(ConfigError, match="hf://datasets/OWNER/NAME"):
            open_store(next(disks), place)


@pytest.mark.parametrize("place", ["s3://bucket/votes", "hf:/datasets/a/b", "HF://datasets/a/b"])
def test_an_address_of_another_kind_becomes_no_folder(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    was = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudyError, match="neither a folder nor"):
        open_store(tmp_path / "study.sqlite3", place)
    assert sorted(tmp_path.rglob("*")) == was
