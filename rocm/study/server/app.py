"""Addresses of the voting page, its API and its pictures, as one ASGI application.

Work with the store runs in threads of its own, so that nothing else of the process can hold up a
vote. Every answer forbids what the page does not need: other origins, guessing of types, referrers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, fail_after, to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rocm.errors import RocmError
from rocm.storage.paths import ROOT
from rocm.study.server.api import NAMED, STUDY, Api
from rocm.study.server.bodies import Body, ConsentBody, JoinBody, TrialBody, VoteBody, read
from rocm.study.server.limits import visitor
from rocm.study.server.refusal import Refusal, as_refusal
from rocm.study.store.backup import Backup, NoBackup
from rocm.study.store.pictures import Pictures

Act = Callable[..., Any]
PLACE = "/study"
PAGE = ROOT / "assets" / "vote"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript",
         ".svg": "image/svg+xml"}  # fmt: skip
MAX_BODY_BYTES = 16_384
BODY_S = 20
NUM_THREADS = 16
NUM_LOGINS = 4
MTURK = "https://www.mturk.com https://workersandbox.mturk.com"
FRAMES = "https://huggingface.co https://worker.mturk.com https://workersandbox.mturk.com"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'; base-uri 'none'; form-action {MTURK}; frame-ancestors 'self' {FRAMES}"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FOREVER = "private, max-age=31536000, immutable"
NOWHERE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ROCM Studio</title>
<p>This server holds user studies. Open the link of the study that you were invited to.</p>"""


@dataclass(frozen=True)
class Server:
    """Answers requests for one store and one folder of re-encoded pictures.

    `threads` ask the store; `logins` wait for another server, so that no vote waits with them.
    """

    api: Api
    pictures: Pictures
    is_proxied: bool = False
    backup: Backup | NoBackup | None = None
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_THREADS))
    logins: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_LOGINS))

    def routes(self) -> list[BaseRoute]:
        """Addresses, below `PLACE`."""
        of_token: list[tuple[str, str, type[Body], Act]] = [
            ("POST", "consent", ConsentBody, self.api.consent),
            ("POST", "decline", Body, self.api.decline),
            ("POST", "trial", Body, self.api.trial),
            ("POST", "shown", TrialBody, self.api.shown),
            ("POST", "vote", VoteBody, self.api.vote),
            ("POST", "skip", TrialBody, self.api.skip),
            ("POST", "withdraw", Body, self.api.withdraw),
            ("GET", "progress", Body, self.api.progress),
        ]
        files = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir())}
        return [
            *(
                Route(f"/api/{name}", partial(self._act, kind, act), methods=[method])
                for method, name, kind, act in of_token
            ),
            Route("/api/{study}", self._study),
            Route("/api/{study}/join", self._join, methods=["POST"]),
            Route("/api/{study}/login", self._login, methods=["POST"]),
            Route("/picture/{picture}", self._picture),
            Route("/assets/{name}", partial(_file, files)),
            Route("/{study}", partial(_page, files["index.html"])),
            Route("/{study}/", _without_slash),
        ]

    async def _study(self, request: Request) -> Response:
        self._count(request)
        return await self._answer(partial(self.api.study, request.path_params["study"]))

    async def _join(self, request: Request) -> Response:
        address = self._count(request)
        body = read(JoinBody, await _body(request))
        kind = "named_joins" if body.source in NAMED else "joins"
        self.api.counter.check(kind, address)
        join = partial(self.api.join, request.path_params["study"], body)
        return await self._answer(join, self.logins if body.login else self.threads)

    async def _login(self, request: Request) -> Response:
        self._count(request)
        read(Body, await _body(request))
        begin = partial(self.api.begin_login, request.path_params["study"])
        return await self._answer(begin, self.logins)

    async def _act(self, kind: type[Body], act: Act, request: Request) -> Response:
        address = self._count(request)
        token = self._token(request)
        given = dict(read(kind, await _body(request))) if request.method == "POST" else {}
        if kind is VoteBody:
            given["address"] = address
        return await self._answer(partial(act, token, **given))

    async def _picture(self, request: Request) -> Response:
        self._count(request)
        picture_id = request.path_params["picture"]
        # Neither date nor tag of the file is sent: arms are drawn one after the other.
        content = await to_thread.run_sync(
            lambda: self.pictures.file(picture_id).read_bytes(), limiter=self.threads
        )
        return Response(content, media_type="image/webp", headers={"Cache-Control": FOREVER})

    async def _answer(
        self, act: Callable[[], dict[str, Any]], threads: CapacityLimiter | None = None
    ) -> Response:
        answer = await to_thread.run_sync(act, limiter=threads or self.threads)
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    def _count(self, request: Request) -> str:
        """Count a request of an address; returns the address."""
        address = request.client.host if request.client else ""
        if self.is_proxied:  # the last entry is the proxy's own; those before it can be made up
            given = ",".join(request.headers.getlist("x-forwarded-for"))
            address = given.rpartition(",")[2].strip() or address
        address = visitor(address)
        self.api.counter.check("requests", address)
        return address

    def _token(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not 1 <= len(token) <= 200:
            words = "This needs a rater's token: Authorization: Bearer TOKEN."
            raise Refusal(401, "unknown_rater", words)
        self.api.counter.check("calls", token)
        return token


def vote_app(server: Server) -> Starlette:
    """The application, to be mounted at `PLACE`."""
    handlers: Any = {RocmError: _refused, HTTPException: _no_such_thing}
    guard = [Middleware(_WithHeaders)]
    app = Starlette(routes=server.routes(), exception_handlers=handlers, middleware=guard)
    # It would lead to the whole address, by http where a proxy in front speaks https.
    app.router.redirect_slashes = False
    return app


def alone(server: Server, middleware: Sequence[Middleware]) -> Starlette:
    """The only application of its server, with nothing to train, draw or administer."""
    routes = [Route("/", lambda request: HTMLResponse(NOWHERE)), Mount(PLACE, vote_app(server))]
    return Starlette(routes=routes, middleware=[Middleware(_WithHeaders), *middleware])


async def _page(content: bytes, request: Request) -> Response:
    """The page; at an address that can be no study's it is the same, and says so itself."""
    status = 200 if STUDY.fullmatch(request.path_params["study"]) else 404
    return HTMLResponse(content, status, headers={"Cache-Control": "no-cache"})


async def _without_slash(request: Request) -> Response:
    study = request.path_params["study"]
    if not STUDY.fullmatch(study):
        raise HTTPException(404)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"../{study}{query}")


async def _file(files: dict[str, bytes], request: Request) -> Response:
    name = request.path_params["name"]
    if name not in files:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache"}
    return Response(files[name], media_type=TYPES[Path(name).suffix], headers=headers)


async def _body(request: Request) -> bytes:
    """The body of a request, which comes from the page itself (Sec-Fetch-Site) and is small."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        words = "A page of another site may not vote. Open the study's own link."
        raise Refusal(403, "foreign_page", words)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        words = "The body must be JSON: Content-Type: application/json."
        raise Refusal(415, "bad_request", words)
    try:
        with fail_after(BODY_S):
            return await _small(request)
    except TimeoutError as error:
        words = f"The body did not come within {BODY_S} seconds. Send it again."
        raise Refusal(408, "bad_request", words) from error
    except ClientDisconnect as error:  # nobody reads the answer; tracebacks would fill the log
        raise Refusal(400, "bad_request", "The body broke off. Send it again.") from error


async def _small(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            words = f"The body is larger than {MAX_BODY_BYTES} bytes. Send less."
            raise Refusal(413, "bad_request", words)
        parts.append(part)
    return b"".join(parts)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RocmError)
    refusal = as_refusal(error)
    return _fault(refusal.status, refusal.code, str(refusal))


def _no_such_thing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = "There is nothing at this address, or not for this method. See docs/study-api.md."
    return _fault(error.status_code, "not_found", words)


def _fault(status: int, code: str, message: str) -> Response:
    headers = {"Cache-Control": "no-store"}
    if status in (429, 503):
        headers["Retry-After"] = "2"
    if status in (408, 413):  # what is still to come of the body is not waited for
        headers["Connection"] = "close"
    body = {"error": {"code": code, "message": message}}
    return JSONResponse(body, status_code=status, headers=headers)


class _WithHeaders:
    """Puts `HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
