"""No request is larger than the page ever sends: Gradio reads a whole body into memory first."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 4_000_000  # five thousand prompts, the most that a study takes, and half as much again


def body_limit(max_bytes: int = MAX_BYTES) -> Middleware:
    """Middleware that refuses larger bodies, whether or not their size is told ahead.

    Args:
        max_bytes: of one request.

    Returns:
        For an ASGI application.
    """
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
