"""A body larger than the page ever sends is not read, whatever it says of its size."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from rocm.ui.middleware import body_limit


@pytest.fixture
def served():
    """A client of an application that reads whole bodies, and the sizes that it has read."""
    sizes = []

    async def read(request):
        sizes.append(len(await request.body()))
        return PlainTextResponse("read")

    app = Starlette(
        routes=[Route("/", read, methods=["GET", "POST"])], middleware=[body_limit(1000)]
    )
    return TestClient(app, raise_server_exceptions=False), sizes


def test_a_body_within_the_limit_is_read(served):
    client, sizes = served
    assert client.get("/").status_code == 200
    assert client.post("/", content=b"x" * 1000).status_code == 200
    assert client.post("/", content=iter([b"x" * 600, b"x" * 400])).status_code == 200
    assert sizes == [0, 1000, 1000]


@pytest.mark.parametrize("size", ["1001", "9" * 5000, "-1", "x"])
def test_a_size_beyond_the_limit_is_refused_in_a_sentence(served, size):
    client, sizes = served
    answer = client.post("/", content=iter([b"x"]), headers={"Content-Length": size})
    assert (answer.status_code, sizes) == (413, [])
    assert answer.text == "The request is larger than 1000 bytes. Send less."


def test_a_body_that_tells_no_size_is_given_up_at_the_limit(served):
    client, sizes = served
    sent = []

    def parts():
        for number in range(50):
            sent.append(number)
            yield b"x" * 100

    answer = client.post("/", content=parts())
    assert answer.status_code != 200
    assert sizes == []
