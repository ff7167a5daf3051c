"""How is a form with files taken apart? (multipart/form-data, RFC 7578)"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from serving.refusals import Refusal

LONGEST_HEADER = 4096  # bytes of one part's header lines together
OTHER_FIELDS = 16  # parts that may stand beside the files
LONGEST_BOUNDARY = 200  # RFC 2046 allows 70
MOST_MISTAKEN = 1000  # lines of a file that begin like the boundary
LONGEST_NAME = 80  # characters of a file name that are shown

_PARAMETER = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.ASCII)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_AFTER_DELIMITER = re.compile(rb"--|[ \t]*\r\n")


@dataclass(frozen=True)
class Part:
    """One field of a form."""

    field: str
    file: str  # the name of the file as sent, cleaned; for showing only
    data: bytes


class Form:
    """All fields of a form."""

    def __init__(self, content_type: str, body: bytes, most_files: int = 1) -> None:
        """Take a form apart.

        Raises
        ------
        Refusal: it is no form (415), breaks its rules (400), or has far more parts than files are accepted (413).
        """
        self.parts: list[Part] = []
        self.most_files = most_files
        for head, data in _split(body, _delimiter(content_type, body)):
            if len(self.parts) == most_files + OTHER_FIELDS:
                raise Refusal(413, "too_many_files", f"The form has more than the {most_files:,} files accepted.")
            self.parts.append(_part(head, data))

    def files(self, field: str) -> list[Part]:
        """Return the files of a field, at least one; raises Refusal."""
        wanted = [part for part in self.parts if part.field == field]
        if not wanted:
            there = ", ".join(sorted({repr(clean(part.field)) for part in self.parts})[:5]) or "nothing"
            raise Refusal(400, "field", f"The form has no field {field!r} but {there}: send the image as {field!r}.")
        if len(wanted) > self.most_files:
            sentence = f"The form has {len(wanted):,} files, more than the {self.most_files:,} accepted."
            raise Refusal(413, "too_many_files", sentence)
        return wanted

    def file(self, field: str) -> Part:
        """Return the one file of a field; raises Refusal."""
        several = sum(part.field == field for part in self.parts) > 1
        if several:
            raise Refusal(400, "field", "The form has several images: send one, or all of them to /predict_batch.")
        return self.files(field)[0]

    def text(self, field: str) -> str | None:
        """Return the text of a field, where it is there."""
        found = [part.data for part in self.parts if part.field == field]
        return found[-1].decode("utf-8", "replace").strip() if found else None


def clean(name: str) -> str:
    """Return a name that may be shown: without folders, control characters and excess length."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in last)
    shown = " ".join(shown.split())
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _delimiter(content_type: str, body: bytes) -> bytes:
    if not body:
        raise Refusal(400, "empty", "The request is empty: send a form with an image.")
    kind = " ".join(content_type.partition(";")[0].lower().split())[:LONGEST_NAME]
    if kind != "multipart/form-data":
        raise Refusal(415, "type", f"Send a form (multipart/form-data), not {kind or 'bytes without a type'}.")
    boundary = _parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise _broken("its Content-Type names no boundary")
    return b"--" + boundary.encode("latin-1", "replace")


def _split(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield head and content of each part (RFC 2046, section 5.1.1)."""
    inner = b"\r\n" + delimiter
    first = body.startswith(delimiter) and _AFTER_DELIMITER.match(body, len(delimiter))
    place = len(delimiter) if first else _next(body, inner, 0) + len(inner)
    while not body.startswith(b"--", place):
        start = body.index(b"\n", place) + 1
        end_of_head = body.find(b"\r\n\r\n", start - 2, start + LONGEST_HEADER)
        if end_of_head < 0:
            raise _broken("a part has no header, or a very long one")
        content = end_of_head + 4
        end = _next(body, inner, content)
        yield body[start:end_of_head], body[content:end]
        place = end + len(inner)


def _next(body: bytes, inner: bytes, start: int) -> int:
    """The next delimiter that is one: an image may hold the same bytes followed by others."""
    place = body.find(inner, start)
    for _ in range(MOST_MISTAKEN):
        if place < 0 or _AFTER_DELIMITER.match(body, place + len(inner)):
            break
        place = body.find(inner, place + 1)
    else:
        raise _broken("its boundary is everywhere in a file")
    if place < 0:
        raise _broken("it ends in the middle, or its boundary is another than its Content-Type says")
    return place


def _part(head: bytes, data: bytes) -> Part:
    disposition = _DISPOSITION.search(head)
    if disposition is None:
        raise _broken("a part has no Content-Disposition")
    parameters = _parameters(disposition.group(1).decode("utf-8", "replace"))
    if "name" not in parameters:
        raise _broken("a part has no name")
    return Part(parameters["name"], clean(parameters.get("filename", "")) or "image", data)


def _parameters(text: str) -> dict[str, str]:
    """Parameters of a header line; browsers write a quote as %22, others as \\"."""
    found = {}
    for name, quoted, plain in _PARAMETER.findall(text):
        found[name.lower()] = quoted.replace('\\"', '"').replace("%22", '"') if quoted else plain.strip()
    return found


def _broken(why: str) -> Refusal:
    return Refusal(400, "form", f"The form cannot be read: {why}.")
