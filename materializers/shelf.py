"""How are the files of a dataset read from an artifact store, one by one and in part?"""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

from zenml.artifact_stores import BaseArtifactStore

PART = 8 * 1024**2
CONNECTIONS = 4  # S3 gives about 90 MB a second over each


class StoreShelf:
    """A flat folder of an artifact store; implements `diascope.shelves.Shelf`."""

    def __init__(self, uri: str, store: BaseArtifactStore) -> None:
        self.place, self._store = uri, store

    def names(self) -> list[str]:
        """Return the names of all files."""
        return [str(name) for name in self._store.listdir(self.place)]

    def fetch(self, name: str, target: Path) -> None:
        """Write a whole file to the disk, over several connections where the store gives parts of a file."""
        with self._opened(name) as source, target.open("wb") as file, ThreadPoolExecutor(CONNECTIONS) as pool:
            if not _has_parts(source):
                shutil.copyfileobj(source, file, PART)
                return
            for data in pool.map(lambda start: _part(source, start, PART), range(0, source.size, PART)):
                file.write(data)

    def open(self, name: str) -> BinaryIO:
        """Open a file to read parts of it, of which nothing else is fetched."""
        source = self._opened(name)
        return cast(BinaryIO, Ranges(source) if _has_parts(source) else source)

    def _opened(self, name: str) -> Any:
        return self._store.open(f"{self.place}/{name}", "rb")


class Ranges(io.RawIOBase):
    """A file of an fsspec file system without its reading ahead: for S3 that is 50 MB, for one image as for a shard."""

    def __init__(self, source: Any) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = _part(self._source, self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def _has_parts(source: Any) -> bool:
    return hasattr(source, "fs") and hasattr(source, "size")  # fsspec's, as of S3, Google Cloud and Azure


def _part(source: Any, start: int, length: int) -> bytes:
    stop = min(start + length, source.size)
    return bytes(source.fs.cat_file(source.path, start=start, end=stop)) if start < stop else b""
