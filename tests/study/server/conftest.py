"""A small open study with pictures, and its vote server."""

import resource
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select
from starlette.testclient import TestClient

from rocm.study.design import lifecycle
from rocm.study.server.api import Api
from rocm.study.server.app import Server, alone
from rocm.study.server.limits import Counter, Limits
from rocm.study.store.pictures import Pictures, encoded
from rocm.study.store.tables import image
from tests.study import small
from tests.study.small import STUDY

CONSENT = {
    "version": "1", "contact": "study@example.org", "min_age": 18, "ethics": "EC-2026-1",
    "text": "You will see pairs of pictures.\n\nYou may stop at any time.",
    "pay": "3.00 GBP", "retention": "Votes are kept for ten years.",
}  # fmt: skip
TEXTS = {
    "consent": CONSENT,
    "instructions": "Look at both pictures.\n\nThen answer.",
    "completion_url": "https://app.prolific.com/submissions/complete?cc=C0DE",
    "screen_out_url": "https://app.prolific.com/submissions/complete?cc=NOPE",
}


@pytest.fixture(scope="module")
def dialect():
    """The server asks nothing of a database but through the store, which has tests on both."""
    return "sqlite"


def draw(store, folder):
    """A picture for every image row: colors tell which is which, as arms' looks would."""
    pictures = Pictures(folder)
    with store.database.write() as w:
        for row in w.execute(select(image.c.picture_id, image.c.id)).all():
            shade = (row.id * 37 % 256, row.id * 91 % 256, 128)
            content = encoded(Image.new("RGB", (64, 64), shade))
            pictures.put(row.picture_id, content)
            w.update(image, image.c.id == row.id, sha256=sha256(content).hexdigest())


def fill(store, folder, texts=None, **design):
    """A draft with pictures; `texts` replace parts of the configuration."""
    small.fill(store, settings=TEXTS | (texts or {}), **design)
    draw(store, folder)


@contextmanager
def full_disk(store):
    """No file of this process may grow beyond what the database's journal is now."""
    size = Path(f"{store.database.file}-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def stored_bytes(store):
    """Everything that the database's files hold."""
    file = store.database.file
    return b"".join(part.read_bytes() for part in file.parent.glob(f"{file.name}*"))


@pytest.fixture
def study(store, tmp_path):
    """Six main pairs of two votes; a rater has a practice pair, three of those, and a check."""
    fill(store, tmp_path / "pictures")
    lifecycle.open_study(store, STUDY)
    return STUDY


@pytest.fixture
def serve(store, tmp_path):
    """Makes a client of a server over the store."""

    def start(limits=None, is_proxied=False, **options):
        options["counter"] = Counter(limits or Limits(), lambda: 0.0)
        api = Api(store, tmp_path / "secrets", **options)
        server = Server(api, Pictures(tmp_path / "pictures"), is_proxied)
        return TestClient(alone(server, ()), base_url="http://127.0.0.1")

    return start


@pytest.fixture
def client(serve, study):
    return serve()


class Visitor:
    """A rater who speaks to the API as the page does."""

    def __init__(self, client, source="link", **identity):
        self.client, self.headers = client, {}
        self.token = self.step(f"{STUDY}/join", source=source, **identity)["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def post(self, path, **body):
        return self.client.post(f"/study/api/{path}", json=body, headers=self.headers)

    def get(self, path):
        return self.client.get(f"/study/api/{path}", headers=self.headers)

    def step(self, path, **body):
        answer = self.post(path, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def agree(self):
        return self.step("consent", version="1")

    def vote(self, trial, **more):
        given = {one["key"]: {"side": "left", "rt_ms": 1500} for one in small.QUESTIONS}
        return self.step("vote", trial=trial["id"], answers=given, **more)

    def work(self):
        """Answer until nothing is left; returns the last step."""
        step = self.step("trial")
        while step["trial"]:
            step = self.vote(step["trial"])
        return step


@pytest.fixture
def visitor(client):
    one = Visitor(client)
    one.agree()
    return one
