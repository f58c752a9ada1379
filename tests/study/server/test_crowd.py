"""Twenty raters at once over real sockets, every vote sent three times: nothing lost or doubled."""

import asyncio
import shutil
import socket
import threading
from collections import Counter as Tally

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select

from rocm.study.design import lifecycle
from rocm.study.server.api import Api
from rocm.study.server.app import Server, alone
from rocm.study.server.limits import Counter, Limit, Limits
from rocm.study.store import tables
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from tests.study.server.conftest import fill
from tests.study.small import QUESTIONS, STUDY

NUM_RATERS = 20
WIDE = Limit(1e9, 1e9)


@pytest.fixture
def crowd_store(empty_store, tmp_path):
    store = Store.open(shutil.copy(empty_store, tmp_path / "study.sqlite3"))
    fill(store, tmp_path / "pictures", num_pairs=12, votes_per_pair=5, main_per_rater=3)
    lifecycle.open_study(store, STUDY)
    yield store
    store.close()


@pytest.fixture
def address(crowd_store, tmp_path):
    counter = Counter(Limits(WIDE, WIDE, WIDE, WIDE))
    api = Api(crowd_store, tmp_path / "secrets", counter=counter)
    app = alone(Server(api, Pictures(tmp_path / "pictures")), [])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        options = {"log_level": "error", "access_log": False, "lifespan": "off"}
        server = uvicorn.Server(uvicorn.Config(app, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/study/api/"
        server.should_exit = True
        thread.join()


async def visit(client):
    """One rater's work; returns the trials that were acknowledged."""
    token = (await client.post(f"{STUDY}/join", json={"source": "link"})).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}

    async def post(path, **body):
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    await post("consent", version="1")
    acknowledged, step = [], await post("trial")
    while step["trial"]:
        trial = step["trial"]["id"]
        answers = {one["key"]: {"side": "left", "rt_ms": 900} for one in QUESTIONS}
        body = {"trial": trial, "answers": answers}
        steps = await asyncio.gather(*(post("vote", **body) for _ in range(3)))
        acknowledged.append(trial)
        following = {one["trial"] and one["trial"]["id"] for one in steps}
        assert len(following) == 1, "three answers to one vote opened different trials"
        step = steps[0]
    assert step["progress"]["status"] == "complete"
    return acknowledged


async def everybody(address):
    limits = httpx.Limits(max_connections=3 * NUM_RATERS)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        return await asyncio.gather(*(visit(client) for _ in range(NUM_RATERS)))


def test_twenty_raters_at_once_lose_and_double_nothing(address, crowd_store):
    acknowledged = [trial for one in asyncio.run(everybody(address)) for trial in one]
    assert len(acknowledged) == NUM_RATERS * 5  # practice, three pairs, a check
    with crowd_store.database.read() as connection:
        rows = connection.execute(
            select(tables.trial.c.public_id, func.count())
            .join(tables.vote, tables.vote.c.trial_id == tables.trial.c.id)
            .group_by(tables.trial.c.public_id)
        ).all()
        issued = connection.execute(select(tables.pair.c.issued, tables.pair.c.kind)).all()
    assert Tally(acknowledged) == Tally(public_id for public_id, _ in rows)
    assert {count for _, count in rows} == {len(QUESTIONS)}
    assert [row.issued for row in issued if row.kind == "main"] == [5] * 12
