"""A stand-in of AWS Lambda's runtime API: it hands events over and takes what comes back, as Amazon documents it."""

import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:diascope-demo"


@dataclass(frozen=True)
class Said:
    """What the runtime posted: `response`, `error` or `init`."""

    kind: str
    content: Any
    error_type: str | None
    request_id: str | None
    at: float  # time.monotonic


@dataclass
class RuntimeApi:
    """Events that wait, and what was said to them."""

    events: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    said: "queue.Queue[Said]" = field(default_factory=queue.Queue)
    asked_at: list[float] = field(default_factory=list)  # when the runtime asked for an event
    port: int = 0

    @property
    def address(self) -> str:
        """As AWS_LAMBDA_RUNTIME_API gives it."""
        return f"127.0.0.1:{self.port}"

    def invoke(self, event: Any, seconds: float = 60) -> Said:
        """Hand an event over and return what was said to it; a str goes as it is."""
        self.events.put(event if isinstance(event, str) else json.dumps(event))
        return self.said.get(timeout=seconds)


def _handler(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or the client's delayed acknowledgement is what is measured

        def do_GET(self) -> None:
            assert self.path == f"{VERSION}/invocation/next", self.path
            api.asked_at.append(time.monotonic())
            event = api.events.get()
            if event is None:
                self.close_connection = True
                return
            headers = {
                "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
                "Lambda-Runtime-Deadline-Ms": str(int(1000 * (time.time() + 60))),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
                "Content-Type": "application/json",
            }
            self._send(200, event.encode(), headers)

        def do_POST(self) -> None:
            encoding = self.headers.get("Transfer-Encoding", "")
            data = self._chunks() if encoding == "chunked" else self.rfile.read(int(self.headers["Content-Length"]))
            parts = self.path.removeprefix(f"{VERSION}/").split("/")
            kind, request_id = ("init", None) if parts == ["init", "error"] else (parts[2], parts[1])
            assert kind == "init" or parts[0] == "invocation"
            error_type = self.headers.get("Lambda-Runtime-Function-Error-Type")
            self._send(202, b'{"status":"OK"}\n', {"Content-Type": "application/json"})
            api.said.put(Said(kind, json.loads(data), error_type, request_id, time.monotonic()))

        def _chunks(self) -> bytes:
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def runtime_api() -> Iterator[RuntimeApi]:
    """Listen on a free port of this machine."""
    api = RuntimeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    api.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.events.put(None)
        server.shutdown()
        server.server_close()
