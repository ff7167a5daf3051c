"""Are forms taken apart as the standards say, whatever is in the files?"""

import contextlib
import time
import uuid

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.forms import LONGEST_HEADER, LONGEST_NAME, OTHER_FIELDS, Form, clean
from serving.refusals import Refusal


def form(*parts: bytes, boundary: bytes = b"x", before: bytes = b"", after: bytes = b"--\r\n") -> bytes:
    """A body whose parts are given with their headers."""
    return before + b"--" + boundary + b"".join(b"\r\n" + each + b"\r\n--" + boundary for each in parts) + after


def part(name: bytes, data: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + data


def read(body: bytes, content_type: str = "multipart/form-data; boundary=x", most: int = 1) -> list[tuple]:
    return [(each.field, each.file, each.data) for each in Form(content_type, body, most).parts]


FIELDS = st.text("abcdefghij_", min_size=1, max_size=10)
NAMES = st.text(st.characters(categories=("L", "N", "Zs"), include_characters="\".;='%"), min_size=1, max_size=20)


@given(st.lists(st.tuples(FIELDS, NAMES, st.binary(max_size=200)), min_size=1, max_size=5))
def test_what_a_client_sends_arrives(sent: list[tuple[str, str, bytes]]) -> None:
    request = httpx.Request("POST", "http://x/", files=[(field, (name, data)) for field, name, data in sent])
    found = Form(request.headers["content-type"], request.read(), 5).parts
    assert [(each.field, each.data) for each in found] == [(field, data) for field, _, data in sent]
    assert [each.file for each in found] == [clean(name) or "image" for _, name, _ in sent]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    for whole in (body, form(body), form(part(b"image", body))):
        with contextlib.suppress(Refusal):
            Form("multipart/form-data; boundary=x", whole)


@given(
    st.lists(st.sampled_from([b"\r\n", b"--", b"x", b"\r\n--x", b"\r\n--xy", b"-", b"\n--x\r\n", b"y"]), max_size=12)
)
def test_bytes_like_the_boundary_may_be_in_a_file(pieces: list[bytes]) -> None:
    """As long as no line starts with the boundary and ends behind it."""
    data = b"".join(pieces)
    boundary = uuid.uuid4().hex.encode()
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    noisy = data.replace(b"x", boundary[:-1])
    assert read(form(part(b"a", noisy), boundary=boundary), content_type) == [("a", "image", noisy)]


def test_a_longer_line_is_no_boundary() -> None:
    data = b"1\r\n--xy\r\n2\r\n--x-\r\n3"
    assert read(form(part(b"a", data))) == [("a", "image", data)]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=x",
        'multipart/form-data; boundary="x"',
        "Multipart/Form-Data;charset=utf-8;BOUNDARY=x ",
    ],
)
def test_boundaries_are_found(content_type: str) -> None:
    assert read(form(part(b"a", b"1")), content_type) == [("a", "image", b"1")]


def test_a_quoted_boundary_may_hold_anything() -> None:
    body = form(part(b"a", b"1"), boundary=b"a b:c=;d")
    assert read(body, 'multipart/form-data; boundary="a b:c=;d"') == [("a", "image", b"1")]


def test_text_around_the_parts_and_blanks_behind_a_boundary() -> None:
    body = form(part(b"a", b"1"), part(b"b", b"2"), before=b"Hello\r\n\r\n", after=b"--\r\nGood bye\r\n--x\r\n")
    body = body.replace(b"--x\r\nContent", b"--x \t \r\nContent", 1)
    assert read(body) == [("a", "image", b"1"), ("b", "image", b"2")]
    assert read(form(part(b"a", b""), before=b"\r\n", after=b"--")) == [("a", "image", b"")]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b'; filename="a.png"', "a.png"),
        (b"; filename=a.png", "a.png"),
        ('; filename="Röntgen 体.png"'.encode(), "Röntgen 体.png"),
        (b'; filename="\xff.png"', "\ufffd.png"),
        (b'; filename="a\\"b.png"', 'a"b.png'),
        (b'; filename="a%22b.png"', 'a"b.png'),
        (b'; filename="../../etc/passwd"', "passwd"),
        (b'; filename="C:\\scans\\a.png"', "a.png"),
        (b'; filename="a\x00\x1b[31m.png"', "a [31m.png"),
        ('; filename="a\u202egnp.png"'.encode(), "a gnp.png"),
        (b'; filename=""', "image"),
        (b'; filename=".."', ".."),
        (b"", "image"),
        (b'; filename="' + 200 * b"n" + b'"', (LONGEST_NAME - 1) * "n" + "…"),
    ],
)
def test_names_are_for_showing_only(said: bytes, shown: str) -> None:
    assert read(form(part(b"a", b"1", said))) == [("a", shown, b"1")]


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b"--x",
        b"--x--",
        b"--x\r\n",
        form(part(b"a", b"1"))[:-4],
        form(part(b"a", b"1")).replace(b"--x", b"--y"),
        form(b"\r\n1"),
        form(b"Content-Type: text/plain\r\n\r\n1"),
        form(b"Content-Disposition: form-data\r\n\r\n1"),
        form(b"Content-Disposition: attachment; name=a\r\n\r\n1"),
        form(b"A: " + LONGEST_HEADER * b"b" + b"\r\n" + part(b"a", b"1")),
    ],
)
def test_broken_forms(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        Form("multipart/form-data; boundary=x", body).file("a")
    assert caught.value.status == 400


def test_the_number_of_parts_is_limited_before_they_are_kept() -> None:
    many = form(*[part(b"a", b"1")] * 1000)
    with pytest.raises(Refusal, match="more than the 3 files") as caught:
        Form("multipart/form-data; boundary=x", many, 3)
    assert caught.value.status == 413
    just = form(*[part(b"a", b"1")] * 3, *[part(b"b", b"1")] * OTHER_FIELDS)
    assert len(Form("multipart/form-data; boundary=x", just, 3).files("a")) == 3


def test_texts() -> None:
    sent = Form("multipart/form-data; boundary=x", form(part(b"a", b" 1 "), part(b"a", " ä ".encode())))
    assert (sent.text("a"), sent.text("b")) == ("ä", None)


def test_a_file_full_of_boundaries_does_not_hold_up_the_others() -> None:
    body = form(part(b"a", b"\r\n--xy" * 3_000_000))
    start = time.process_time()
    with pytest.raises(Refusal, match="boundary"):
        Form("multipart/form-data; boundary=x", body)
    assert time.process_time() - start < 0.1
