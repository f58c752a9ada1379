"""Connections that send nothing shut nobody out, and cannot fill the log."""

import logging
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rocm.study.server.connections import Bounded, Bounds, guarded


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


@contextmanager
def served(bounds: Bounds):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    app = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])])
    config = uvicorn.Config(app, port=port, http=guarded(bounds), log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


def connected(port: int, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
    one.sendall(sent)
    return one


def is_answered(port: int, source: str) -> bool:
    with connected(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", source) as one:
        return one.recv(100).startswith(b"HTTP/1.1 200")


def num_closed(sockets: list[socket.socket]) -> int:
    closed = 0
    for one in sockets:
        one.setblocking(False)
        try:
            closed += one.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            closed += 1
    return closed


HALVES = [
    b"",
    b"GET / HTTP/1.1\r\nHo",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx",
]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("bounds", [Bounds(per_address=10), Bounds(in_all=10)])
def test_many_idle_connections_shut_nobody_out(half, bounds):
    with served(bounds) as port:
        idle = [connected(port, half) for _ in range(40)]
        assert is_answered(port, "127.0.0.2")
        assert is_answered(port, "127.0.0.1")
        time.sleep(0.2)
        assert num_closed(idle) >= 30
        for one in idle:
            one.close()


@pytest.mark.parametrize("half", HALVES)
def test_a_request_that_does_not_arrive_is_not_waited_for(half):
    with served(Bounds(patience_s=0.4)) as port, connected(port, half) as idle:
        idle.settimeout(5)
        with suppress(ConnectionResetError):
            assert idle.recv(1) == b""


def test_the_log_is_bounded_and_says_what_it_left_out(caplog):
    now = [0.0]
    log = logging.getLogger("flooded")
    log.addFilter(Bounded(5, lambda: now[0]))
    for _ in range(1000):
        log.warning("again")
    assert len(caplog.records) == 5
    now[0] = 61
    log.warning("later")
    assert caplog.messages[-1] == "later (995 lines before were left out)"
