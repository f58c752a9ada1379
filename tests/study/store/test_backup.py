import os
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from rocm.cli.main import main
from rocm.errors import StoreUnavailable, StudyError
from rocm.study.archive.bin import DraftBin
from rocm.study.design import lifecycle
from rocm.study.store import backup as backups
from rocm.study.store.backup import Backup, open_store
from rocm.study.store.erase import erase
from rocm.study.store.restore import restore
from rocm.study.store.store import Store
from tests.study.small import STUDY, answers, config, fill, rater, work


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
    rater(store)
    assert (backup.status().num_unsaved, backup.status().error) == (0, "")
    assert_comes_back(store, bucket)


def test_a_deletion_that_no_snapshot_tells_loses_no_later_vote(
    store, disk, bucket, backup, monkeypatch, tmp_path
):
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    lifecycle.open_study(store, fill(store))
    with store.database.write() as w:
        lifecycle.insert_draft(w, "d" * 12, config(), store.stamp())
    token = rater(store)
    with monkeypatch.context() as patch:
        patch.setattr(backups, "_move", full)
        DraftBin(tmp_path / "home", store).put("d" * 12)
        work(store, token, most=2)
    was = store.votes(STUDY)
    lose(disk)
    with pytest.raises(StoreUnavailable):
        store.next_step(token)
    assert store.votes(STUDY) == was


@pytest.mark.parametrize("is_during_a_snapshot", [False, True])
def test_what_another_process_writes_is_saved_with_the_next_commit(
    is_during_a_snapshot, store, disk, bucket, backup, monkeypatch
):
    def write() -> None:
        other = Store.open(disk)
        fill(other)
        other.close()

    def write_and_move(source: Path, target: Path, move=backups._move) -> None:
        write()
        move(source, target)

    if is_during_a_snapshot:
        with monkeypatch.context() as patch:
            patch.setattr(backups, "_move", write_and_move)
            backup.snapshot()
    else:
        write()
    lifecycle.open_study(store, STUDY)
    assert_comes_back(store, bucket)


def _begin(together: Barrier) -> None:
    together.wait(60)


def _vote_and_copy(disk: Path, bucket: Path, token: str) -> list[str]:
    store, backup = open_store(disk, bucket)
    work(store, token)
    names = [backup.snapshot().name for _ in range(5)]
    assert backup.status().num_unsaved == 0
    store.close()
    return names


def test_processes_that_copy_at_once_lose_no_vote_and_no_snapshot(store, disk, bucket):
    lifecycle.open_study(store, fill(store))
    spawn = get_context("spawn")
    ready = {"initializer": _begin, "initargs": (spawn.Barrier(2),)}
    with ProcessPoolExecutor(2, mp_context=spawn, **ready) as pool:
        asked = [pool.submit(_vote_and_copy, disk, bucket, rater(store)) for _ in range(2)]
        names = [name for one in asked for name in one.result()]
    assert len(set(names)) == len(names)
    assert_comes_back(store, bucket)


def test_what_is_deleted_can_come_back_into_the_backup(store, bucket, tmp_path, backup):
    deleted = DraftBin(tmp_path / "home", store)
    fill(store)
    rater(store, "pilot")
    deleted.put(STUDY)
    deleted.take_out(STUDY)
    lifecycle.open_study(store, STUDY)
    assert_comes_back(store, bucket)


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


def copy(disk: Path, target: Path, parts: tuple[str, ...] = ("", "-wal", "-shm")) -> None:
    for part in parts:
        shutil.copy(f"{disk}{part}", f"{target}{part}")


WAYS = "absent empty without_rows older stale stale_and_empty half noise holed".split()


def lose_by(way: str, disk: Path, old: Path) -> None:
    """Lose a database in one of `WAYS`; `old` is an earlier copy of it."""
    if way == "half":
        os.truncate(disk, disk.stat().st_size // 2)
    elif way == "noise":
        disk.write_bytes(os.urandom(100_000))
    elif way == "holed":
        with open(disk, "rb+") as file:
            file.seek(8192)
            file.write(os.urandom(8192))
    else:
        lose(disk)
    if way == "without_rows":
        Store.open(disk).close()
    if way == "older":
        copy(old, disk)
    if way.startswith("stale"):
        copy(old, disk, ("-wal", "-shm"))
    if way.endswith("empty"):
        disk.touch()


@pytest.fixture
def lost(store, disk, bucket, backup, tmp_path):
    """A function that loses the database in a way of `WAYS`, or not; gives what was in it."""
    fill(store)
    old = tmp_path / "old.sqlite3"
    copy(disk, old)
    lifecycle.open_study(store, STUDY)
    work(store, rater(store), most=3)
    store.close()
    was = everything(disk)

    def by(way: str = "") -> list:
        if way:
            lose_by(way, disk, old)
        return was

    return by


@pytest.mark.parametrize(
    ("way", "by_command"), [(way, False) for way in WAYS] + [("absent", True), ("empty", True)]
)
def test_a_lost_database_comes_back_with_the_next_start_or_command(
    way, by_command, lost, disk, bucket, monkeypatch
):
    was = lost(way)
    if by_command:
        monkeypatch.setenv("ROCM_BACKUP", str(bucket))
        monkeypatch.setenv("ROCM_HOME", str(disk.parent))
        main(["study", "status"])
    else:
        again, _ = open_store(disk, bucket)
        again.close()
    assert everything(disk) == was


@pytest.mark.parametrize("way", ["without_rows", "older"])
def test_no_copy_of_a_lost_database_replaces_the_backup(way, lost, disk, bucket):
    lost(way)
    was = sorted(bucket.iterdir())
    again = Store.open(disk)
    for _ in range(4):
        with pytest.raises(StudyError, match="holds votes or studies"):
            Backup(again.database, bucket).start()
    again.close()
    assert sorted(bucket.iterdir()) == was


@pytest.mark.parametrize("way", ["absent", "empty", "older", "half", "noise"])
def test_a_loss_while_the_app_runs_refuses_votes_and_is_mended(way, disk, bucket, tmp_path):
    store, _ = open_store(disk, bucket)
    copy(disk, tmp_path / "old.sqlite3")
    lifecycle.open_study(store, fill(store))
    token = rater(store)
    work(store, token, most=2)
    was = store.votes(STUDY)
    lose_by(way, disk, tmp_path / "old.sqlite3")
    refusals = 0
    for _ in range(3):
        try:
            store.next_step(token)
        except StoreUnavailable as error:
            refusals += "Nothing was stored" in str(error)
    # What the connection still has in memory may hide the damage until a page is read.
    assert refusals == 1 or way in ("half", "noise")
    assert store.votes(STUDY) == was
    assert work(store, token) == 3
    store.close()
    assert_comes_back(store, bucket)


def test_a_loss_without_a_backup_refuses_every_vote(store, disk):
    lifecycle.open_study(store, fill(store))
    token = rater(store)
    disk.unlink()
    for act in (lambda: store.next_step(token), lambda: store.votes(STUDY)):
        with pytest.raises(StoreUnavailable, match="deleted, replaced or damaged"):
            act()
    assert not disk.exists()


def _emptied(bucket: Path) -> None:
    for file in bucket.iterdir():
        file.unlink()


def _snapshot_of_another_app(bucket: Path) -> None:
    shutil.copy(max(bucket.glob("snapshot-*")), bucket / "snapshot-000007.sqlite3")


@pytest.mark.parametrize("change", [_emptied, shutil.rmtree, _snapshot_of_another_app])
def test_votes_are_saved_although_the_folder_changes_while_the_app_runs(
    change, store, bucket, backup
):
    lifecycle.open_study(store, fill(store))
    token = rater(store)
    work(store, token, most=1)
    change(bucket)
    work(store, token, most=1)
    assert backup.status().num_unsaved == 0
    assert_comes_back(store, bucket)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_empty_snapshot_makes_no_empty_database(is_deleted, lost, disk, bucket):
    was = lost()
    for snapshot in bucket.glob("snapshot-*"):
        snapshot.unlink()
        if not is_deleted:
            snapshot.touch()
    assert restore(disk, bucket) == 0
    assert everything(disk) == was
    lose(disk)
    with pytest.raises(StudyError, match="no snapshot" if is_deleted else "is damaged"):
        open_store(disk, bucket)
    assert not disk.exists()


def test_votes_on_both_sides_are_kept_and_said(lost, disk, bucket):
    lost("older")
    again = Store.open(disk)
    lifecycle.open_study(again, STUDY)
    work(again, rater(again), most=1)
    again.close()
    was, saved = everything(disk), sorted(bucket.iterdir())
    with pytest.raises(StudyError, match="each hold votes"):
        restore(disk, bucket)
    assert (everything(disk), sorted(bucket.iterdir())) == (was, saved)


def test_a_rater_erased_without_the_backup_stays_erased(store, disk, bucket, backup):
    lifecycle.open_study(store, fill(store))
    work(store, rater(store))
    erase(store, STUDY, 1)
    store.close()
    again, _ = open_store(disk, bucket)
    assert again.votes(STUDY) == []
    again.close()


def test_a_command_that_reads_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "home"))
    assert main(["study", "status"]) == 2
    assert not (tmp_path / "home").exists()
