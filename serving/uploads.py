"""How is an upload read? In memory, within limits that hold while it arrives, and never to a file."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

from starlette.requests import Request

from serving.refusals import Refusal

PAUSE = 10.0  # seconds a client may be silent
WHOLE = 60.0  # seconds that an upload may take
LAST = 2.0  # seconds that an upload may go on for after the service was told to stop
AT_ONCE = 8  # uploads of the largest size that may lie in memory


class Disconnected(Exception):
    """The client went away before it had sent everything."""


class Uploads:
    """All uploads that a worker holds: their number is free, their bytes are limited."""

    def __init__(self, limit: int, pause: float = PAUSE, whole: float = WHOLE, most: float = math.inf) -> None:
        self.limit = limit
        self.most = max(limit, min(AT_ONCE * limit, most))  # bytes of all
        self.pause = pause
        self.whole = whole
        self.held = 0
        self._arriving: set[asyncio.Timeout] = set()

    def hurry(self) -> None:
        """Wait no longer than a moment for what is still arriving: the service is about to stop."""
        self.pause = self.whole = min(self.pause, LAST)
        end = asyncio.get_running_loop().time() + LAST
        for patience in self._arriving:
            patience.reschedule(end)

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[Callable[[], None]]:
        """Limit the time of a block; what it yields is to be called whenever something arrived."""
        now = asyncio.get_running_loop().time
        end = now() + self.whole
        try:
            async with asyncio.timeout_at(now() + self.pause) as patience:
                self._arriving.add(patience)
                try:
                    yield lambda: patience.reschedule(min(now() + self.pause, end))
                finally:
                    self._arriving.discard(patience)
        except TimeoutError:
            sentence = "The upload did not arrive in time; send it again."
            raise Refusal(408, "timeout", sentence, {"Connection": "close"}) from None

    def of(self, request: Request) -> "Upload":
        """Return the body of a request, to be used as `async with`: its bytes count until the block is left."""
        return Upload(self, request)


class Upload:
    """The body of one request."""

    def __init__(self, uploads: Uploads, request: Request) -> None:
        self._uploads = uploads
        self._request = request
        self._size = 0

    async def __aenter__(self) -> bytes:
        """Read it.

        Raises
        ------
        Refusal: it is too large, or the client does not send.
        Disconnected: the client went away.
        """
        try:
            return await self._read()
        except BaseException:
            self._release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    async def _read(self) -> bytes:
        uploads = self._uploads
        if self._request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "type", "Send the request as it is, without a Content-Encoding.")
        declared = self._request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > uploads.limit:
            raise self._too_large()
        chunks: list[bytes] = []
        async with uploads.patience() as something_arrived:
            while True:
                message = await self._request.receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                chunks.append(message.get("body", b""))
                self._hold(len(chunks[-1]))
                if not message.get("more_body", False):
                    break
                something_arrived()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _hold(self, count: int) -> None:
        self._size += count
        self._uploads.held += count
        if self._size > self._uploads.limit:
            raise self._too_large()
        if self._uploads.held > self._uploads.most:
            raise Refusal(503, "capacity", "Too many uploads at once; try again in a second.", {"Retry-After": "1"})

    def _release(self) -> None:
        self._uploads.held -= self._size
        self._size = 0

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"The upload is larger than {self._uploads.limit / 1e6:g} MB; send less.")
