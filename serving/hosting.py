"""What of BentoML's server does a request pass?"""

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs
from _bentoml_sdk import Service
from bentoml._internal.container import BentoMLContainer
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from bentoml.exceptions import BentoMLException
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from uvicorn.config import HTTP_PROTOCOLS

from diascope.errors import InputError
from serving.connections import Connection
from serving.gate import Gate
from serving.refusals import problem


@attrs.define(repr=False)
class Hosted(Service):
    """A BentoML service with errors in one shape and nothing on a request's way that it does not need."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"  # BentoML logs it whole

    def to_asgi(self, is_main: bool = True) -> Starlette:
        """Return BentoML's application, changed."""
        hosted: Any = super().to_asgi(is_main)
        # Uploads have limits of their own, and BentoML's timer outlives every request by a minute.
        unneeded: set[Any] = {TimeoutMiddleware}
        if BentoMLContainer.config.tracing.exporter_type.get() is None:
            unneeded.add(OpenTelemetryMiddleware)  # measures every request and tells nobody
        hosted.user_middleware = [each for each in hosted.user_middleware if each.cls not in unneeded]
        hosted.add_exception_handler(HTTPException, _told)
        hosted.add_exception_handler(Exception, _untold)
        HTTP_PROTOCOLS["auto"] = Connection  # type: ignore[assignment]  # uvicorn takes it; BentoML does not ask
        hosted.add_middleware(Gate, paths=list(_paths(hosted.routes)))
        return hosted


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, f"{error.detail}.", error.headers)


async def _untold(request: Request, error: Exception) -> Response:
    return problem(500, "Something went wrong inside the service; its log says what.")


def _paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)  # FastAPI's, around the methods of a class
        if inner is not None:
            yield from _paths(inner.routes)
        elif isinstance(route, Mount):
            yield from _paths(route.routes)
        else:
            yield getattr(route, "path", "/")


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Have BentoML's command end with the sentence of an InputError instead of a traceback."""
    try:
        yield
    except InputError as error:
        raise BentoMLException(str(error)) from None


def before_stopping(call: Callable[[], None]) -> None:
    """Have something called in this event loop as soon as the server is told to stop, which then waits for answers."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        server = signal.getsignal(number)

        def stop(number: int, frame: FrameType | None, server: Any = server) -> None:
            loop.call_soon_threadsafe(call)
            if callable(server):
                server(number, frame)

        signal.signal(number, stop)
