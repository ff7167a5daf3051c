"""How does the result of a batch look: one row for each file, as Parquet or CSV?"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diascope.answers import Answer
from diascope.errors import DISK_FULL, InputError
from diascope.listing import is_utf8

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv")
PROBABILITY = "probability_"  # begins the column of each class
ERROR = "error"  # the status of a file that could not be predicted
ROWS = 65_536  # of a row group

Row = dict[str, str | float | int | None]
Status = Literal["ok", "uncertain", "out_of_distribution", "error"]


def schema(class_names: Sequence[str]) -> "pa.Schema":
    """Return the columns; `distance` is relative to its limit: above 1 is out of distribution."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("file", pa.string(), nullable=False),
            ("label", pa.string()),
            ("probability", pa.float64()),
            *((f"{PROBABILITY}{name}", pa.float64()) for name in class_names),
            pa.field("status", pa.string(), nullable=False),
            ("distance", pa.float64()),
            ("threshold", pa.float64()),
            pa.field("model", pa.string(), nullable=False),
            pa.field("model_version", pa.int64(), nullable=False),
            ("error", pa.string()),
        ]
    )


def row(file: str, outcome: Answer | str, class_names: Sequence[str], model: str, version: int) -> Row:
    """Return the row of a file: its answer, or in one sentence why there is none."""
    answer = outcome if isinstance(outcome, Answer) else None
    return {
        "file": _text(file),
        "label": answer.label if answer else None,
        "probability": answer.probability if answer else None,
        **{f"{PROBABILITY}{name}": answer.probabilities[name] if answer else None for name in class_names},
        "status": answer.decision if answer else ERROR,
        "distance": answer.distance if answer else None,
        "threshold": answer.threshold if answer else None,
        "model": model,
        "model_version": version,
        "error": None if isinstance(outcome, Answer) else _text(outcome),
    }


def _text(name: str) -> str:
    """A file name that is no UTF-8, made writable."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_rows(rows: Sequence[Row], columns: "pa.Schema", path: Path) -> None:
    """Write a small table that appears only when it is complete."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    pq.write_table(pa.Table.from_pylist(list(rows), columns), partial, compression="zstd")
    partial.replace(path)


def join(parts: Iterable[Path], columns: "pa.Schema", path: Path) -> int:
    """Write the rows of all parts, in their order, into one Parquet file; returns how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    total, waiting, n = 0, list["pa.Table"](), 0
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        for part in parts:
            table = pq.read_table(part, schema=columns)
            waiting.append(table)
            n += len(table)
            if n >= ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=n)
                total, n, waiting = total + n, 0, []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=n)
    return total + n


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterable["pa.RecordBatch"]:
    """Yield the rows of a Parquet file, some thousands at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=8192, columns=list(columns) if columns else None)


def check_output(path: Path, source: str = "") -> None:
    """Raise InputError where a result could not be written: by its suffix, or for want of a folder or the right.

    `source` is what is predicted; a list of paths that was given there is not written over.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--output {path}: say .parquet or .csv; the suffix chooses the format.")
    if not is_utf8(str(path)):
        raise InputError(f"--output {str(path)!r}: this path is not UTF-8; give it another name.")
    for each in (path, _beside(path)):
        if os.path.isdir(each):
            raise InputError(f"--output {path}: {str(each)!r} is a folder; name another file.")
    if not os.path.isdir(path.parent):
        raise InputError(f"--output {path}: there is no folder {str(path.parent)!r}; make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"--output {path}: the folder {str(path.parent)!r} cannot be written.")
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
        raise InputError(f"--output {path}: this is what is to be predicted; name another file.")


def write_output(table: Path, page: str, path: Path) -> Path:
    """Write the table (Parquet) as the suffix of `path` says and its page beside it; returns the page's path.

    Each replaces what was there once it is complete. Raises InputError where the disk does not take them.
    """
    beside = _beside(path)
    try:
        _replace(path, lambda partial: _write(table, partial, path.suffix.lower()))
        _replace(beside, lambda partial: partial.write_text(page, encoding="utf-8"))
    except OSError as error:
        full = "the disk is full" if error.errno in DISK_FULL else error.strerror or error
        raise InputError(f"{str(path)!r} cannot be written: {full}; the same command goes on from there.") from error
    return beside


def _beside(path: Path) -> Path:
    return path.with_suffix(".html")


def _replace(path: Path, write: Any) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write(table: Path, target: Path, suffix: str) -> None:
    import shutil

    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    if suffix == ".parquet":
        shutil.copyfile(table, target)
        return
    with csv.CSVWriter(target, pq.read_schema(table)) as writer:
        for batch in batches(table):
            writer.write_batch(batch)
