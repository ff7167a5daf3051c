"""Do the benchmarks of serving measure what they say?"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from email import message_from_bytes
from http.client import parse_headers
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image
from tiny import classifier, stripes

from benchmarks import child, claims, clients, contestants, payloads
from benchmarks import serving as serving_command
from benchmarks.prepared import Prepared
from benchmarks.servers import Server, serving
from serving.forms import Form


class Peer:
    """A small HTTP server that answers as it is told, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.requests: list[tuple[str, bytes]] = []  # Content-Type and body
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while stream.readline():
                headers = parse_headers(stream)
                self.requests.append((headers["Content-Type"], stream.read(int(headers["Content-Length"]))))
                answer = self.answers[(len(self.requests) - 1) % len(self.answers)]
                connection.sendall(answer)
                if answer in (ENDING, CLOSING, b""):
                    return

    def close(self) -> None:
        self._socket.close()

    def server(self) -> Server:
        """As the benchmark sees it: this very process works for it."""
        return Server(self.port, 0.0, lambda: [psutil.Process()])


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    with ExitStack() as stack:

        def start(*answers: bytes) -> Peer:
            made = Peer(*answers)
            stack.callback(made.close)
            return made

        yield start


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "B.JPG"]
    for path in paths:
        Image.fromarray(stripes(0, seed=1)).save(path)
    return paths


@pytest.fixture
def requests(pictures: list[Path], tmp_path: Path) -> Path:
    payloads.multipart(pictures, tmp_path / "requests")
    return tmp_path / "requests"


def answer(status: str, body: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", body]).encode()


KEPT = answer("200 OK", "{}", "Content-Length: 2")
CHUNKED = answer("200 OK", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
ENDING = answer("200 OK", "{}")
CLOSING = answer("200 OK", "{}", "content-length: 2", "connection: close")
BUSY = answer("503 Service Unavailable", "busy", "Content-Length: 4")


@pytest.mark.parametrize(("kind", "again"), [(KEPT, False), (CHUNKED, False), (ENDING, True), (CLOSING, True)])
def test_every_end_of_an_answer_is_seen(kind: bytes, again: bool, peer: Callable[..., Peer], requests: Path) -> None:
    """A connection is kept wherever the server keeps it, and nothing of an answer is left in it."""
    served = peer(kind)
    found = clients.load(served.server(), requests, clients=2, seconds=0.3)
    assert found.failed == {}
    assert found.per_second > 10
    assert served.connections == (len(served.requests) if again else 2)


def test_what_clients_send_is_what_a_browser_sends(
    peer: Callable[..., Peer], requests: Path, pictures: list[Path]
) -> None:
    served = peer(KEPT)
    clients.load(served.server(), requests, clients=1, seconds=0.2)
    for (kind, body), picture, expected in zip(served.requests, pictures, ("image/png", "image/jpeg"), strict=False):
        message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        (part,) = message.get_payload()
        assert part.get_content_type() == expected
        assert part.get_param("name", header="Content-Disposition") == "image"
        assert part.get_payload(decode=True) == picture.read_bytes()


def test_what_the_service_takes_apart_is_the_same(requests: Path, pictures: list[Path]) -> None:
    for path, picture in zip(sorted(requests.iterdir()), pictures, strict=True):
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        kind = head.decode().split("Content-Type: ")[1].split("\r\n")[0]
        assert Form(kind, body).file("image").data == picture.read_bytes()


def test_an_explanation_is_asked_for_at_its_address(pictures: list[Path], tmp_path: Path) -> None:
    payloads.multipart(pictures, tmp_path / "explain", "/explain")
    assert {path.read_bytes().split()[1] for path in (tmp_path / "explain").iterdir()} == {b"/explain"}
    prepared = Prepared(tmp_path)
    assert prepared.requests("explain") == tmp_path / "explain"
    assert prepared.requests("ours") == prepared.requests("plain") != prepared.requests("mlflow")


def test_tensors_are_the_pixels_that_the_network_sees(pictures: list[Path], tmp_path: Path) -> None:
    small = classifier(1.0)
    payloads.tensors(pictures, small, tmp_path / "tensors")
    first = min((tmp_path / "tensors").iterdir()).read_bytes().partition(b"\r\n\r\n")[2]
    assert np.array_equal(json.loads(first)["inputs"], small.pixels(pictures[0])[None])


def test_refusals_are_counted_and_are_no_fast_answers(peer: Callable[..., Peer], requests: Path) -> None:
    served = peer(BUSY, KEPT, BUSY)
    found = clients.load(served.server(), requests, clients=1, seconds=0.3)
    n = len(served.requests)
    assert found.failed["503"] == pytest.approx(2 * n / 3, abs=1)
    assert found.per_second < n / 0.3 / 2
    assert "503" in clients.as_line("x", found)


@pytest.mark.parametrize("kind", [BUSY, b"", b"no HTTP\r\n\r\n"])
def test_a_server_that_answers_nothing_is_an_error(kind: bytes, peer: Callable[..., Peer], requests: Path) -> None:
    with pytest.raises(RuntimeError, match=r"answers nothing: \{'(503|IncompleteReadError|ValueError)': "):
        clients.load(peer(kind).server(), requests, clients=1, seconds=0.2)


def test_figures_are_of_the_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = {"milliseconds": [float(i) for i in range(1, 101)], "failed": {"503": 25}, "seconds": 10.0}
    monkeypatch.setattr(child, "run", lambda *_, **__: seen)
    spent = iter([3.0, 5.5])
    server = SimpleNamespace(port=1, cpu_seconds=lambda: next(spent), megabytes=lambda: 7.0)
    found = clients.load(server, tmp_path, clients=1, seconds=10)  # type: ignore[arg-type]
    assert (found.p50, found.per_second, found.cpu, found.megabytes) == (50.5, 10.0, 20.0, 7.0)
    assert found.p95 == pytest.approx(95, abs=1)


def test_a_server_that_does_not_start_is_told_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with pytest.raises(RuntimeError, match="no model here"), serving(command, "/", {}, tmp_path / "log"):
        pytest.fail("it does not run")


def test_a_server_is_ready_when_it_says_so_and_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}", "--directory", str(tmp_path)]
    with serving(command, "/", {}, tmp_path / "log") as server:
        (process,) = server.processes()
        assert 0 < server.startup < 30
        assert server.workers()[0] > 1
    assert not process.is_running()


RAW = clients.Answered(p50=10, p95=12, per_second=100, cpu=10, megabytes=50, failed={})


def measured(p50: float, cpu: float) -> claims.Measured:
    found = replace(RAW, p50=p50, cpu=cpu)
    return claims.Measured(single=found, busy=found)


@pytest.mark.parametrize(("p50", "cpu", "met"), [(16, 16, [True, True]), (16.1, 16.1, [False, False])])
def test_the_service_is_held_to_the_raw_path(p50: float, cpu: float, met: list[bool]) -> None:
    assert [each.met for each in claims.against_raw("m", RAW, "ours", measured(p50, cpu))] == met


@pytest.mark.parametrize(("name", "p50", "met"), [("flask", 80, True), ("flask", 79, False), ("mlflow", 299, False)])
def test_the_service_is_held_to_its_rivals(name: str, p50: float, met: bool) -> None:
    assert claims.against_rival("m", measured(10, 1), name, measured(p50, 1)).met is met


@pytest.mark.parametrize(
    ("rounds", "met"),
    [
        ([RAW, replace(RAW, megabytes=52)], True),
        ([RAW, replace(RAW, megabytes=53)], False),
        ([replace(RAW, failed={"503": 1}), RAW], False),
    ],
)
def test_growth_and_failures_under_load_miss_the_target(rounds: list[clients.Answered], met: bool) -> None:
    assert claims.under_load("m", 1, rounds).met is met


def test_who_is_measured_has_a_way_to_be_started() -> None:
    assert tuple(contestants.CONTESTANTS) == serving_command.CONTESTANTS + serving_command.VARIANTS
