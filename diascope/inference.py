"""How is a whole source predicted, as fast as the engine goes, and taken up again after an interrupt?"""

import hashlib
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from diascope import __version__
from diascope.answers import Answer
from diascope.classifier import METADATA, Classifier, sha256
from diascope.engine import ahead
from diascope.errors import InputError
from diascope.images import ImageError, decode
from diascope.inference_images import Images, Item
from diascope.inference_table import ERROR, Row, batches, join, row, schema, write_rows
from diascope.listing import count_files
from diascope.progress import Progress
from diascope.sources import storage_named

CHUNK = 256  # files whose rows are kept together: at most what an interrupt loses
TOLD = 0.25  # seconds between two looks at how far it is
SAID = 1  # version of what is kept


T = TypeVar("T")


@dataclass(frozen=True)
class Tally:
    """What predicting took."""

    n: int  # files
    n_new: int  # of them predicted now; the rows of the others were kept from before an interrupt
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Of those that were predicted now."""
        return self.n_new / self.seconds if self.seconds else 0.0


def predict_all(
    classifier: Classifier,
    images: Images,
    table: Path,
    kept: Path,
    *,
    model: str,
    version: int,
    max_pixels: int,
    progress: Progress | None = None,
) -> Tally:
    """Write one row for each image, in their order, into a Parquet file `table`.

    A file that cannot be read or decoded has a row that says why. Rows are kept in the folder `kept` as they come, by
    the model, `max_pixels` and by names and states of the files: after an interrupt only what is missing is predicted,
    and images that changed meanwhile. The folder is removed at the end. Memory does not grow with the number of images,
    but for their names.

    Raises
    ------
    InputError: the source cannot be read any more, or none of its files is an image.
    """
    from filelock import FileLock

    with storage_named(kept.parent):
        kept.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):  # another process that does the same would find its parts removed
        kept.mkdir(exist_ok=True)
        parts = _Parts(kept, classifier, model, version, max_pixels)
        tell = _Rate(progress, len(images))
        for chunk in _predicted(classifier, images, parts, max_pixels, tell):
            parts.keep(*chunk)
        n = join(parts.paths, parts.columns, table)
        shutil.rmtree(kept)
    _check_some_answered(table, n)
    return Tally(n=n, n_new=tell.n_new, seconds=tell.seconds)


def _check_some_answered(table: Path, n: int) -> None:
    error = ""
    for batch in batches(table, ["status", "error"]):
        if any(status != ERROR for status in batch["status"].to_pylist()):
            return
        error = error or batch["error"][0].as_py()
    raise InputError(f"Of {count_files(n)} none could be predicted, the first because {error}")


def _predicted(
    classifier: Classifier, images: Images, parts: "_Parts", max_pixels: int, tell: "_Rate"
) -> Iterator[tuple[Path, list[Row]]]:
    """Yield the rows of each chunk that is not kept yet, with its path, while the next ones are on their way."""
    ends, rows = deque[tuple[Path, int]](), list[Row]()

    def missing() -> Iterator[Item]:
        for chunk in chunks(images.items()):
            if path := parts.missing(chunk):
                ends.append((path, len(chunk)))
                yield from chunk
            else:
                tell.n_kept += len(chunk)

    for item, outcome in answered(classifier, images, missing(), max_pixels):
        rows.append(row(item.name, outcome, classifier.info.class_names, parts.model, parts.version))
        tell()
        if len(rows) == ends[0][1]:
            yield ends.popleft()[0], rows
            rows = []


class _Parts:
    """Rows of chunks in files whose names say what they were made from, and by which model."""

    def __init__(self, folder: Path, classifier: Classifier, model: str, version: int, max_pixels: int) -> None:
        self.model, self.version = model, version
        self.columns = schema(classifier.info.class_names)
        self.paths: list[Path] = []  # of all chunks so far, in order
        self._folder = folder
        about = (SAID, __version__, model, version, max_pixels, sha256(classifier.root / METADATA))
        self._begin = hashlib.sha256(repr(about).encode())

    def missing(self, chunk: list[Item]) -> Path | None:
        """Where the rows of a chunk belong; None where they are there."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        digest = self._begin.copy()
        for item in chunk:
            digest.update(f"{item.name}\0{item.state}\0".encode("utf-8", "surrogateescape"))
        path = self._folder / f"{digest.hexdigest()[:32]}.parquet"
        self.paths.append(path)
        try:
            return None if pq.read_metadata(path).num_rows == len(chunk) else path
        except (OSError, pa.ArrowException):  # not there, or cut off with the power
            return path

    def keep(self, path: Path, rows: list[Row]) -> None:
        """Write the rows of a chunk."""
        with storage_named(self._folder.parent):
            write_rows(rows, self.columns, path)


class _Rate:
    """Counts, and tells from time to time how far it is and how fast."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.n_new = self.n_kept = 0
        self.seconds = 0.0
        self._progress, self._total = progress, total
        self._start = time.perf_counter()
        self._told = 0.0

    def __call__(self) -> None:
        self.n_new += 1
        self.seconds = time.perf_counter() - self._start
        if self._progress and self.seconds - self._told > TOLD:
            self._told = self.seconds
            rate = self.n_new / self.seconds
            self._progress(f"{rate:,.0f} images/s," if rate >= 10 else f"{rate:.1f} images/s,", self._done, self._total)

    @property
    def _done(self) -> int:
        return self.n_kept + self.n_new


def answered(
    classifier: Classifier, images: Images, items: Iterable[Item], max_pixels: int
) -> Iterator[tuple[Item, Answer | str]]:
    """Yield, in order, each file with the classifier's answer, or the sentence that says why there is none.

    Files are read and decoded ahead on all cores while the engine computes.
    """
    waiting = deque[tuple[Item, str | None]]()  # what the engine has not answered yet, and files that it never sees

    def seen() -> Iterator[np.ndarray]:
        for item, found in _looks(classifier, images, items, max_pixels):
            if isinstance(found, str):
                waiting.append((item, found))
            else:
                waiting.append((item, None))
                yield found

    for outputs in classifier.run(seen()):
        while waiting[0][1] is not None:
            yield _problem(waiting.popleft())
        yield waiting.popleft()[0], classifier.answer(outputs)
    while waiting:
        yield _problem(waiting.popleft())


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut into pieces of at most CHUNK, at places that depend on names: a file more moves only what is next to it."""
    chunk = list[Item]()
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK or zlib.crc32(item.name.encode("utf-8", "surrogateescape")) % CHUNK == 0:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _problem(waiting: tuple[Item, str | None]) -> tuple[Item, str]:
    item, sentence = waiting
    assert sentence is not None
    return item, sentence


def _looks(
    classifier: Classifier, images: Images, items: Iterable[Item], max_pixels: int
) -> Iterator[tuple[Item, np.ndarray | str]]:
    """What the network sees of each file, or why it sees nothing."""

    def read(item: Item) -> tuple[Item, bytes | str]:
        return item, _or_problem(lambda: images.read(item, max_pixels))

    def view(found: tuple[Item, bytes | str]) -> tuple[Item, np.ndarray | str]:
        item, data = found
        if isinstance(data, str):
            return item, data
        return item, _or_problem(lambda: classifier.view(decode(data, name=item.name, max_pixels=max_pixels)))

    if images.threads is None:
        return ahead(lambda item: view(read(item)), items)
    return ahead(view, ahead(read, items, images.threads))


def _or_problem(look: Callable[[], T]) -> T | str:
    try:
        return look()
    except ImageError as error:
        return str(error)
