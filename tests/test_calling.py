"""What is made of a service's answer, and of none; the other side is a real server on this machine."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from targets import calling
from targets.calling import invoke
from targets.target import TargetError

ANSWER = {"label": "a", "probabilities": {"a": 1.0}, "distance": None, "model": {"name": "x", "version": "1"}}


class Server(ThreadingHTTPServer):
    """Answers one after the other as it is told, and remembers what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, body, dict(self.headers)))
        status, content = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(calling, "PAUSE", 0.0)
    monkeypatch.delenv("DIASCOPE_API_KEY", raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, str]]]:
    made: list[Server] = []

    def start(*answers: tuple[int, bytes], tls: ssl.SSLContext | None = None) -> tuple[Server, str]:
        server = Server(tls)
        made.append(server)
        server.answers = list(answers)
        return server, f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


GOOD = 200, json.dumps(ANSWER).encode()


def test_the_bytes_are_sent_as_they_are_and_the_answer_comes_back(serve, monkeypatch):
    monkeypatch.setenv("DIASCOPE_API_KEY", "secret")
    server, url = serve(GOOD)
    assert invoke(url, b"\x00\xff", direct=True) == ANSWER
    ((path, body, headers),) = server.asked
    assert (path, body) == ("/invocations", b"\x00\xff")
    assert (headers["Content-Type"], headers["X-API-Key"]) == ("application/octet-stream", "secret")


def test_replicas_that_are_not_there_yet_are_waited_for(serve):
    server, url = serve((503, b""), (502, b"<html>"), (429, b"{}"), GOOD)
    assert invoke(url, b"x", direct=True) == ANSWER
    assert len(server.asked) == 4
    assert "X-API-Key" not in server.asked[0][2]


def test_what_stays_away_is_said_when_the_time_is_over(serve):
    _, url = serve((503, json.dumps({"error": "At capacity."}).encode()))
    with pytest.raises(TargetError, match=r"answered an image with 503: At capacity\."):
        invoke(url, b"x", direct=True, patience=-1)
    with pytest.raises(TargetError, match=r"http://127\.0\.0\.1:9 does not answer \(ConnectionError\)"):
        invoke("http://127.0.0.1:9", b"x", direct=True, patience=-1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b'{"error": "The API key is missing or wrong."}'), "with 401: The API key is missing or wrong."),
        ((404, b"<html>\n  nothing  here</html>"), "with 404: <html> nothing here</html>"),
        ((200, b"<html>welcome</html>"), "is another service"),
        ((200, b"[]"), "is another service"),
        ((200, b'{"label": "a"}'), "is another service"),
    ],
)
def test_other_answers_end_it_at_once(serve, answer, said):
    server, url = serve(answer)
    with pytest.raises(TargetError, match=said):
        invoke(url, b"x", direct=True)
    assert len(server.asked) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for a host that no name server knows, with its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ct.example.org"]
    command += ["-addext", "subjectAltName=DNS:ct.example.org", "-keyout", "key.pem", "-out", "certificate.pem"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    return folder


def test_a_certificate_is_held_to_the_name_that_was_given(serve, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "certificate.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    server, url = serve(GOOD, tls=context)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert invoke(url, b"x", host="ct.example.org") == ANSWER
    assert server.asked[0][2]["Host"] == "ct.example.org"
    for other in ("other.example.org", None):
        with pytest.raises(TargetError, match=f"no certificate that is good for {other or url}"):
            invoke(url, b"x", host=other)
    assert len(server.asked) == 1
