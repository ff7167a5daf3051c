"""Does a connection cost little before a request has come of it?"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import served
import tiny

from serving import connections


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home: Path = tmp_path_factory.mktemp("bentoml")
    served.store(home, tiny.classifier(1.0).root)
    with served.served(home) as (client, _):
        yield client


def said(client: httpx.Client, *pieces: bytes, patience: float = 20) -> tuple[int, str]:
    """Status and sentence of what a server answers before it closes the connection; 0 where it closes in silence."""
    answer = b""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=patience) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while more := connection.recv(65_536):
                answer += more
        except ConnectionError:
            pass  # it was closed while we sent
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(body)["error"]) if head else (0, "")


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, b"A: " + connections.MOST * b"b"],
        [HEAD, *[b"A: b\r\n" * 1000] * 20],
        [b"GET /", connections.MOST * b"b"],
        [
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\na\r\n0\r\n",
            b"A: " + connections.MOST * b"b",
        ],
    ],
)
def test_heads_without_end_are_refused(client: httpx.Client, pieces: list[bytes]) -> None:
    start = time.monotonic()
    status, sentence = said(client, *pieces, *[b"c" * 65_536] * 40)
    assert (status, sentence) in [(431, "The head of the request is too large."), (0, "")]
    assert time.monotonic() - start < connections.PATIENCE - 1
    assert client.get("/livez").status_code == 200


def test_a_large_head_and_small_pieces_are_fine(client: httpx.Client) -> None:
    assert client.get("/livez", headers={"A": "b" * 30_000}).status_code == 200
    pieces = (b"a" for _ in range(30_000))  # six bytes each on the way
    assert client.post("/invocations", content=pieces, headers={"Content-Type": "image/png"}).status_code == 415


def test_what_is_no_http_is_told_like_everything_else(client: httpx.Client) -> None:
    assert said(client, b"\x16\x03\x01\x02\x00\x01\x00" + bytes(100)) == (400, "The request is not valid HTTP.")


def test_heads_that_never_end_are_given_up(client: httpx.Client) -> None:
    """However steadily they come; and those who say nothing at all."""
    silent = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
    drops = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
    drops.sendall(HEAD)
    drops.settimeout(0.5)
    until, answer = time.monotonic() + connections.PATIENCE + 5, b""
    while not answer and time.monotonic() < until:
        drops.sendall(b"A: b\r\n")
        try:
            answer = drops.recv(1000)
        except TimeoutError:
            assert client.get("/livez").status_code == 200
    assert b" 408 " in answer.splitlines()[0]
    assert silent.recv(1000) == b""


def test_pages_have_heads_of_their_own(client: httpx.Client) -> None:
    for path in ("/", "/model", "/ping", "/livez"):
        head, whole = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers.get("content-length", "0")
    assert client.head("/predict").status_code == 405
    assert client.head("/nothing").status_code == 404


def test_packed_requests_are_refused_in_words(client: httpx.Client) -> None:
    response = client.post("/predict", content=b"x", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["error"]
