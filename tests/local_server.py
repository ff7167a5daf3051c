"""Servers on this machine: one that gives the files of a folder, one that answers as its test wants."""

import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class LocalServer:
    """Runs until it is closed."""

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class ScriptedServer(LocalServer):
    """Answers with what `get` and `post` send."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.get(self)

            def do_POST(self) -> None:
                server.post(self)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)

    def get(self, request: BaseHTTPRequestHandler) -> None:
        request.send_error(405)

    def post(self, request: BaseHTTPRequestHandler) -> None:
        request.send_error(405)


def folder_server(folder: Path) -> LocalServer:
    """A server that gives the files of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    return LocalServer(partial(Quiet, directory=str(folder)))
