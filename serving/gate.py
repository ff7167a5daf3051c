"""What does every request pass first, and which headers does every answer carry?"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import counts
from serving.refusals import problem

# `style-src` and `img-src` are as wide as the pages need: bars and maps are styled and drawn in the browser.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
INLINE_STYLES = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
DEFAULTS = {b"content-security-policy": POLICY.encode(), b"cache-control": b"no-store"}


class Gate:
    """Answers paths that nobody serves itself, so that what counts by path does not grow with them."""

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        self.app = app
        self.paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                given = {name for name, _ in headers}
                extra = [(name, value) for name, value in DEFAULTS.items() if name not in given]
                message["headers"] = [*headers, *HEADERS, *extra]
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server leaves the content out
        if scope["path"] in self.paths:
            return await self.app(scope, receive, with_headers)
        counts.problem("address")
        nothing = problem(404, "There is nothing at this address; /docs lists what there is.")
        return await nothing(scope, receive, with_headers)
