"""How is the service asked where there is no socket? Its own application is called, in a loop that stays."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.types import Message


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str  # as a client writes it, percent-encoded
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answered:
    """What the service says to it."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class InProcess:
    """The application, started; it lives as long as the process does."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._lifespan = AsyncExitStack()
        self._loop.run_until_complete(self._lifespan.enter_async_context(app.router.lifespan_context(app)))

    def ask(self, asked: Asked) -> Answered:
        """Return the answer to one request; nothing runs between requests."""
        return self._loop.run_until_complete(self._answer(asked))

    def close(self) -> None:
        """Let the service finish what it has to."""
        self._loop.run_until_complete(self._lifespan.aclose())
        self._loop.close()

    async def _answer(self, asked: Asked) -> Answered:
        messages: Iterator[Message] = iter([{"type": "http.request", "body": asked.body, "more_body": False}])
        said: list[Message] = []

        async def receive() -> Message:
            if message := next(messages, None):
                return message
            await asyncio.Event().wait()  # whoever asks is still there: this is how an application looks
            raise AssertionError

        async def send(message: Message) -> None:
            said.append(message)

        await self._app(_scope(asked), receive, send)
        start, *parts = said
        headers: dict[str, str] = {}
        for name, value in start["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        body = b"" if asked.method == "HEAD" else b"".join(part.get("body", b"") for part in parts)
        return Answered(start["status"], headers, body)


def _scope(asked: Asked) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in asked.headers.items()}
    headers["content-length"] = str(len(asked.body))  # an event may tell that of its base64
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": asked.method.upper(),
        "scheme": "https",
        "path": unquote(asked.path),
        "raw_path": asked.path.encode(),
        "root_path": "",
        "query_string": asked.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": (headers.get("host", "localhost"), 443),
    }


def packaged_application() -> Starlette:
    """Return the application of the bento that this container holds, as BentoML's own worker makes it."""
    from _bentoml_impl.loader import load
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging

    configure_server_logging()
    service = load(os.environ["BENTO_PATH"], standalone_load=True)
    server_context.worker_index = 1
    server_context.service_type = "entry_service"
    server_context.service_name = service.name
    if service.bento is not None:  # what the metrics are labelled with
        server_context.bento_name = service.bento.tag.name
        server_context.bento_version = service.bento.tag.version or "not available"
    return service.to_asgi()
