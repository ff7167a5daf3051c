"""How do local images and weights get to where remote steps can read them?"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from diascope import aws
from diascope.errors import InputError
from diascope.progress import Progress

THREADS = 16  # small images: the time goes into waiting for answers
BLOCK = 2**20


@dataclass(frozen=True)
class _File:
    """A file that is to be uploaded, as it was when it was read."""

    path: Path
    key: str  # below the upload's own prefix
    size: int
    modified: int
    sha256: str


def upload(path: Path, below: str, client: Any, progress: Progress | None = None) -> str:
    """Put a file or a folder below an `s3://` address, and return the address it has there.

    The address contains a fingerprint of the content, so that the same content is stored once; an upload that was
    interrupted goes on with what is missing. `client` is one of S3.

    Raises
    ------
    InputError: the bucket does not take it, or a file cannot be read, changes meanwhile, or there is none.
    """
    files = _read(path, progress)
    if not files:
        raise InputError(f"There is no file in {str(path)!r} to upload.")
    parts = urlsplit(below)
    prefix = f"{parts.path.strip('/')}/{_fingerprint(files)[:32]}/".lstrip("/")
    address = f"s3://{parts.netloc}/{prefix}{_name(path)}"
    with aws.explained(f"Uploading {str(path)!r} to {address}"):
        there = _sizes(client, parts.netloc, prefix)
        missing = [file for file in files if there.get(prefix + file.key) != file.size]
        _put(missing, client, parts.netloc, prefix, progress)
    return address


def _read(path: Path, progress: Progress | None) -> list[_File]:
    """Every file with its hash, in the order of their keys."""
    found = sorted((key, file) for file, key in _files(path))
    total, done = sum(_size(file) for _, file in found), 0
    files = []
    with ThreadPoolExecutor(THREADS) as pool:
        for file in pool.map(_hashed, found):
            files.append(file)
            done += file.size
            if progress:
                progress("reading", done, total)
    return files


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Files below a folder, also where links lead, or the file itself, and what they shall be called."""
    if path.is_file():
        yield path, _name(path)
        return
    visited = set()
    for here, folders, names in os.walk(path, followlinks=True):
        if os.path.realpath(here) in visited:  # a link back up
            folders.clear()
            continue
        visited.add(os.path.realpath(here))
        for name in names:
            file = Path(here, name)
            yield file, f"{_name(path)}/{file.relative_to(path).as_posix()}"


def _size(file: Path) -> int:
    try:
        return os.path.getsize(file)
    except OSError as error:  # a link that leads nowhere
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror}.") from error


def _hashed(found: tuple[str, Path]) -> _File:
    key, path = found
    digest = hashlib.sha256()
    try:
        with path.open("rb") as content:
            stat = os.fstat(content.fileno())
            while block := content.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    return _File(path, key, stat.st_size, stat.st_mtime_ns, digest.hexdigest())


def _fingerprint(files: list[_File]) -> str:
    lines = "\n".join(f"{file.key}\t{file.size}\t{file.sha256}" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _sizes(client: Any, bucket: str, prefix: str) -> dict[str, int]:
    """What an earlier attempt has brought there; S3 shows an object only when it is complete."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def _put(files: list[_File], client: Any, bucket: str, prefix: str, progress: Progress | None) -> None:
    from boto3.s3.transfer import TransferConfig

    transfer = TransferConfig(use_threads=False)  # files go side by side already
    total, done = sum(file.size for file in files), 0
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = {pool.submit(_put_one, file, client, bucket, prefix + file.key, transfer): file for file in files}
        try:
            for job in as_completed(jobs):
                job.result()
                done += jobs[job].size
                if progress:
                    progress("uploading", done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _put_one(file: _File, client: Any, bucket: str, key: str, transfer: Any) -> None:
    client.upload_file(str(file.path), bucket, key, Config=transfer)
    stat = file.path.stat()
    if (stat.st_size, stat.st_mtime_ns) != (file.size, file.modified):
        client.delete_object(Bucket=bucket, Key=key)  # it is not what its address says
        raise InputError(f"{str(file.path)!r} changed while it was uploaded: run again.")


def _name(path: Path) -> str:
    return path.resolve().name or "data"
