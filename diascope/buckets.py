"""How does the content of an S3 bucket get here?"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from diascope import aws
from diascope.archives import BLOCK, entry_path
from diascope.config import ArchiveLimits
from diascope.downloads import check_sha256
from diascope.errors import InputError
from diascope.progress import Progress

ATTEMPTS = 4  # to fetch an object whose body breaks off
CHANGED = ("NoSuchKey", "404", "PreconditionFailed", "412")  # what is answered where an object is not as it was listed
THREADS = 16  # small images: the time goes into waiting for answers


@dataclass(frozen=True)
class Item:
    """One object of a bucket."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Listing:
    """What an `s3://` source holds: one object (an archive), or everything below a prefix."""

    bucket: str
    prefix: str  # "" or ends with "/"
    items: list[Item]
    single: bool

    @property
    def state(self) -> str:
        """Changes whenever an object does."""
        return "\n".join(f"{item.key}\t{item.size}\t{item.etag}" for item in self.items)


def listing(source: str) -> Listing:
    """List an `s3://bucket/prefix` or `s3://bucket/archive.zip`; raises InputError.

    Credentials and endpoint come from the usual places of boto3 (AWS_ENDPOINT_URL, …); without credentials the
    requests are anonymous, which public buckets take.
    """
    parts = urlsplit(source)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    with _reading(source):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        found = [item for page in pages for item in page.get("Contents", [])]
    items = [Item(item["Key"], item["Size"], item["ETag"]) for item in found]
    exact = [item for item in items if item.key == key and not key.endswith("/")]
    if exact:
        return Listing(bucket, "", exact, single=True)
    prefix = key if not key or key.endswith("/") else key + "/"
    below = [item for item in items if item.key.startswith(prefix) and not item.key.endswith("/")]
    if not below:
        raise InputError(f"There is nothing at {source}: check the name of the bucket and what follows it.")
    return Listing(bucket, prefix, sorted(below, key=lambda item: item.key), single=False)


def download_object(
    found: Listing, target: Path, source: str, sha256: str | None = None, progress: Progress | None = None
) -> None:
    """Fetch a single object into a file that appears only when it is complete; raises InputError and OSError."""
    item, part = found.items[0], target.with_name(target.name + ".part")
    with _reading(source):
        _fetch(_client(), found.bucket, item, part)
    check_sha256(part, sha256, source)
    part.replace(target)
    if progress:
        progress("downloading", item.size, item.size)


def download_prefix(
    found: Listing, folder: Path, source: str, limits: ArchiveLimits, progress: Progress | None = None
) -> None:
    """Fetch everything below a prefix; what an earlier attempt left complete is kept.

    Raises
    ------
    InputError: too many or too large objects, keys that leave the folder, or the bucket does not give them.
    OSError: the disk does not take them.
    """
    total = sum(item.size for item in found.items)
    if len(found.items) > limits.entries or total > limits.bytes:
        raise InputError(
            f"{source} holds {len(found.items):,} files of {total:,} bytes, more than dataset.limits allows."
        )
    paths = [(item, entry_path(item.key.removeprefix(found.prefix), source)) for item in found.items]
    wanted = [(item, folder / path) for item, path in paths if path is not None]
    missing = [(item, path) for item, path in wanted if not (path.exists() and path.stat().st_size == item.size)]
    done = sum(item.size for item, _ in wanted) - sum(item.size for item, _ in missing)
    with _reading(source), ThreadPoolExecutor(THREADS) as pool:
        client = _client()
        jobs = [
            pool.submit(_fetch_into, path, client, found.bucket, item, folder.parent / f"object-{index}.part")
            for index, (item, path) in enumerate(missing)
        ]
        try:
            for job, (item, _) in zip(jobs, missing, strict=True):
                job.result()
                done += item.size
                if progress:
                    progress("downloading", done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_objects(found: Listing) -> Callable[[Item], bytes | None]:
    """Return what reads an object of a listing; None for one that has changed or gone since.

    Many threads may read at once. The calls raise InputError where the bucket does not give what it has listed.
    """
    client, source = _client(), f"s3://{found.bucket}/{found.prefix}"

    def read(item: Item) -> bytes | None:
        from botocore.exceptions import ClientError

        content = BytesIO()
        with _reading(source):
            try:
                _copy(client, found.bucket, item, content)
            except ClientError as error:
                if error.response["Error"]["Code"] not in CHANGED:
                    raise
                return None
        return content.getvalue()

    return read


def _fetch_into(path: Path, client: Any, bucket: str, item: Item, part: Path) -> None:
    _fetch(client, bucket, item, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)


def _fetch(client: Any, bucket: str, item: Item, part: Path) -> None:
    with part.open("wb") as file:
        _copy(client, bucket, item, file)


def _copy(client: Any, bucket: str, item: Item, file: IO[bytes]) -> None:
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            body = client.get_object(Bucket=bucket, Key=item.key, IfMatch=item.etag)["Body"]
            file.seek(0)
            file.truncate()
            for block in body.iter_chunks(BLOCK):
                file.write(block)
            return
        except (HTTPClientError, IncompleteReadError):
            if attempt == ATTEMPTS:
                raise


def _client() -> Any:
    return aws.client(aws.session(), "s3", anonymous=True, connections=THREADS)


def _reading(source: str) -> AbstractContextManager[None]:
    return aws.explained(f"Reading {source}")
