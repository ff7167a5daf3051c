"""What may a connection cost before a request has come of it?"""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving import counts

MOST = 65_536  # bytes of a request's head, and of whatever else is not content
PATIENCE = 10.0  # seconds for the head of a request


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits: its own keeps heads of any length, and waits for them as long as it takes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unused = 0  # bytes since something came of them
        self._heading = False  # whether a head has begun and is incomplete
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request soon."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived; end the connection where too much arrives that is no content."""
        self._unused += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unused > MOST:
            self._refuse(431, "The head of the request is too large.")
        elif self._heading and self._patience is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._heading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head."""
        self._heading = False
        self._unused = 0
        self._expect_nothing()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take content, which has limits of its own."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unused = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say in the shape of all errors that this is not HTTP."""
        self._refuse(400, "The request is not valid HTTP.")

    def _refuse(self, status: int, sentence: str) -> None:
        counts.problem("http")
        body = json.dumps({"error": sentence}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        if self._heading or self.cycle is None or not self.cycle.response_started:  # else it would answer nothing
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(PATIENCE, self._give_up)

    def _expect_nothing(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_head()  # reading rests until the request before is answered
        elif self._heading:
            self._refuse(408, "The request did not arrive in time; send it again.")
        else:
            self.transport.close()
