"""Which requests are accepted: from the page itself, under a name of this app, and not too large.

A foreign page can send requests to any address, and by DNS rebinding give its own name to this
machine. `Origin` reveals the first, `Host` the second; browsers let no page change either. Gradio
reads a whole body into memory, so larger bodies than the page ever sends are refused.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rocm.ui.access import is_loopback

READING = ("GET", "HEAD", "OPTIONS")
HOW_TO_ALLOW = "If it is your own, add its name to ROCM_ALLOWED_HOSTS where the app starts."


@dataclass(frozen=True)
class Hosts:
    """Names of the app."""

    names: frozenset[str] = field(default_factory=frozenset)  # lower case, without port
    is_checked: bool = True  # whether requests for other names are refused

    def refusal(self, method: str, host: str, origin: str | None) -> str:
        """Why a request is refused, and what to do; empty if it is accepted.

        `host` and `origin` are the headers; programs send no origin.
        """
        if self.is_checked and not self._is_own(host):
            return f"This app does not go by the name {host[:100]!r}. {HOW_TO_ALLOW}"
        if method in READING or origin is None or self._is_same(origin, host):
            return ""
        return f"A page of {origin[:100]!r} may not change anything here. {HOW_TO_ALLOW}"

    def _is_own(self, host: str) -> bool:
        name = _name(host)
        return bool(name) and (name in self.names or is_loopback(name))

    def _is_same(self, origin: str, host: str) -> bool:
        place = origin.lower().partition("://")[2]
        return bool(place) and (place == host.lower() or _name(place) in self.names)


def hosts(host: str, is_space: bool, allowed: Iterable[str]) -> Hosts:
    """The names to check, on a loopback address or if there are allowed names.

    Not on a Hugging Face Space, which checks its names itself.
    """
    names = frozenset(name.strip().lower() for name in allowed) - {""}
    return Hosts(names, is_checked=not is_space and (bool(names) or is_loopback(host)))


def same_host(rule: Hosts) -> Middleware:
    """The rule as middleware of an ASGI application."""
    return Middleware(_SameHost, rule)


class _SameHost:
    def __init__(self, app: ASGIApp, rule: Hosts) -> None:
        self._app, self._rule = app, rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = ""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            # Opening a WebSocket is a GET, but lets the page send whatever it wants afterwards.
            method = scope.get("method", "POST")
            refusal = self._rule.refusal(method, headers.get("host", ""), headers.get("origin"))
        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _name(host: str) -> str:
    """The name in `name:port`; empty where it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


# Gradio's ways to send a file and to call a handler without the page, which the page never uses.
CLOSED = re.compile(r"(/gradio_api)?/(upload|upload_progress|call|run|api)(/.*)?")


def only_the_page() -> Middleware:
    """Middleware that refuses uploads, and calls of handlers from outside the page."""
    return Middleware(_OnlyThePage)


class _OnlyThePage:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and CLOSED.fullmatch(scope["path"]):
            words = "Nobody can send files or call handlers here. Use the page, or python -m rocm."
            answer = PlainTextResponse(words, 404, {"Connection": "close"})
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class _Brief(logging.Filter):
    """Lets a request that names what Gradio does not know write a line instead of a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if _is_unknown(error):
            record.msg, record.args = "A request named a session or a part that is not here.", ()
            record.exc_info = None
        return True


def _is_unknown(error: BaseException | None) -> bool:
    if isinstance(error, RuntimeError):  # Gradio raises its 404 after the answer has begun
        return isinstance(error.__cause__, HTTPException) and error.__cause__.status_code == 404
    if not isinstance(error, KeyError):
        return False
    return Path(extract_tb(error.__traceback__)[-1].filename).parent.name == "gradio"


def brief_log() -> None:
    """Keep visitors from writing tracebacks into the server's log."""
    logging.getLogger("uvicorn.error").addFilter(_Brief())


MAX_BYTES = 4_000_000  # five thousand prompts, the most that a study takes, and half as much again


def body_limit(max_bytes: int = MAX_BYTES) -> Middleware:
    """Middleware that refuses larger bodies, whether or not their size is declared."""
    return Middleware(_BodyLimit, max_bytes)


class _BodyLimit:
    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        if not size.isdecimal() or int(size[:20]) > self._max_bytes:
            words = f"The request is larger than {self._max_bytes} bytes. Send less."
            answer = PlainTextResponse(words, 413, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        left = self._max_bytes

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            # To what reads the body it is as if the visitor had gone.
            return message if left >= 0 else {"type": "http.disconnect"}

        await self._app(scope, receive_some if scope["type"] == "http" else receive, send)
