"""How do bytes get here? From folder, archive, https, Drive, Kaggle, S3 or the demo to a folder that can be read."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from diascope import archives, buckets, demo, downloads, kaggle
from diascope.config import DEMO, ArchiveLimits
from diascope.errors import DISK_FULL, InputError
from diascope.progress import Progress

DEFAULT_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class _Source:
    """What the configuration names, recognised."""

    text: str
    kind: Literal["demo", "folder", "file", "s3", "drive", "kaggle", "http"]
    sha256: str | None
    listing: buckets.Listing | None = None
    dataset: kaggle.Handle | None = None  # with its version

    @property
    def name(self) -> str:
        """For messages."""
        return downloads.shown(self.text)

    @property
    def is_archive(self) -> bool:
        if self.listing:
            return self.listing.single
        return self.kind not in ("demo", "folder")

    @property
    def identity(self) -> str:
        """What a copy in the cache is a copy of."""
        where, state = self.text, ""
        if self.kind == "demo":
            state = Path(demo.__file__).read_text(encoding="utf-8")
        elif self.kind == "drive":
            where = downloads.drive_id(self.text)
        elif self.dataset:
            where = str(self.dataset)
        elif self.kind == "file":
            stat = Path(self.text).stat()
            where, state = str(Path(self.text).resolve()), f"{stat.st_size} {stat.st_mtime_ns}"
        elif self.listing:
            state = self.listing.state
        return "\n".join((self.kind, where, state, self.sha256 or ""))


def fetch(
    source: str,
    *,
    sha256: str | None = None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return a local folder with the content of a source.

    A local folder is returned as it is. Everything else is brought into the cache once, checked and unpacked, and
    appears there only when it is complete; an interrupted download goes on the next time.

    Parameters
    ----------
    source: `demo`, a folder, a zip or tar archive, https://, a Google Drive link, gdrive://ID, kaggle:OWNER/NAME or
        s3://.
    sha256: of the archive.
    cache: default DIASCOPE_CACHE, else ~/.cache/diascope.
    progress: called with what is being done, bytes so far, and bytes in all where they are known.

    Raises
    ------
    InputError: the source is not there, cannot be reached, is not what `sha256` says, is not safe to unpack, or does
        not fit on the disk.
    """
    from filelock import FileLock

    found = _recognise(source, sha256)
    if found.kind == "folder":
        return Path(source)
    root = cache or default_cache()
    final = root / f"{_slug(found)}-{_digest(found.identity)[:16]}"
    if final.is_dir():  # also in a cache that can only be read
        return final
    with storage_named(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):  # one process at a time brings it in; the others then find it done
            if not final.is_dir():
                work = final.with_name(final.name + ".part")
                work.mkdir(exist_ok=True)
                _fill(work, found, limits, progress)
                (work / "files").replace(final)
                shutil.rmtree(work)
    return final


def fetch_file(source: str, cache: Path | None = None) -> Path:
    """Return a file that a path or an `s3://` address names, brought into the cache once, under its own name.

    Raises InputError where it is not there, is no single file, or does not fit on the disk.
    """
    from filelock import FileLock

    if not source.startswith("s3://"):
        return Path(source)
    found = _recognise(source, None)
    if found.listing is None or not found.listing.single:
        raise InputError(f"{source} is a folder: name a file in it.")
    root = cache or default_cache()
    folder = root / f"{_slug(found)}-{_digest(found.identity)[:16]}"
    file = folder / Path(found.listing.items[0].key).name  # Keras tells the format from its ending
    with storage_named(root):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not file.is_file():
                buckets.download_object(found.listing, file, source)
    return file


def fingerprint(source: str, sha256: str | None = None) -> str:
    """Return a hash that changes when the source does, as far as can be told without downloading it.

    Folder: names, sizes and times of its files; file: size and time; link: itself and `sha256`; S3: the listing with
    ETags; Kaggle: the version; demo: its generator. Raises InputError where the source is not there.
    """
    found = _recognise(source, sha256)
    return _digest(_folder_state(source) if found.kind == "folder" else found.identity)


def default_cache() -> Path:
    """Where downloads are kept."""
    chosen = os.environ.get("DIASCOPE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "diascope"


def _recognise(text: str, sha256: str | None) -> _Source:
    link = downloads.split_link(text)
    if text == DEMO:
        found = _Source(text, "demo", sha256)
    elif kaggle.is_kaggle(text):
        found = _Source(text, "kaggle", sha256, dataset=kaggle.with_version(kaggle.handle(text)))
    elif "://" not in text:
        if not os.path.exists(text):  # Path.exists raises where the name is too long
            raise InputError(f"There is no file or folder {text!r}: dataset.source names the images to learn from.")
        found = _Source(text, "folder" if Path(text).is_dir() else "file", sha256)
    elif text.startswith("s3://"):
        found = _Source(text, "s3", sha256, buckets.listing(text))
    elif downloads.is_drive(text):
        found = _Source(text, "drive", sha256)
    elif link.scheme in ("http", "https") and link.hostname:
        found = _Source(text, "http", sha256)
    else:
        raise InputError(
            f"{downloads.shown(text)} is no source that can be read: give a folder, an archive, https://, a Google "
            "Drive link, kaggle:OWNER/NAME, s3:// or demo."
        )
    if sha256 and not found.is_archive:
        raise InputError(f"dataset.sha256 is that of an archive, but {found.name} is none: leave it out.")
    return found


def _fill(work: Path, source: _Source, limits: ArchiveLimits, progress: Progress | None) -> None:
    """Make `work/files` complete."""
    files = work / "files"
    if source.listing and not source.listing.single:
        files.mkdir(exist_ok=True)
        buckets.download_prefix(source.listing, files, source.name, limits, progress)
        return
    if files.exists():  # left by an interrupt
        shutil.rmtree(files)
    files.mkdir()
    if source.kind == "demo":
        demo.write_demo(files)
        return
    try:
        archives.extract(_archive(work, source, limits, progress), files, limits, source.name, progress)
    except InputError:
        shutil.rmtree(work)  # what was fetched is no good: the next run fetches it anew
        raise
    except OSError:
        shutil.rmtree(files)  # the disk may be full
        raise


def _archive(work: Path, source: _Source, limits: ArchiveLimits, progress: Progress | None) -> Path:
    """The source's archive as a local file, fetched if it is not here yet."""
    if source.kind == "file":
        downloads.check_sha256(Path(source.text), source.sha256, source.name)
        return Path(source.text)
    archive = work / "archive"
    if archive.exists():
        return archive
    if source.listing:
        buckets.download_object(source.listing, archive, source.name, source.sha256, progress)
    elif source.kind == "drive":
        downloads.download_drive(source.text, archive, sha256=source.sha256, limit=limits.bytes, progress=progress)
    else:
        link = kaggle.archive_link(source.dataset) if source.dataset else source.text
        downloads.download(link, archive, sha256=source.sha256, limit=limits.bytes, progress=progress, name=source.name)
    return archive


def _slug(source: _Source) -> str:
    """A name by which a person finds the copy in the cache."""
    last = Path(urlsplit(source.text).path or source.text).name if source.kind != "drive" else "drive"
    if source.dataset:
        last = f"{source.dataset.name} {source.dataset.version}"
    return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-")[:40] or source.kind


def _folder_state(folder: str) -> str:
    lines, visited = [], set()
    for here, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(here) in visited:  # a link back up
            folders.clear()
            continue
        visited.add(os.path.realpath(here))
        for name in names:
            path = os.path.join(here, name)
            with suppress(FileNotFoundError):  # it went away while the folder was listed
                stat = os.stat(path) if os.path.exists(path) else os.lstat(path)
                lines.append(f"{os.path.relpath(path, folder)}\t{stat.st_size}\t{stat.st_mtime_ns}")
    return "\n".join(["folder", *sorted(lines)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def storage_named(root: Path) -> Iterator[None]:
    """Turn what the disk refuses below a folder of the cache into an InputError that names it."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(
                f"The disk of {str(root)!r} is full: free some space or point DIASCOPE_CACHE to another disk; the next "
                "run goes on from here."
            ) from error
        what = error.filename or root
        raise InputError(f"{str(what)!r} cannot be read or written: {error.strerror or error}.") from error
