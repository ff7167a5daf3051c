"""How is a foreign archive unpacked without trusting it?"""

import bz2
import errno
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from diascope.config import ArchiveLimits
from diascope.errors import InputError
from diascope.progress import Progress

BLOCK = 1024 * 1024
LARGEST_HEADER = 16 * 1024 * 1024  # a tar header that claims more is an attack on memory
RATIO_MATTERS_FROM = 1024 * 1024  # a few kilobytes of zeros harm nobody

# What a damaged archive makes the libraries raise; a name of a zip's member may be damaged too.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError),
    *(UnicodeDecodeError, NotImplementedError),
)
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # gzip, bzip2, xz


@dataclass(frozen=True)
class _Entry:
    """A file, or a folder where `open` is missing; `path` is known to stay inside the target."""

    path: PurePosixPath
    open: Callable[[], IO[bytes]] | None


def extract(archive: Path, target: Path, limits: ArchiveLimits, name: str, progress: Progress | None = None) -> None:
    """Unpack a zip or (compressed) tar into an existing folder, within limits that are counted and not believed.

    What operating systems add (`__MACOSX`, `.DS_Store`) is left out. `target` is to be thrown away after any error.

    Raises
    ------
    InputError: the archive `name` is damaged, incomplete, encrypted, too large, or holds links, devices or entries
        that leave the folder.
    OSError: the disk does not take it.
    """
    written = files = 0
    compressed = archive.stat().st_size
    with _damage_named(name), _opened(archive, name) as found:
        for count, entry in enumerate(found, start=1):
            if count > limits.entries:
                raise InputError(f"{name} holds more than {limits.entries:,} files (dataset.limits.entries).")
            path = target / entry.path
            if entry.open is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as source, path.open("wb") as file:
                while block := source.read(BLOCK):
                    written += len(block)
                    _check_size(written, compressed, limits, name)
                    file.write(block)
            files += 1
            if progress:
                progress("extracting", written, None)
    if not files:
        raise InputError(f"{name} holds no files.")


def entry_path(entry: str, name: str) -> PurePosixPath | None:
    """Return where an entry belongs below the target, or None for what operating systems add; raises InputError."""
    plain = entry.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or ".." in path.parts or "\0" in plain or re.match(r"[A-Za-z]:", plain):
        raise InputError(f"{name} holds an entry that leaves its folder, {entry[:80]!r}: it is not unpacked.")
    junk = any(part == "__MACOSX" or part.startswith("._") for part in path.parts)
    return None if junk or path.name in ("", ".DS_Store", "Thumbs.db", "desktop.ini") else path


def archive_kind(path: Path) -> str | None:
    """`zip` or `tar`, told by the content; None for any other file."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
        return "zip"
    if head[257:262] == b"ustar" or head.startswith(_COMPRESSED) or tarfile.is_tarfile(path):
        return "tar"
    return None


def is_damage(error: OSError) -> bool:
    """Whether it is the archive's fault, and not the disk's: it is no data of its kind, or says impossible offsets."""
    return error.errno is None or (error.errno == errno.EINVAL and error.filename is None)


def _check_size(written: int, compressed: int, limits: ArchiveLimits, name: str) -> None:
    if written > limits.bytes:
        raise InputError(f"{name} grows beyond {limits.bytes:,} bytes when it is unpacked (dataset.limits.bytes).")
    if written > max(limits.ratio * compressed, RATIO_MATTERS_FROM):
        raise InputError(
            f"{name} grows to more than {limits.ratio:g} times its size when it is unpacked (dataset.limits.ratio)."
        )


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise InputError(f"{name} is compressed in a way that cannot be read ({error}).") from error
    except DAMAGE as error:
        raise InputError(f"{name} is a damaged or incomplete archive ({error}): fetch it again.") from error
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{name} is a damaged archive: it holds a file and a folder of the same name.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{name} holds a file name that is too long for this disk.") from error
        if not is_damage(error):
            raise
        raise InputError(f"{name} is a damaged or incomplete archive ({error}): fetch it again.") from error


@contextmanager
def _opened(archive: Path, name: str) -> Iterator[Iterator[_Entry]]:
    kind = archive_kind(archive)
    if kind == "zip":
        with zipfile.ZipFile(archive) as opened:
            yield _zip_entries(opened, name)
    elif kind == "tar":
        with _decompressed(archive) as stream:
            blocks = _Blocks(stream)
            with tarfile.open(fileobj=cast(IO[bytes], blocks), mode="r:", errors="replace") as tar:
                yield _tar_entries(tar, blocks, name)
    else:
        raise InputError(f"{name} is neither a zip nor a tar archive{_guess(archive)}.")


def _guess(archive: Path) -> str:
    with archive.open("rb") as file:
        head = file.read(512).lstrip().lower()
    return " but a web page: give the link of the file itself" if head.startswith((b"<!doctype", b"<html")) else ""


def _zip_entries(archive: zipfile.ZipFile, name: str) -> Iterator[_Entry]:
    for path, info in zip_members(archive, name):
        yield _Entry(path, None if info.is_dir() else partial(archive.open, info))


def zip_members(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Yield files and folders of a zip and where they belong, without what operating systems add; raises InputError."""
    for info in archive.infolist():
        path = entry_path(info.filename, name)
        if path is None:
            continue
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"{name} holds {info.filename!r}, a link or device: it is not unpacked.")
        if info.flag_bits & 1:
            raise InputError(f"{name} is protected by a password: unpack it yourself and give the folder.")
        yield path, info


def _tar_entries(archive: tarfile.TarFile, blocks: "_Blocks", name: str) -> Iterator[_Entry]:
    for info in archive:
        path = entry_path(info.name, name)
        if path is None:
            continue
        if not (info.isreg() or info.isdir()):
            raise InputError(f"{name} holds {info.name!r}, a link or device: it is not unpacked.")
        content = cast(Callable[[], IO[bytes]], partial(archive.extractfile, info))
        yield _Entry(path, None if info.isdir() else content)
    if blocks.last.strip(b"\0") or len(blocks.last) < tarfile.BLOCKSIZE:  # tarfile takes a cut tar for a short one
        raise tarfile.ReadError("its end is missing")
    blocks.finish()


class _Blocks:
    """The stream below a tar: remembers the last block read, and refuses to read a huge header into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > LARGEST_HEADER:
            raise tarfile.ReadError("a header is too large")
        self.last = self._stream.read(size)
        return self.last

    def finish(self) -> None:
        """Read the padding, so that a compressed stream checks its own length and checksum."""
        for _ in range(LARGEST_HEADER // BLOCK):
            if not self._stream.read(BLOCK):
                return


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        head = file.read(6)
    openers: tuple[Any, ...] = (gzip.open, bz2.open, lzma.open)
    for magic, opener in zip(_COMPRESSED, openers, strict=True):
        if head.startswith(magic):
            return cast(IO[bytes], opener(archive, "rb"))
    return archive.open("rb")
