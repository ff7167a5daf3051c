"""Which images are to be predicted, and how is each of them read?

Nothing is unpacked or downloaded that can be read where it lies: folders, zip archives and everything below an S3
prefix are read image by image. Other archives and links are brought into the cache first, whole and checked.
"""

import hashlib
import os
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from diascope import buckets, downloads, sources
from diascope.archives import DAMAGE, archive_kind, is_damage, zip_members
from diascope.config import DEMO, ArchiveLimits
from diascope.errors import DISK_FULL, InputError
from diascope.images import ImageError
from diascope.listing import is_data, is_utf8, list_files
from diascope.preflight import is_remote
from diascope.progress import Progress
from diascope.reading import check_length, read_file

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".dcm", ".dicom"}
LISTS = (".csv", ".parquet")
COLUMNS = ("file", "path", "image")  # of a list, in this order, unless it has but one
GONE = "gone"  # the state of a file that is not there


@dataclass(frozen=True)
class Item:
    """One file: its name in the result, and a text that changes whenever the file does."""

    name: str
    state: str


class Images(ABC):
    """The files of a source, in an order that stays the same."""

    threads: int | None = None  # to read with at once; None: as many as decode

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield them; nothing is opened."""

    @abstractmethod
    def read(self, item: Item, max_pixels: int) -> bytes:
        """Return the bytes of a file, in any thread.

        Raises
        ------
        ImageError: this file cannot be read, or is larger than an image of so many pixels can be.
        InputError: the source cannot be read any more.
        """

    @property
    def fingerprint(self) -> str:
        """A hash that changes when a file comes, goes or changes."""
        digest = hashlib.sha256()
        for item in self.items():
            digest.update(f"{item.name}\t{item.state}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


class LocalImages(Images):
    """Files of this machine, called by their paths below a folder, or as a list calls them."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self._root, self._names = root, names

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> Iterator[Item]:
        for name in self._names:
            state = GONE
            with suppress(OSError, ValueError):  # reading it will say what is wrong
                status = os.stat(self._root / name)
                state = f"{status.st_size} {status.st_mtime_ns}"
            yield Item(name, state)

    def read(self, item: Item, max_pixels: int) -> bytes:
        return read_file(self._root / item.name, item.name, max_pixels)


class ZipImages(Images):
    """Files of a zip archive, which is not unpacked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A file of our own: with a path, threads that open members at once may have it closed under them.
        self._file: IO[bytes] = path.open("rb")
        try:
            self._zip = zipfile.ZipFile(self._file)
            members = zip_members(self._zip, str(path))
            files = {str(inside): info for inside, info in members if not info.is_dir()}
        except DAMAGE as error:
            raise InputError(f"{path} is a damaged or incomplete archive ({error}): fetch it again.") from error
        self._members = {name: files[name] for name in sorted(files) if is_data(PurePosixPath(name))}

    def __len__(self) -> int:
        return len(self._members)

    def items(self) -> Iterator[Item]:
        for name, info in self._members.items():
            yield Item(name, f"{info.file_size} {info.CRC:08x}")

    def read(self, item: Item, max_pixels: int) -> bytes:
        info = self._members[item.name]
        check_length(info.file_size, item.name, max_pixels)
        try:
            with self._zip.open(info) as member:
                return member.read(info.file_size)  # not more, whatever the compressed data would give
        except (*DAMAGE, OSError) as error:
            if isinstance(error, OSError) and not is_damage(error):
                raise InputError(f"{str(self._path)!r} cannot be read: {error.strerror}.") from error
            raise ImageError(f"{item.name} is damaged in its archive ({error}).") from error


class BucketImages(Images):
    """Objects below an S3 prefix."""

    threads = buckets.THREADS

    def __init__(self, listing: buckets.Listing) -> None:
        named = [(item.key.removeprefix(listing.prefix), item) for item in listing.items]
        self._objects = {name: item for name, item in named if is_data(PurePosixPath(name))}
        self._read = buckets.read_objects(listing)

    def __len__(self) -> int:
        return len(self._objects)

    def items(self) -> Iterator[Item]:
        for name, item in self._objects.items():
            yield Item(name, f"{item.size} {item.etag}")

    def read(self, item: Item, max_pixels: int) -> bytes:
        found = self._objects[item.name]
        check_length(found.size, item.name, max_pixels)
        data = self._read(found)
        if data is None:
            raise ImageError(f"{item.name} changed or went away after the bucket was listed.")
        return data


def open_images(source: str, limits: ArchiveLimits, progress: Progress | None = None) -> Images:
    """Return the images of a source: whatever the training takes, and a single image or a list of paths.

    How folders are named and what they mean is of no importance; hidden files and texts are left out.

    Raises
    ------
    InputError: the source is not there, cannot be reached or read, or there is no file in it.
    """
    found = _open(source, limits, progress)
    if not len(found):
        raise InputError(f"There is nothing to predict in {downloads.shown(source)!r}: it holds no file but texts.")
    return found


def is_local(source: str) -> bool:
    """Whether a source is a path of this machine."""
    return source != DEMO and not is_remote(source)


def check_source(source: str) -> None:
    """Raise InputError where a path of this machine is not there, or is a folder without files; asks nobody else."""
    if not is_local(source):
        return
    if not os.path.exists(source):  # Path.exists raises where the name is too long
        raise InputError(f"--inference {source}: there is no such file or folder.")
    if not is_utf8(source):
        raise InputError(f"--inference {source!r}: this path is not UTF-8; rename it.")
    if os.path.isdir(source):
        open_images(source, ArchiveLimits())
    elif not os.path.isfile(source):  # reading a pipe or device may never end
        raise InputError(f"--inference {source}: this is neither a file nor a folder.")


def fingerprint(source: str) -> str:
    """Return a hash that changes when the source does, as far as can be told without downloading an archive."""
    if not is_local(source) and _is_image_link(source):
        return hashlib.sha256(_fetched(source, ArchiveLimits()).read_bytes()).hexdigest()
    is_list = is_local(source) and not os.path.isdir(source) and Path(source).suffix.lower() in LISTS
    return _listed(Path(source)).fingerprint if is_list else sources.fingerprint(source)


def _open(source: str, limits: ArchiveLimits, progress: Progress | None) -> Images:
    if not is_local(source):
        return _open_remote(source, limits, progress)
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    try:
        kind = archive_kind(path)
    except OSError as error:
        raise InputError(f"{source!r} cannot be read: {error.strerror}.") from error
    if kind == "zip":
        return ZipImages(path)
    if kind == "tar":  # can be read from the front alone
        return _folder(sources.fetch(source, limits=limits, progress=progress))
    if path.suffix.lower() in LISTS:
        return _listed(path)
    return LocalImages(path.parent, [path.name])


def _open_remote(source: str, limits: ArchiveLimits, progress: Progress | None) -> Images:
    if source.startswith("s3://"):
        listing = buckets.listing(source)
        if not listing.single or _is_image(source):
            return BucketImages(listing)
    elif _is_image_link(source):
        path = _fetched(source, limits, progress)
        return LocalImages(path.parent, [path.name])
    return _folder(sources.fetch(source, limits=limits, progress=progress))


def _folder(root: Path) -> Images:
    return LocalImages(root, ["/".join(parts) for parts in list_files(root).files])


def _is_image(address: str) -> bool:
    return PurePosixPath(downloads.split_link(address).path).suffix.lower() in SUFFIXES


def _is_image_link(source: str) -> bool:
    scheme = downloads.split_link(source).scheme
    return scheme in ("http", "https") and not downloads.is_drive(source) and _is_image(source)


def _fetched(url: str, limits: ArchiveLimits, progress: Progress | None = None) -> Path:
    """A single image behind a link, fetched anew each time: it is small, and may change."""
    name = PurePosixPath(urlsplit(url).path).name
    folder = sources.default_cache() / f"image-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        downloads.download(url, folder / name, limit=limits.bytes, progress=progress)
    except OSError as error:
        full = "the disk is full" if error.errno in DISK_FULL else error.strerror
        raise InputError(f"{str(folder)!r} cannot be written: {full}.") from error
    return folder / name


def _listed(path: Path) -> Images:
    """Paths from a column of a table; relative ones start where the table lies."""
    table = _table(path)
    named = [name for name in COLUMNS if name in table.columns]
    if not named and len(table.columns) != 1:
        columns = ", ".join(map(str, table.columns))
        raise InputError(f"{str(path)!r} has no column 'file' with the paths of images; its columns are {columns}.")
    column = named[0] if named else table.columns[0]
    if not named and os.path.isfile(path.parent / str(column)):
        raise InputError(f"{str(path)!r} begins with the path {column!r}: write a first line that says file.")
    names = table[column].dropna().astype(str)
    return LocalImages(path.parent, names[names != ""].drop_duplicates().tolist())


def _table(path: Path) -> Any:
    """All columns as text, where they come from a CSV; nothing is left out or taken for a missing value."""
    import pandas as pd

    try:
        if path.suffix.lower() != ".csv":
            return pd.read_parquet(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except pd.errors.ParserWarning as error:
        raise InputError(
            f"{str(path)!r} has rows with more fields than its header: put a path with a comma in quotes."
        ) from error
    except (ValueError, OSError) as error:  # of pandas and pyarrow alike
        raise InputError(f"{str(path)!r} is no table that can be read: {' '.join(str(error).split())}.") from error
