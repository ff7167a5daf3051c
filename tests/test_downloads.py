"""Downloads against a server on this machine that fails in all the ways that servers do."""

import errno
import hashlib
import random
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from local_server import ScriptedServer

from diascope import downloads
from diascope.downloads import download, download_drive, drive_id, is_drive, shown
from diascope.errors import InputError

DATA = random.Random(1).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
DRIVE_ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz012345"


class Server(ScriptedServer):
    """Serves DATA; `breaks` is after how many bytes each of the next answers stops, None: not at all."""

    def __init__(self) -> None:
        self.data, self.etag = DATA, '"one"'
        self.breaks: list[int | None] = []
        self.statuses: list[int] = []
        self.ranges: list[str | None] = []
        self.drive_page = ""
        self.announce_length = True
        super().__init__()

    def get(self, request: BaseHTTPRequestHandler) -> None:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        self.ranges.append(request.headers.get("Range"))
        if path == "/redirect":
            return self._send(request, 302, b"", Location=self.url + "/data.zip")
        if path == "/uc" and self.drive_page:
            return self._send(
                request, 200, self.drive_page.encode(), None, **{"Content-Type": "text/html; charset=utf-8"}
            )
        if path == "/download" and query.get("confirm") != ["t"]:
            return self._send(request, 403, b"")
        if path in ("/uc", "/download"):
            request.headers["Drive"] = "yes"
        if self.statuses:
            return self._send(request, self.statuses.pop(0), b"sorry")
        self._send_data(request)

    def _send_data(self, request: BaseHTTPRequestHandler) -> None:
        start, status = 0, 200
        headers = {"ETag": self.etag} if self.etag else {}
        wanted = request.headers.get("Range")
        if wanted and request.headers.get("If-Range", self.etag) == self.etag:
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        if request.headers.get("Drive"):
            headers |= {"Content-Disposition": 'attachment; filename="set.zip"', "Content-Type": "application/zip"}
        stop = self.breaks.pop(0) if self.breaks else None
        self._send(request, status, self.data[start:], stop, **headers)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, stop: int | None = None, **headers: str
    ) -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        if self.announce_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:stop])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "BACKOFF", 0.001)
    running = Server()
    yield running
    running.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def leftovers(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} - {target.name}


def test_a_file_comes_whole_and_leaves_nothing_else(server: Server, target: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    download(server.url + "/data.zip", target, sha256=SHA256, progress=lambda *state: seen.append(state))
    assert target.read_bytes() == DATA
    assert not leftovers(target)
    assert seen[-1] == ("downloading", len(DATA), len(DATA))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_redirects_are_followed(server: Server, target: Path) -> None:
    download(server.url + "/redirect", target)
    assert target.read_bytes() == DATA


def test_a_broken_connection_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    server.breaks = [1_200_000, 900_000]
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA
    first, second, third = (int(value.split("=")[1][:-1]) if value else 0 for value in server.ranges)
    assert first == 0 < second < third < len(DATA)


def test_a_server_without_a_validator_is_asked_from_the_start(server: Server, target: Path) -> None:
    server.etag, server.breaks = "", [1_200_000]
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA
    assert server.ranges == [None, None]


def test_an_interrupted_run_leaves_no_file_and_the_next_goes_on(server: Server, target: Path) -> None:
    def interrupt(_: str, done: int, __: int | None) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url + "/data.zip", target, progress=interrupt)
    assert not target.exists()
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA
    assert server.ranges[1] not in (None, "bytes=0-")


def test_halves_of_two_files_are_never_joined(server: Server, target: Path) -> None:
    server.breaks = [1_200_000, *[0] * 20]
    with pytest.raises(InputError):
        download(server.url + "/data.zip", target)
    server.breaks, server.etag, server.data = [], '"two"', DATA[::-1]
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA[::-1]


def test_busy_servers_are_asked_again(server: Server, target: Path) -> None:
    server.statuses = [503, 429, 500]
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA


def test_a_server_that_stays_down_is_one_sentence(server: Server, target: Path) -> None:
    server.statuses = [503] * 50
    with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+/data\.zip cannot be fetched: the server answers 503"):
        download(server.url + "/data.zip", target)
    assert len(server.statuses) == 50 - downloads.ATTEMPTS
    assert not target.exists()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_twice(status: int, server: Server, target: Path) -> None:
    server.statuses = [status] * 2
    with pytest.raises(InputError, match=f"the server answers {status}"):
        download(server.url + "/data.zip", target)
    assert len(server.statuses) == 1


def test_a_short_answer_is_not_taken_for_whole(server: Server, target: Path) -> None:
    server.breaks = [len(DATA) - 1, *[0] * 20]
    with pytest.raises(InputError, match="cannot be fetched"):
        download(server.url + "/data.zip", target)
    assert not target.exists()


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, target: Path) -> None:
    target.with_name("archive.part").write_bytes(bytes(100))
    target.with_name("archive.part.validator").write_text(server.etag)
    server.statuses = [416]
    download(server.url + "/data.zip", target)
    assert target.read_bytes() == DATA


def test_an_unreachable_link_is_one_sentence(server: Server, target: Path) -> None:
    server.close()
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:\d+/x cannot be fetched: the connection is refused"):
        download(server.url + "/x", target)


def test_a_wrong_checksum_names_both_and_keeps_nothing(server: Server, target: Path) -> None:
    with pytest.raises(InputError, match=f"SHA-256 {SHA256}, not {'0' * 64}"):
        download(server.url + "/data.zip", target, sha256="0" * 64)
    assert not target.exists()
    assert not target.with_name("archive.part").exists()


def test_too_large_is_given_up(server: Server, target: Path) -> None:
    with pytest.raises(InputError, match=r"larger than 1,000,000 bytes"):
        download(server.url + "/data.zip", target, limit=1_000_000)
    assert not target.exists()


def test_unencrypted_links_need_a_checksum(target: Path) -> None:
    with pytest.raises(InputError, match="not encrypted"):
        download("http://example.org/data.zip", target)


def test_a_full_disk_is_left_to_the_caller_with_the_part_kept(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = downloads._write

    def full(*arguments: object) -> bool:
        write(*arguments)  # type: ignore[arg-type]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        download(server.url + "/data.zip", target)
    assert not target.exists()
    assert target.with_name("archive.part").stat().st_size == len(DATA)


def test_passwords_and_signatures_do_not_appear_in_messages(server: Server, target: Path) -> None:
    server.statuses = [403]
    address = server.url.replace("http://", "http://user:secret@")
    with pytest.raises(InputError) as caught:
        download(address + "/data.zip?signature=hidden", target)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert shown("https://a:b@host:1/x.zip?token=1") == "https://host:1/x.zip"
    with pytest.raises(InputError, match="is no link that can be read"):
        shown("https://[/x.zip")


@pytest.mark.parametrize(
    "link",
    [
        f"https://drive.google.com/file/d/{DRIVE_ID}/view?usp=sharing",
        f"https://drive.google.com/file/u/0/d/{DRIVE_ID}/view",
        f"https://drive.google.com/uc?id={DRIVE_ID}",
        f"https://drive.google.com/open?id={DRIVE_ID}&usp=drive_fs",
        f"https://drive.usercontent.google.com/download?id={DRIVE_ID}&export=download",
        f"gdrive://{DRIVE_ID}",
    ],
)
def test_every_form_of_a_drive_link(link: str) -> None:
    assert is_drive(link)
    assert drive_id(link) == DRIVE_ID


@pytest.mark.parametrize("link", [f"https://drive.google.com/drive/folders/{DRIVE_ID}", "gdrive://", "gdrive://a b"])
def test_drive_folders_are_refused(link: str) -> None:
    with pytest.raises(InputError, match="not the Google Drive link of one file"):
        drive_id(link)


QUOTA = (
    '<html><p class="uc-error-caption">Sorry, you can&#39;t view or download this file at this time.</p>\n'
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try '
    "accessing the file again later.</p></html>"
)
CONFIRM = f"""<html><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get"><input type="hidden" \
name="id" value="{DRIVE_ID}"><input type="hidden" name="confirm" value="t"></form></body></html>"""


@pytest.fixture
def drive(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, in the place of Google Drive."""
    send: Callable[..., requests.Response] = requests.Session.send

    def here(session: requests.Session, request: requests.PreparedRequest, **options: object) -> requests.Response:
        host, path = urlsplit(str(request.url)).hostname, str(request.url).split("/", 3)[3]
        assert host in ("drive.google.com", "drive.usercontent.google.com"), request.url
        request.url = f"{server.url}/{path}"
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", here)
    return server


def test_a_drive_file_comes_whole(drive: Server, target: Path) -> None:
    seen: list[int] = []
    download_drive(f"gdrive://{DRIVE_ID}", target, sha256=SHA256, progress=lambda _, done, __: seen.append(done))
    assert target.read_bytes() == DATA
    assert not leftovers(target)
    assert seen[-1] == len(DATA)


def test_the_virus_scan_page_is_confirmed(drive: Server, target: Path) -> None:
    drive.drive_page = CONFIRM
    download_drive(f"gdrive://{DRIVE_ID}", target)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    ("page", "message"),
    [(QUOTA, "downloaded too often today: try again tomorrow"), ("<html>Sign in</html>", "not shared with anyone")],
)
def test_pages_instead_of_the_file_are_one_sentence(page: str, message: str, drive: Server, target: Path) -> None:
    drive.drive_page = page
    with pytest.raises(InputError, match=message) as caught:
        download_drive(f"gdrive://{DRIVE_ID}", target)
    assert str(caught.value).startswith(f"Google Drive file {DRIVE_ID} ")
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_a_drive_file_with_a_wrong_checksum_or_too_large(drive: Server, target: Path) -> None:
    with pytest.raises(InputError, match="has the SHA-256"):
        download_drive(f"gdrive://{DRIVE_ID}", target, sha256="0" * 64)
    with pytest.raises(InputError, match="larger than 1,000 bytes"):
        download_drive(f"gdrive://{DRIVE_ID}", target, limit=1_000)
    assert not target.exists()


def test_an_interrupted_drive_download_is_not_taken_for_whole(drive: Server, target: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_drive(f"gdrive://{DRIVE_ID}", target, progress=interrupt)
    assert not target.exists()
    download_drive(f"gdrive://{DRIVE_ID}", target)
    assert target.read_bytes() == DATA
    assert not leftovers(target)


def test_drive_unreachable(drive: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    drive.close()
    with pytest.raises(InputError, match=f"^Google Drive file {DRIVE_ID} cannot be fetched: the connection is refused"):
        download_drive(f"gdrive://{DRIVE_ID}", target)
