"""How is a dataset read from where it does not lie on this machine's disk? Shard by shard, the next one ahead."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

from diascope.contents import Shard, damaged, digest, readable


class Shelf(Protocol):
    """A flat folder in some store. What is not there is a FileNotFoundError."""

    place: str  # for messages

    def names(self) -> list[str]:
        """Return the names of all files."""
        ...

    def fetch(self, name: str, target: Path) -> None:
        """Write a whole file to the disk."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file to read parts of it, of which nothing else is fetched."""
        ...


def fetched(shelf: Shelf, shards: Sequence[Shard]) -> Iterator[Path]:
    """Yield each shard as a file that is there until the next one is asked for, and meanwhile fetch the next.

    At most two are on the disk. Raises InputError where one is missing, damaged, or finds no room.
    """
    with TemporaryDirectory(prefix="diascope-shards-") as folder, ThreadPoolExecutor(1) as pool:
        fetches = (pool.submit(_fetch, shelf, shard, Path(folder) / shard.name) for shard in shards)
        ahead = next(fetches, None)
        while ahead is not None:
            path = ahead.result()
            ahead = next(fetches, None)
            yield path
            path.unlink()


def _fetch(shelf: Shelf, shard: Shard, target: Path) -> Path:
    with readable(shelf.place, shard.name):
        shelf.fetch(shard.name, target)
    if shard.sha256 and digest(target) != shard.sha256:
        raise damaged(shelf.place, shard.name)
    return target
