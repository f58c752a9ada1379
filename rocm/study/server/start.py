"""The vote server over a home: a `lab`, for training and looking, or a `study`, for raters."""

import logging
from collections.abc import Mapping
from pathlib import Path

from rocm.errors import ConfigError, StudyError
from rocm.study.server.api import FROM_OUTSIDE, Api, Saving
from rocm.study.server.app import Server
from rocm.study.server.login import Login
from rocm.study.store.backup import Backup, NoBackup, open_store
from rocm.study.store.identity import checked_master
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store

KEPT = ("DATABASE_URL", "ROCM_BACKUP", "ROCM_STUDY_SECRET", "SPACE_ID")
NO_SECRET = (
    "ROCM_BACKUP is set without ROCM_STUDY_SECRET: after the loss of the disk votes come back, but "
    "raters who were invited, logged in or came from Prolific would come as new ones."
)
ERASED = (
    "Votes on this Space are lost when it restarts. Set ROCM_BACKUP to the folder of a mounted "
    "bucket or to hf://datasets/OWNER/NAME, or DATABASE_URL."
)
log = logging.getLogger(__name__)
IN_LAB = ("local", "simulated")


def server_of(
    home: Path,
    settings: Mapping[str, str],
    is_private: bool,
    is_proxied: bool,
    login: Login | None = None,
) -> Server:
    """Open the store of a home, which is made if absent; the caller closes the store.

    `settings` are values of `KEPT`, empty for none; the disk of a Space does not last. With
    `is_private` only this machine can reach the server, so simulated raters may come in too;
    `is_proxied`: a proxy adds visitors' addresses.
    """
    database_url, backup, master, space = (settings.get(name, "") for name in KEPT)
    master = checked_master(master)
    if backup and database_url:
        raise StudyError(
            "ROCM_BACKUP and DATABASE_URL are both set, but PostgreSQL keeps its own journal. "
            "Unset one of them."
        )
    if backup and not master:
        log.warning(NO_SECRET)
    home.mkdir(parents=True, exist_ok=True)
    file = home / "study.sqlite3"
    kept: Backup | NoBackup | None = None
    if backup:
        store, kept = open_store(file, backup)
    else:
        store = Store.open(database_url or file)
    if space and not (backup or database_url):
        kept = NoBackup(store.database)
        log.warning(ERASED)
    sources = FROM_OUTSIDE + (IN_LAB if is_private else ())
    saving = Saving(kept)
    api = Api(store, home / "study-secrets", sources, login=login, master=master, saving=saving)
    return Server(api, Pictures(home / "study-pictures"), is_proxied, backup=kept)


MODES = ("lab", "study")


def chosen_mode(given: str, is_private: bool) -> str:
    """The given mode; if empty, `lab` on a private server and `study` on others."""
    if given and given not in MODES:
        allowed = " or ".join(MODES)
        raise ConfigError(f"ROCM_MODE={given!r} is not allowed: {allowed}, or leave it out.")
    return given or ("lab" if is_private else "study")


def is_for_one(mode: str, is_local: bool, *ways_in: object) -> bool:
    """Whether only this machine's user reaches the server: a local lab without other `ways_in`."""
    return mode == "lab" and is_local and not any(ways_in)
