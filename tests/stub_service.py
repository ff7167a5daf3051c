"""A stand-in for the service, small enough for an image of seconds: answers as its environment says."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("STUB_VERSION", "1")
BROKEN = os.environ.get("STUB_BROKEN", "")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(503 if BROKEN == "never ready" else 200, {})

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if os.environ.get("DIASCOPE_API_KEY", "") != self.headers.get("X-API-Key", ""):
            return self.answer(401, {"error": "The API key is missing or wrong."})
        if self.path != "/invocations" or self.headers["Content-Type"] != "application/octet-stream":
            return self.answer(404, {"error": "There is no such address."})
        first = sent[0] / 255
        return self.answer(
            200,
            {
                "label": "b" if first > 0.5 else "a",
                "probabilities": {"a": 1 - first, "b": first},
                "distance": None,
                "model": {"name": "stub", "version": VERSION},
                "size": len(sent),
            },
        )

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    if BROKEN == "ends":
        sys.exit("ValueError: it was built to end")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "3000"))), Handler).serve_forever()
