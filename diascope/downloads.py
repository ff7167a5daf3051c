"""How does one file come over the network, whole or not at all?"""

import hashlib
import re
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

from diascope.errors import InputError
from diascope.progress import Progress

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5  # in a row without a byte
BACKOFF = 1.0  # seconds before the second attempt, doubled for each further one
TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
BLOCK = 64 * 1024  # bytes, at most what a broken connection loses
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DRIVE_HOSTS = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")


def split_link(source: str) -> SplitResult:
    """Return the parts of a link; raises InputError where it has none."""
    try:
        return urlsplit(source)
    except ValueError as error:
        raise InputError(f"{source!r} is no link that can be read: {error}.") from error


def shown(source: str) -> str:
    """The source as it may appear in messages: without passwords and signatures."""
    if "://" not in source:
        return source
    parts = split_link(source)
    if is_drive(source):
        return f"Google Drive file {drive_id(source)}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_drive(source: str) -> bool:
    """Whether the source is a Google Drive link or `gdrive://` with a file's id."""
    return source.startswith("gdrive://") or split_link(source).hostname in DRIVE_HOSTS


def drive_id(source: str) -> str:
    """The id of the file behind a Google Drive link; raises InputError."""
    parts = urlsplit(source)
    if source.startswith("gdrive://"):
        found = re.fullmatch(r"([-\w]+)/?", source.removeprefix("gdrive://"))
    else:
        found = re.search(r"/file/(?:u/\d+/)?d/([-\w]+)", parts.path)
    identity = found[1] if found else parse_qs(parts.query).get("id", [""])[0]
    if not re.fullmatch(r"[-\w]+", identity):
        raise InputError(
            f"{parts.scheme}://{parts.netloc}{parts.path} is not the Google Drive link of one file: share a single "
            "archive and give its link."
        )
    return identity


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    name: str | None = None,
) -> None:
    """Fetch an http(s) link into a file that appears only when it is complete.

    An interrupted download goes on where it stopped, if the server still has the same file (RFC 9110, If-Range).

    Parameters
    ----------
    limit: bytes beyond which the download is given up.
    name: what is fetched, for messages; default: the link.

    Raises
    ------
    InputError: the link is not allowed, cannot be reached, answers with an error, or its content has another SHA-256.
    OSError: the disk does not take it.
    """
    import requests
    from urllib3.exceptions import LocationParseError

    _check_transport(url, sha256)
    name = name or shown(url)
    part = target.with_name(target.name + ".part")
    failures = 0
    with requests.Session() as session:
        while True:
            before = _size(part)
            try:
                if _transfer(session, url, part, sha256, limit, progress, name):
                    break
                problem: str = "the connection breaks off"
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                problem = reason(error)
            except (requests.RequestException, LocationParseError) as error:  # requests lets the latter through
                raise InputError(f"{name} cannot be fetched: {reason(error)}.") from error
            failures = 1 if _size(part) > before else failures + 1
            if failures == ATTEMPTS:
                raise InputError(
                    f"{name} cannot be fetched: {problem}; check the link and the connection, then run again."
                )
            time.sleep(BACKOFF * 2 ** (failures - 1))
    _accept(part, target, sha256, name)
    _validator_file(part).unlink(missing_ok=True)


def download_drive(
    source: str, target: Path, *, sha256: str | None = None, limit: int | None = None, progress: Progress | None = None
) -> None:
    """Fetch a publicly shared Google Drive file; the parameters and errors are those of `download`."""
    import gdown
    import requests
    from gdown.exceptions import DownloadError

    part = target.with_name("drive")
    if sha256 is None:  # without it, nothing would tell that the file changed between two halves
        for leftover in target.parent.glob("drive*"):
            leftover.unlink()

    def report(done: int, total: int | None) -> None:
        _check_limit(done, limit, shown(source))
        if progress:
            progress("downloading", done, total)

    try:
        gdown.download(
            id=drive_id(source),
            output=str(part),
            quiet=True,
            use_cookies=False,
            resume=sha256 is not None,
            retries=ATTEMPTS - 1,
            timeout=TIMEOUT,
            progress=report,
        )
    except (DownloadError, requests.RequestException) as error:
        raise InputError(_drive_problem(shown(source), " ".join(str(error).split()))) from error
    _accept(part, target, sha256, shown(source))


def check_sha256(path: Path, expected: str | None, name: str) -> None:
    """Raise InputError if the file's content is not what was expected."""
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise InputError(f"{name} has the SHA-256 {found}, not {expected} as dataset.sha256 says.")


def _accept(part: Path, target: Path, sha256: str | None, name: str) -> None:
    try:
        check_sha256(part, sha256, name)
    except InputError:
        part.unlink()
        raise
    part.replace(target)


def _check_limit(done: int, limit: int | None, name: str) -> None:
    if limit is not None and done > limit:
        raise InputError(f"{name} is larger than {limit:,} bytes (dataset.limits.bytes).")


def _check_transport(url: str, sha256: str | None) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and sha256 is None and parts.hostname not in LOOPBACK:
        raise InputError(
            f"{shown(url)} is not encrypted, so anyone on the way could change it: give an https:// link or set "
            "dataset.sha256."
        )


def _transfer(
    session: "requests.Session",
    url: str,
    part: Path,
    sha256: str | None,
    limit: int | None,
    progress: Progress | None,
    name: str,
) -> bool:
    """Append what is missing of the file; return whether it is complete."""
    with session.get(url, headers=_resume_headers(part), stream=True, timeout=TIMEOUT) as response:
        for hop in (*response.history, response):
            _check_transport(hop.url, sha256)
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
            return False
        if response.status_code >= 500 or response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            import requests

            raise requests.ConnectionError(f"the server answers {response.status_code} {response.reason}")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise InputError(f"{name} cannot be fetched: the server answers {response.status_code} {response.reason}.")
        start = _start(response, part)
        if not start:
            part.write_bytes(b"")  # before the validator: an old half must never carry the new file's
        validator = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
        _validator_file(part).write_text("" if validator.startswith("W/") else validator)
        return _write(response, part, start, limit, name, progress)


def _write(
    response: "requests.Response", part: Path, start: int, limit: int | None, name: str, progress: Progress | None
) -> bool:
    length = None if "Content-Encoding" in response.headers else response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    done = start
    with part.open("ab") as file:
        for block in response.iter_content(BLOCK):
            file.write(block)
            done += len(block)
            _check_limit(done, limit, name)
            if progress:
                progress("downloading", done, total)
    return total is None or done == total


def _resume_headers(part: Path) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    validator = _validator_file(part)
    if _size(part) and validator.exists() and (known := validator.read_text()):
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": known}
    return headers


def _start(response: "requests.Response", part: Path) -> int:
    """Where in the file the answer begins."""
    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != _size(part):
        raise InputError(f"{shown(response.url)} answers with another part of the file than was asked for: run again.")
    return int(found[1])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".validator")


def reason(error: object) -> str:
    """Return the innermost cause in a few words: what requests says of a refused connection is three nested objects."""
    text = str(error)
    for sign, reason in (
        ("Name or service not known", "there is no such host"),
        ("Failed to resolve", "there is no such host"),
        ("Temporary failure in name resolution", "the host's address cannot be found"),
        ("Connection refused", "the connection is refused"),
        ("timed out", "the server does not answer in time"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate cannot be trusted"),
    ):
        if sign in text:
            return reason
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _drive_problem(name: str, message: str) -> str:
    if "Too many users" in message or "quota" in message.lower():
        return (
            f"{name} has been downloaded too often today: try again tomorrow, or download it in the browser and give "
            "its path."
        )
    if "Cannot retrieve" in message:
        return f"{name} is not there or not shared with anyone who has the link."
    return f"{name} cannot be fetched: {reason(message)}."
