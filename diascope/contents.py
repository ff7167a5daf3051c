"""What lies in which shard of a dataset? A small file beside the shards says so: none need be opened to know."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from diascope.errors import DISK_FULL, InputError
from diascope.schema import Frozen

CONTENTS_FILE = "_contents.parquet"  # readers of a folder of Parquet files pass by a name that begins like this
SHARDS = "data-*.parquet"
SCHEMA = pa.schema(
    {
        "sample_id": pa.string(),
        "image": pa.binary(),
        "label": pa.string(),
        "split": pa.string(),
        "group": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "mode": pa.string(),
        "sha256": pa.string(),
        "phash": pa.uint64(),
        "agreement": pa.float64(),
    }
)
INDEX_COLUMNS = [name for name in SCHEMA.names if name != "image"]
PLACE = ["shard", "row_group"]  # where an image lies, both counted from 0
ADDED = {"agreement": 1.0}  # columns that datasets of older versions lack, and what is known of their images
LIST = b"shards"  # key of the file's metadata


class Shard(Frozen):
    """One file with images."""

    name: str
    rows: int
    bytes: int
    sha256: str | None = None  # None: not known without reading it
    splits: list[str] | None = None  # that have images in it; None: not known

    def may_hold(self, splits: Sequence[str]) -> bool:
        """Whether images of some of these splits (none named: all) may be in it."""
        return not splits or self.splits is None or not set(splits).isdisjoint(self.splits)


_LISTED = TypeAdapter(list[Shard])


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def readable(place: str, name: str) -> Iterator[None]:
    """Say in one sentence that a file is missing or damaged, whatever reading it says."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{place!r} has no {name}; make the dataset anew") from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(f"the disk is full: there is no room for {name} of {place!r}") from error
        if error.errno is not None:  # Parquet's own errors have none
            raise
        raise damaged(place, name) from error
    except pa.ArrowException as error:
        raise damaged(place, name) from error


def damaged(place: str, name: str) -> InputError:
    """Return the error that a file is not as it was written."""
    return InputError(f"{name} in {place!r} is damaged; make the dataset anew")


def survey(path: Path) -> tuple[Shard, pa.Table]:
    """Describe a shard, and return all its columns but the images, with the row group of each row."""
    table = _tabulate(path)
    splits = table["split"].unique().to_pylist()
    shard = Shard(name=path.name, rows=len(table), bytes=path.stat().st_size, sha256=digest(path), splits=splits)
    return shard, table


def write_contents(folder: Path, surveyed: Sequence[tuple[Shard, pa.Table]]) -> None:
    """Write what was found in the shards, in their order."""
    tables = [_numbered(table, number) for number, (_, table) in enumerate(surveyed)]
    listed = _LISTED.dump_json([shard for shard, _ in surveyed])
    whole = pa.concat_tables(tables).select([*INDEX_COLUMNS, *PLACE]).replace_schema_metadata({LIST: listed})
    pq.write_table(whole, folder / CONTENTS_FILE, compression="zstd")


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of shards as they were numbered: 100000 comes after 99999."""
    return sorted(names, key=lambda name: (len(name), name))


def list_shards(folder: Path, place: str) -> list[Shard]:
    """Return the shards in order, by the contents or, in a folder of an older version, by their own footers.

    Raises InputError, in which the folder is called `place`, where a file cannot be read.
    """
    path = folder / CONTENTS_FILE
    if path.is_file():
        with readable(place, CONTENTS_FILE):
            listed = (pq.read_schema(path).metadata or {}).get(LIST)
        if listed is None:
            raise damaged(place, CONTENTS_FILE)
        return _LISTED.validate_json(listed)
    return [_by_footer(folder / name, place) for name in in_order(path.name for path in folder.glob(SHARDS))]


def read_contents(folder: Path, shards: Sequence[Shard], columns: Sequence[str]) -> pa.Table:
    """Return some of the index columns and places of all images, in storage order."""
    path = folder / CONTENTS_FILE
    if path.is_file():
        known = [name for name in columns if name in pq.read_schema(path).names]
        return _completed(pq.read_table(path, columns=known)).select(list(columns))
    tables = [_numbered(_tabulate(folder / shard.name), number) for number, shard in enumerate(shards)]
    return pa.concat_tables(tables).select(list(columns))


def _by_footer(path: Path, place: str) -> Shard:
    with readable(place, path.name):
        return Shard(name=path.name, rows=pq.read_metadata(path).num_rows, bytes=path.stat().st_size)


def _tabulate(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        table = _completed(file.read(columns=INDEX_COLUMNS))
    return table.append_column("row_group", pa.array(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)))


def _completed(table: pa.Table) -> pa.Table:
    """Fill in what a dataset of an older version does not say."""
    for name, value in ADDED.items():
        field = SCHEMA.field(name)
        if name in table.column_names:
            known = pc.fill_null(table[name], value)
            table = table.set_column(table.column_names.index(name), field, known)
        else:
            table = table.append_column(field, pa.repeat(pa.scalar(value, field.type), len(table)))
    return table


def _numbered(table: pa.Table, shard: int) -> pa.Table:
    return table.append_column("shard", pa.array(np.full(len(table), shard, np.int32)))
