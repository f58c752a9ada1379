import asyncio
import base64
import socket
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from anyio import CapacityLimiter

from rocm.study.server.api import Api
from rocm.study.server.app import Server, alone
from rocm.study.server.login import Login
from rocm.study.store import tables
from rocm.study.store.identity import external_hmac, study_secret
from rocm.study.store.invitations import invite
from rocm.study.store.pictures import Pictures
from tests.study.server.conftest import Visitor, stored_bytes
from tests.study.server.oauth_provider import CLIENT, NAME, provider
from tests.study.server.test_api import JOIN, refused
from tests.study.small import STUDY, column, count

PLACE = "https://someone-space.hf.space/study"
VERIFIER = "v" * 43
GUESS = {"code": "c", "verifier": VERIFIER}


@pytest.fixture
def hub():
    with provider() as one:
        yield one


@pytest.fixture
def with_login(serve, study, hub):
    return serve(login=Login(hub.address, *CLIENT, PLACE))


def code_of(client, hub):
    """What the provider sends back with a rater who logs in as the page does."""
    url = client.post(f"/study/api/{STUDY}/login", json={}).json()["url"]
    challenge = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = f"{urlsplit(url).query}&state=s&code_challenge={challenge}&code_challenge_method=S256"
    back = hub.authorize(asked)
    assert back.startswith(f"{PLACE}/{STUDY}?code=")
    return parse_qs(urlsplit(back).query)["code"][0]


def test_who_logs_in_is_known_by_a_keyed_hash_and_nothing_else(with_login, hub, store, tmp_path):
    login = {"code": code_of(with_login, hub), "verifier": VERIFIER}
    rater = Visitor(with_login, "hf", login=login)
    rater.agree()
    assert rater.step("trial")["trial"]
    hashed = external_hmac(study_secret(tmp_path / "secrets", STUDY), "hf", hub.subject)
    assert column(store, tables.rater.c.ext_hmac) == [hashed]
    assert column(store, tables.rater.c.source) == ["hf"]
    assert count(store, tables.payment) == 0
    for word in (hub.subject, NAME, *hub.tokens):
        assert word.encode() not in stored_bytes(store)


def test_a_code_is_worth_nothing_twice_or_to_another_visit(with_login, hub, store):
    code = code_of(with_login, hub)
    stolen = {"source": "hf", "login": {"code": code, "verifier": "w" * 43}}
    refused(with_login.post(JOIN, json=stolen), 403, "login_failed")
    own = {"source": "hf", "login": {"code": code_of(with_login, hub), "verifier": VERIFIER}}
    assert with_login.post(JOIN, json=own).status_code == 200
    refused(with_login.post(JOIN, json=own), 403, "login_failed")
    assert count(store, tables.rater) == 1


@pytest.mark.parametrize("body", [{"source": "hf"}, {"source": "link", "login": GUESS}])
def test_nobody_comes_in_by_saying_hf(with_login, hub, store, body):
    refused(with_login.post(JOIN, json=body), 400, "refused")
    assert hub.asked == []
    assert count(store, tables.rater) == 0


def test_without_a_login_the_source_is_closed(client, store):
    refused(client.post(JOIN, json={"source": "hf", "login": GUESS}), 400, "refused")
    refused(client.post(f"/study/api/{STUDY}/login", json={}), 400, "refused")
    assert count(store, tables.rater) == 0


def test_a_provider_that_is_away_is_said_to_be(serve, study):
    with provider() as gone:
        address = gone.address
    client = serve(login=Login(address, *CLIENT, PLACE))
    refused(client.post(f"/study/api/{STUDY}/login", json={}), 503, "unavailable")


def test_no_vote_waits_for_a_provider_that_does_not_answer(store, study, tmp_path, monkeypatch):
    monkeypatch.setattr("rocm.study.server.login.TIMEOUT_S", 300)

    body = {"source": "hf", "login": GUESS}

    async def visit(silent):
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        api = Api(store, tmp_path / "secrets", login=Login(address, *CLIENT, PLACE))
        pictures = Pictures(tmp_path / "pictures")
        server = Server(api, pictures, threads=CapacityLimiter(1), logins=CapacityLimiter(1))
        transport = httpx.ASGITransport(alone(server, []))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            late = [asyncio.create_task(client.post(JOIN, json=body)) for _ in range(3)]
            line, _ = await asyncio.to_thread(silent.accept)
            answer = await asyncio.wait_for(client.get(f"/study/api/{STUDY}"), 60)
            is_waiting = not any(one.done() for one in late)
            for one in late:
                one.cancel()
            line.close()
        return answer.status_code, is_waiting

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(visit(silent)) == (200, True)


def test_an_invitation_is_one_rater(client, store):
    codes = invite(store, STUDY, 2)
    raters = [Visitor(client, "invite", external_id=code) for code in codes]
    raters[0].agree()
    raters[0].vote(raters[0].step("trial")["trial"])
    again = Visitor(client, "invite", external_id=codes[0])
    assert again.get("progress").json()["progress"]["num_done"] == 1
    assert raters[0].get("progress").status_code == 401
    assert count(store, tables.rater) == 2


@pytest.mark.parametrize("body", [{"source": "link"}, {"source": "prolific", "external_id": "x"}])
def test_a_study_with_invitations_takes_nobody_else_but_pilots(client, store, body):
    assert client.post(JOIN, json=body).status_code == 200
    invite(store, STUDY, 1)
    for refusal in (body, {"source": "invite", "external_id": "A" * 22}):
        refused(client.post(JOIN, json=refusal), 403, "not_invited")
    refused(client.post(JOIN, json={"source": "demo"}), 400, "refused")
    assert client.post(JOIN, json={"source": "pilot"}).status_code == 200
