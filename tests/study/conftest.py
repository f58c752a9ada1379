"""Stores on both databases, and a small study in them.

The PostgreSQL server is started once a session in a temporary folder, reachable by its socket only.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from huggingface_hub import constants

from rocm.study.design import lifecycle
from rocm.study.store import backup as backups
from rocm.study.store.store import Store
from tests.hub_server import Hub, serving
from tests.study.small import STUDY, fill

PLACE = "hf://datasets/me/votes"


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


def postgres_bin() -> Path:
    found = shutil.which("initdb") or next(
        iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
    )
    if found is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    return Path(found).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Folder of the socket of a running server; user `postgres`, no password."""
    binaries = postgres_bin()
    # The server refuses to run as root, and a socket's path must be short.
    who = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if who:
        shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "log"
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "check": True, **who}
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--no-sync"], **quiet)
    options = f"-k {folder} -c listen_addresses='' -c max_connections=200 -c fsync=off"
    options += " -c full_page_writes=off -c autovacuum=off"
    start = [binaries / "pg_ctl", "-D", data, "-o", options, "-w", "-t", "120", "-l", log]
    subprocess.run([*start, "start"], **quiet)
    try:
        yield str(folder)
    finally:
        subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder)


def new_database(socket: str, template: str = "template0") -> str:
    """Name of a new database."""
    name = f"votes_{os.urandom(6).hex()}"
    with psycopg.connect(host=socket, user="postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def url(socket: str, name: str) -> str:
    return f"postgresql://postgres@/{name}?host={socket}"


@pytest.fixture(scope="session")
def templates(tmp_path_factory) -> dict[str, str | Path]:
    """Databases with tables, made when first needed, to be copied by each test."""
    return {"sqlite": tmp_path_factory.mktemp("template") / "study.sqlite3"}


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def dialect(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def empty(dialect, request, tmp_path_factory) -> Callable[[], str | Path]:
    """Makes an empty database, without tables; gives its address."""
    if dialect == "sqlite":
        return lambda: tmp_path_factory.mktemp("votes") / "study.sqlite3"
    socket = request.getfixturevalue("postgres")
    return lambda: url(socket, new_database(socket))


@pytest.fixture(scope="module")
def fresh(dialect, request, templates, tmp_path_factory) -> Callable[[], str | Path]:
    """Makes a database with tables and no rows; gives its address."""
    if dialect == "sqlite":
        if not templates["sqlite"].exists():
            Store.open(templates["sqlite"]).close()
        folder = tmp_path_factory.mktemp("votes")
        names = (folder / f"{number}.sqlite3" for number in itertools.count())
        return lambda: Path(shutil.copy(templates["sqlite"], next(names)))
    socket = request.getfixturevalue("postgres")
    if "postgresql" not in templates:
        templates["postgresql"] = new_database(socket)
        Store.open(url(socket, templates["postgresql"])).close()
    return lambda: url(socket, new_database(socket, templates["postgresql"]))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(fresh, clock) -> Iterator[Store]:
    opened = Store.open(fresh(), clock)
    yield opened
    opened.close()


@pytest.fixture
def study(store) -> str:
    """An open study: 6 main pairs of 2 votes each, 4 blocks of practice, 3 main pairs, a check."""
    lifecycle.open_study(store, fill(store))
    return STUDY


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """A hub with an empty repository at `PLACE`, at the address that the library asks."""
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
