"""The vote server over a home folder: its database, pictures, secrets, and who may come in."""

from pathlib import Path

from rocm.study.pictures import Pictures
from rocm.study.store import Store
from rocm.web.api import FROM_OUTSIDE, Api
from rocm.web.server import Server

IN_LAB = ("local", "simulated")


def server_of(home: Path, database_url: str, is_private: bool, is_space: bool) -> Server:
    """Open the store of a home.

    Args:
        home: folder of everything; made if absent.
        database_url: of a PostgreSQL database; empty for the home's SQLite file.
        is_private: only this machine can reach the server, so simulated raters may come in too.
        is_space: a Space's proxy stands in front.

    Returns:
        What answers raters. Its store is closed by whoever asked for it.

    Raises:
        StudyError: the database cannot be used.
    """
    home.mkdir(parents=True, exist_ok=True)
    store = Store.open(database_url or home / "study.sqlite3")
    sources = FROM_OUTSIDE + (IN_LAB if is_private else ())
    api = Api(store, home / "study-secrets", sources)
    return Server(api, Pictures(home / "study-pictures"), is_proxied=is_space)
