"""How does a request come to a method of the service, and what happens to what it raises?"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from _bentoml_sdk.service import get_current_service
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import counts
from serving.refusals import Refusal, problem
from serving.uploads import Disconnected

Method = TypeVar("Method", bound=Callable[..., Any])

log = logging.getLogger("bentoml.diascope")


class Route(APIRoute):
    """A route that hands the request over as it is.

    FastAPI describes it, but does not read it: solving dependencies costs as much as a small network, and a body that
    FastAPI reads knows no limits.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._response(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if request.method not in (self.methods or ()):
            allowed = ", ".join(sorted(self.methods or ()))
            return problem(405, f"{self.path} takes {allowed}, not {request.method}.", {"Allow": allowed})
        try:
            return await self.endpoint(get_current_service(), request)
        except Refusal as refusal:
            counts.problem(refusal.kind)
            return refusal.response()
        except Disconnected:
            counts.problem("disconnected")
            return Response(status_code=400)  # nobody reads it
        except Exception:
            log.exception("%s failed", self.path)
            counts.problem("internal")
            return problem(500, "Something went wrong inside the service; its log says what.")


def undescribed(app: FastAPI, paths: Iterable[str]) -> Callable[[Method], Method]:
    """Answer GET requests for all these paths with one method, and leave them out of the description."""

    def add(method: Method) -> Method:
        for path in paths:
            app.get(path, include_in_schema=False)(method)
        return method

    return add
