"""S3 sources against moto on this machine."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from diascope import aws, buckets
from diascope.buckets import download_object, download_prefix, listing
from diascope.config import ArchiveLimits
from diascope.errors import InputError

FILES = {"set/yes/a.png": b"first", "set/yes/b.png": b"second" * 1000, "set/no/c.png": b"", "set2/x.png": b"other"}
LIMITS = ArchiveLimits()


@pytest.fixture
def s3(in_aws: None) -> Iterator[Any]:
    """A client of a server that holds FILES in the bucket `images`."""
    client = boto3.client("s3")
    client.create_bucket(Bucket="images")
    for key, data in FILES.items():
        client.put_object(Bucket="images", Key=key, Body=data)
    client.put_object(Bucket="images", Key="set/yes/", Body=b"")  # how the AWS console makes a folder
    yield client
    boto3.resource("s3").Bucket("images").objects.delete()
    client.delete_bucket(Bucket="images")


def fetched(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["s3://images/set", "s3://images/set/"])
def test_everything_below_a_prefix_and_nothing_beside_it(source: str, s3: Any, tmp_path: Path) -> None:
    found = listing(source)
    seen: list[tuple[str, int, int | None]] = []
    download_prefix(found, tmp_path / "files", source, LIMITS, lambda *state: seen.append(state))
    assert not found.single
    assert fetched(tmp_path / "files") == {"yes/a.png": b"first", "yes/b.png": b"second" * 1000, "no/c.png": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["files"]
    assert seen[-1] == ("downloading", 6005, 6005)


def test_a_whole_bucket(s3: Any, tmp_path: Path) -> None:
    download_prefix(listing("s3://images"), tmp_path / "files", "s3://images", LIMITS)
    assert fetched(tmp_path / "files") == FILES


def test_a_listing_of_more_than_a_page(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    assert len(listing("s3://images").items) == len(FILES)


def test_a_single_object(s3: Any, tmp_path: Path) -> None:
    found = listing("s3://images/set/yes/b.png")
    assert found.single
    download_object(found, tmp_path / "archive", "s3://images/set/yes/b.png")
    assert fetched(tmp_path) == {"archive": b"second" * 1000}


def test_a_wrong_checksum_is_refused(s3: Any, tmp_path: Path) -> None:
    source = "s3://images/set/yes/b.png"
    with pytest.raises(InputError, match="has the SHA-256"):
        download_object(listing(source), tmp_path / "archive", source, "0" * 64)
    assert not (tmp_path / "archive").exists()


def test_the_state_changes_with_an_object(s3: Any) -> None:
    before = listing("s3://images/set").state
    assert listing("s3://images/set").state == before
    s3.put_object(Bucket="images", Key="set/yes/a.png", Body=b"FIRST")
    assert listing("s3://images/set").state != before


def test_an_interrupted_download_goes_on(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listing("s3://images/set")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_prefix(found, tmp_path / "files", "s3://images/set", LIMITS, interrupt)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "files").rglob("*.png")}
    assert kept
    download_prefix(found, tmp_path / "files", "s3://images/set", LIMITS)
    assert len(fetched(tmp_path / "files")) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_an_object_that_changes_meanwhile_is_noticed(s3: Any, tmp_path: Path) -> None:
    found = listing("s3://images/set")
    s3.put_object(Bucket="images", Key="set/yes/a.png", Body=b"other")
    with pytest.raises(InputError, match="changed while it was read"):
        download_prefix(found, tmp_path / "files", "s3://images/set", LIMITS)


def test_nothing_there_and_no_bucket(s3: Any) -> None:
    with pytest.raises(InputError, match="nothing at s3://images/sets"):
        listing("s3://images/sets")
    with pytest.raises(InputError, match=r"^Reading s3://nowhere/set failed: there is no such bucket; check"):
        listing("s3://nowhere/set")


def test_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    with pytest.raises(InputError, match=r"^Reading s3://images/set failed: Could not connect .* check the region"):
        listing("s3://images/set")


def test_limits(s3: Any, tmp_path: Path) -> None:
    for limits in (ArchiveLimits(entries=2), ArchiveLimits(bytes=6004)):
        with pytest.raises(InputError, match=r"3 files of 6,005 bytes, more than dataset\.limits"):
            download_prefix(listing("s3://images/set"), tmp_path / "files", "s3://images/set", limits)


def test_keys_do_not_leave_the_folder(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="images", Key="bad/../../evil.png", Body=b"evil")
    with pytest.raises(InputError, match="leaves its folder"):
        download_prefix(listing("s3://images/bad"), tmp_path / "files", "s3://images/bad", LIMITS)
    assert not fetched(tmp_path)


def test_a_full_disk_is_left_to_the_caller(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(buckets, "_fetch", full)
    with pytest.raises(OSError, match="No space left"):
        download_prefix(listing("s3://images/set"), tmp_path / "files", "s3://images/set", LIMITS)
