"""Local inputs on their way to S3, against moto on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from diascope import aws, uploads
from diascope.buckets import listing
from diascope.errors import InputError
from diascope.sources import fetch, fetch_file
from diascope.uploads import upload

FILES = {"yes/a.png": b"first", "yes/b.png": b"second" * 1000, "no/ü c.png": b"", "labels.csv": b"file,label\n"}
BELOW = "s3://artifacts/store/diascope/uploads"


@pytest.fixture
def s3(in_aws: None) -> Iterator[Any]:
    client = aws.client(aws.session(), "s3")
    client.create_bucket(Bucket="artifacts")
    yield client
    boto3.resource("s3").Bucket("artifacts").objects.delete()
    client.delete_bucket(Bucket="artifacts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


class Counting:
    """A client of S3 that counts what is put."""

    def __init__(self, client: Any, fail_after: int | None = None) -> None:
        self.client, self.put, self.fail_after = client, list[str](), fail_after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def upload_file(self, path: str, bucket: str, key: str, **options: Any) -> None:
        if self.fail_after is not None and len(self.put) >= self.fail_after:
            raise KeyboardInterrupt
        self.put.append(key)
        self.client.upload_file(path, bucket, key, **options)


def keys(client: Any) -> dict[str, int]:
    return {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket="artifacts").get("Contents", [])}


def test_a_folder_arrives_whole_and_is_read_back(s3: Any, folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    address = upload(folder, BELOW, s3, lambda *state: seen.append(state))

    assert address.startswith(f"{BELOW}/")
    assert address.endswith("/images")
    back = fetch(address, cache=tmp_path / "cache")
    assert {file.relative_to(back).as_posix(): file.read_bytes() for file in back.rglob("*") if file.is_file()} == FILES
    total = sum(map(len, FILES.values()))
    assert ("reading", total, total) in seen
    assert seen[-1] == ("uploading", total, total)


def test_the_same_content_is_stored_once(s3: Any, folder: Path, tmp_path: Path) -> None:
    first, counting = upload(folder, BELOW, s3), Counting(s3)
    copy = tmp_path / "elsewhere" / "images"
    copy.parent.mkdir()
    folder.rename(copy)
    for file in copy.rglob("*.*"):
        os.utime(file, (0, 0))

    assert upload(copy, BELOW, counting) == first
    assert counting.put == []


def test_other_content_has_another_address(s3: Any, folder: Path) -> None:
    first = upload(folder, BELOW, s3)
    (folder / "yes" / "a.png").write_bytes(b"FIRST")  # as many bytes as before
    second = upload(folder, BELOW, s3)

    assert second != first
    assert s3.get_object(Bucket="artifacts", Key=f"{second.removeprefix('s3://artifacts/')}/yes/a.png")[
        "Body"
    ].read() == (b"FIRST")


def test_a_link_that_leads_nowhere_is_named(s3: Any, folder: Path) -> None:
    (folder / "yes" / "z.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(InputError, match=r"z\.png' cannot be read: No such file"):
        upload(folder, BELOW, s3)
    assert keys(s3) == {}


def test_an_interrupted_upload_goes_on(s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "THREADS", 1)
    with pytest.raises(KeyboardInterrupt):
        upload(folder, BELOW, Counting(s3, fail_after=2))
    before, counting = keys(s3), Counting(s3)
    assert len(before) == 2

    address = upload(folder, BELOW, counting)

    assert len(counting.put) == 2
    assert not before.keys() & set(counting.put)
    assert len(listing(address).items) == 4


def test_a_file_keeps_its_name_because_keras_reads_its_ending(s3: Any, tmp_path: Path) -> None:
    weights = tmp_path / "mine.weights.h5"
    weights.write_bytes(b"weights")
    address = upload(weights, BELOW, s3)

    assert address.endswith("/mine.weights.h5")
    there = fetch_file(address, cache=tmp_path / "cache")
    assert (there.name, there.read_bytes()) == ("mine.weights.h5", b"weights")
    assert fetch_file(str(weights)) == weights
    with pytest.raises(InputError, match="is a folder: name a file in it"):
        fetch_file(BELOW, cache=tmp_path / "cache")


def test_a_file_that_changes_meanwhile_is_not_left_there(s3: Any, folder: Path) -> None:
    class Late(Counting):
        def upload_file(self, path: str, bucket: str, key: str, **options: Any) -> None:
            super().upload_file(path, bucket, key, **options)
            if path.endswith("a.png"):
                Path(path).write_bytes(b"later")

    with pytest.raises(InputError, match=r"a\.png' changed while it was uploaded: run again"):
        upload(folder, BELOW, Late(s3))
    assert not any(key.endswith("a.png") for key in keys(s3))


def test_a_bucket_that_is_not_there_and_nothing_to_upload(s3: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^Uploading '.*images' to s3://nowhere/x/.*: there is no such bucket"):
        upload(folder, "s3://nowhere/x", s3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="There is no file in"):
        upload(tmp_path / "empty", BELOW, s3)


def test_links_are_followed_and_do_not_go_round(s3: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.png").write_bytes(b"linked")
    (folder / "linked").symlink_to(tmp_path / "more")
    (folder / "loop").symlink_to(folder)

    found = listing(upload(folder, BELOW, s3))

    assert {item.key.removeprefix(found.prefix) for item in found.items} == {*FILES, "linked/d.png"}
