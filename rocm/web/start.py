"""The vote server over a home folder: its database, pictures, secrets, and who may come in."""

from pathlib import Path

from rocm.errors import StudyError
from rocm.study.backup import open_store
from rocm.study.pictures import Pictures
from rocm.study.store import Store
from rocm.web.api import FROM_OUTSIDE, Api
from rocm.web.login import Login
from rocm.web.server import Server

IN_LAB = ("local", "simulated")


def server_of(
    home: Path,
    database_url: str,
    is_private: bool,
    is_proxied: bool,
    backup: str = "",
    login: Login | None = None,
) -> Server:
    """Open the store of a home.

    Args:
        home: folder of everything; made if absent.
        database_url: of a PostgreSQL database; empty for the home's SQLite file.
        is_private: only this machine can reach the server, so simulated raters may come in too.
        is_proxied: a proxy in front adds visitors' addresses, as a Space's does.
        backup: folder that outlives the home's disk, from which its votes are restored where they
            are gone and to which every commit goes; empty for none.
        login: at Hugging Face; None for none.

    Returns:
        What answers raters. Its store is closed by whoever asked for it.

    Raises:
        StudyError: the database or the backup cannot be used.
    """
    if backup and database_url:
        raise StudyError(
            "ROCM_BACKUP and DATABASE_URL are both set, but PostgreSQL keeps its own journal. "
            "Unset one of them."
        )
    home.mkdir(parents=True, exist_ok=True)
    file = home / "study.sqlite3"
    kept = None
    if backup:
        store, kept = open_store(file, Path(backup))
    else:
        store = Store.open(database_url or file)
    sources = FROM_OUTSIDE + (IN_LAB if is_private else ())
    api = Api(store, home / "study-secrets", sources, login=login)
    return Server(api, Pictures(home / "study-pictures"), is_proxied, backup=kept)
