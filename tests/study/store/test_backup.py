import os
import sqlite3
from pathlib import Path

import pytest

from rocm.errors import StudyError
from rocm.study.archive.bin import DraftBin
from rocm.study.design import lifecycle
from rocm.study.store.backup import Backup, open_store, restore
from rocm.study.store.erase import erase
from rocm.study.store.store import Store
from tests.study.small import STUDY, answers, fill, rater, work


@pytest.fixture
def disk(tmp_path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "study.sqlite3"


@pytest.fixture
def bucket(tmp_path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def store(disk):
    opened = Store.open(disk)
    yield opened
    opened.close()


@pytest.fixture
def backup(store, bucket) -> Backup:
    started = Backup(store.database, bucket)
    started.start()
    return started


def everything(file: Path) -> list:
    connection = sqlite3.connect(file)
    names = "study pair rater block trial vote exclusion event".split()
    found = [connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names]
    connection.close()
    return found


def lose(disk: Path) -> None:
    for file in disk.parent.iterdir():
        file.unlink()


def assert_comes_back(store: Store, bucket: Path) -> None:
    """Closes the store, loses its disk, and finds all of it in the backup."""
    store.close()
    disk = Path(store.database.file)
    was = everything(disk)
    lose(disk)
    restore(disk, bucket)
    assert everything(disk) == was


def test_every_acknowledged_vote_is_there_after_the_disk_is_gone(store, disk, bucket, backup):
    lifecycle.open_study(store, fill(store))
    work(store, rater(store))
    store.withdraw(rater(store))
    backup.snapshot()
    work(store, rater(store), most=3)
    open_trial = rater(store)
    store.next_step(open_trial)
    assert_comes_back(store, bucket)
    again = Store.open(disk)
    assert work(again, open_trial) == 5
    again.close()


def test_a_new_disk_never_hides_the_votes(disk, bucket):
    votes = []
    for visit in range(3):
        store, backup = open_store(disk, bucket)
        if visit == 0:
            lifecycle.open_study(store, fill(store))
        work(store, rater(store), most=2)
        votes.append(len(store.votes(STUDY)))
        assert backup.status().num_unsaved == 0
        store.close()
        lose(disk)
    assert votes == [6, 12, 18]


def test_a_torn_last_line_is_left_out(store, bucket, backup):
    lifecycle.open_study(store, fill(store))
    with open(max(bucket.glob("journal-*")), "ab") as newest:
        newest.write(b'[["vote", {"id"')
    assert_comes_back(store, bucket)


def test_what_cannot_be_saved_is_counted_and_saved_later(store, bucket, monkeypatch, backup):
    lifecycle.open_study(store, fill(store))
    token = rater(store)
    trial = store.next_step(token).trial

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        store.submit(token, trial.public_id, answers())
    status = backup.status()
    assert (status.num_unsaved, "No space left" in status.error) == (3, True)
    store.next_step(token)
    assert (backup.status().num_unsaved, backup.status().error) == (0, "")
    assert_comes_back(store, bucket)


def test_what_another_process_wrote_is_saved_with_the_next_commit(store, disk, bucket, backup):
    other = Store.open(disk)
    fill(other)
    other.close()
    lifecycle.open_study(store, STUDY)
    assert_comes_back(store, bucket)


def test_what_is_deleted_can_come_back_into_the_backup(store, bucket, tmp_path, backup):
    deleted = DraftBin(tmp_path / "home", store)
    fill(store)
    rater(store, "pilot")
    deleted.put(STUDY)
    deleted.take_out(STUDY)
    lifecycle.open_study(store, STUDY)
    assert_comes_back(store, bucket)


def test_an_erased_rater_is_in_no_backup(store, bucket, backup):
    lifecycle.open_study(store, fill(store))
    token = store.join(STUDY, "prolific", ext_hmac="ab" * 32).token
    store.consent(token, "1")
    work(store, token)
    assert any(b"ab" * 32 in file.read_bytes() for file in bucket.iterdir())
    erase(store, STUDY, 1)
    backup.forget_the_past()
    assert not any(b"ab" * 32 in file.read_bytes() for file in bucket.iterdir())


def test_a_damaged_snapshot_is_said_and_a_database_that_is_there_is_kept(
    store, disk, bucket, backup
):
    fill(store)
    store.close()
    was = everything(disk)
    assert restore(disk, bucket) == 0
    assert everything(disk) == was
    lose(disk)
    snapshot = max(bucket.glob("snapshot-*"))
    content = bytearray(snapshot.read_bytes())
    content[8192:12288] = os.urandom(4096)
    snapshot.write_bytes(content)
    with pytest.raises(StudyError, match="is damaged"):
        restore(disk, bucket)
