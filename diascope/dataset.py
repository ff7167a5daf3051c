"""What is a dataset? Parquet shards of encoded images with their labels, splits, groups and hashes."""

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diascope.checks import Checked, Finding, Scanned, check
from diascope.config import ChecksConfig, DatasetConfig
from diascope.contents import (
    CONTENTS_FILE,
    INDEX_COLUMNS,
    PLACE,
    SCHEMA,
    SHARDS,
    Shard,
    digest,
    in_order,
    list_shards,
    read_contents,
    readable,
    survey,
    write_contents,
)
from diascope.dealing import Dealt, Grouping, deal
from diascope.downloads import shown
from diascope.errors import DISK_FULL, InputError
from diascope.layouts import read_layout
from diascope.progress import Progress
from diascope.records import SPLITS, Layout
from diascope.scan import scan
from diascope.schema import Frozen, Versioned
from diascope.shelves import Shelf, fetched

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
INFO_FILE = "dataset.json"
SHARD_BYTES = 64 * 1024**2
ROW_GROUP_BYTES = 3 * 1024**2  # what a reader holds at a time
READERS = 8  # of a few images here and there; each waits for a store more than it works


class DatasetInfo(Frozen):
    """What a dataset holds and how it came to be."""

    source: str  # without passwords and signatures
    layout: str
    class_names: list[str]  # sorted; a label's number is its place here
    grouping: Grouping
    counts: dict[str, dict[str, int]]  # by split and class
    fingerprint: str  # SHA-256 over sample_id, sha256, label, split, group and known agreement of every image, sorted
    n_found: int  # files that should be images
    findings: list[Finding]
    splits_made: list[str]  # rather than brought by the data
    notices: list[str]
    schema_version: int = SCHEMA_VERSION


class Dataset:
    """A folder with `dataset.json` and `data-00000.parquet` and so on; one row per image, sorted by split and name.

    The shards may lie on a shelf, somewhere else than on this disk: then they are fetched one by one as they are read.
    """

    def __init__(self, root: Path, shelf: Shelf | None = None) -> None:
        """Open a dataset; raises InputError where the folder is none, one of a newer version, or not all is there."""
        self.root, self._shelf = Path(root), shelf
        self.place = shelf.place if shelf else str(self.root)
        path = self.root / INFO_FILE
        if not path.is_file():
            raise InputError(f"{self.place!r} is no dataset: it has no {INFO_FILE}")
        text = path.read_text(encoding="utf-8")
        version = Versioned.model_validate_json(text).schema_version
        if version > SCHEMA_VERSION:
            where = f"{self.place}/{INFO_FILE}"
            raise InputError(f"{where!r} has version {version}; this program reads up to {SCHEMA_VERSION}")
        self.info = DatasetInfo.model_validate_json(text)
        self.shards = list_shards(self.root, self.place)
        self._check_completeness()

    @classmethod
    def on(cls, shelf: Shelf, root: Path) -> "Dataset":
        """Open a dataset on a shelf; `root`, an empty folder, gets what is there beside the shards."""
        names = shelf.names()
        for name in {INFO_FILE, CONTENTS_FILE}.intersection(names):
            shelf.fetch(name, root / name)
        if INFO_FILE in names and CONTENTS_FILE not in names:  # of an older version
            shards = in_order(name for name in names if fnmatch(name, SHARDS))
            unknown = [Shard(name=name, rows=0, bytes=0) for name in shards]
            write_contents(root, [survey(path) for path in fetched(shelf, unknown)])
        return cls(root, shelf)

    def index(self) -> "pd.DataFrame":
        """Every column but the image, in storage order."""
        return read_contents(self.root, self.shards, INDEX_COLUMNS).to_pandas()

    def images(self, *splits: str, batch: int = 64) -> Iterator[tuple[list[str], list[bytes]]]:
        """Stream sample ids and encoded bytes of some splits (none named: all), in storage order.

        One row group is in memory at a time, beside the batch of at most `batch` images.
        """
        ids: list[str] = []
        images: list[bytes] = []
        for table in self._tables(splits):
            for row in range(table.num_rows):
                if not splits or table["split"][row].as_py() in splits:
                    ids.append(table["sample_id"][row].as_py())
                    images.append(table["image"][row].as_py())
                if len(ids) == batch:
                    yield ids, images
                    ids, images = [], []
        if ids:
            yield ids, images

    def read(self, sample_ids: Sequence[str]) -> dict[str, bytes]:
        """Encoded bytes of a few images, in the order asked for; raises KeyError for an id that is not there."""
        contents = read_contents(self.root, self.shards, ["sample_id", *PLACE])
        places = contents.filter(pc.is_in(contents["sample_id"], pa.array(sample_ids, pa.string())))
        row_groups: dict[int, set[int]] = defaultdict(set)
        for shard, row_group in zip(places["shard"].to_pylist(), places["row_group"].to_pylist(), strict=True):
            row_groups[shard].add(row_group)

        def part(shard: int) -> dict[str, bytes]:
            return self._read_from(self.shards[shard], sorted(row_groups[shard]), set(sample_ids))

        with ThreadPoolExecutor(READERS) as pool:
            found = {name: data for some in pool.map(part, row_groups) for name, data in some.items()}
        return {name: found[name] for name in sample_ids}

    @property
    def is_far(self) -> bool:
        """Whether the shards are somewhere else than on this disk."""
        return self._shelf is not None

    def files(self) -> Iterator[Path]:
        """Every file of the dataset; a shard from a shelf is there until the next one is asked for."""
        yield from self._beside_shards()
        yield from self._paths(self.shards)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file by its name; shards whose sum is on record are not read again."""
        sums = {path.name: digest(path) for path in self._beside_shards()}
        return sums | {shard.name: shard.sha256 or digest(self.root / shard.name) for shard in self.shards}

    def _check_completeness(self) -> None:
        names = set(self._shelf.names()) if self._shelf else set()
        n_rows = sum(shard.rows for shard in self.shards if shard.name in names or self._is_here(shard))
        n_images = sum(n for counts in self.info.counts.values() for n in counts.values())
        if n_rows != n_images:
            raise InputError(f"{self.place!r} is incomplete: {n_rows} of {n_images} images are there; make it anew")

    def _is_here(self, shard: Shard) -> bool:
        path = self.root / shard.name
        return path.is_file() and path.stat().st_size == shard.bytes

    def _beside_shards(self) -> list[Path]:
        shards = {shard.name for shard in self.shards}
        return sorted(path for path in self.root.iterdir() if path.is_file() and path.name not in shards)

    def _paths(self, shards: Sequence[Shard]) -> Iterator[Path]:
        if self._shelf is None:
            yield from (self.root / shard.name for shard in shards)
        else:
            yield from fetched(self._shelf, shards)

    def _tables(self, splits: tuple[str, ...]) -> Iterator[pa.Table]:
        """Row groups that may hold images of one of the splits."""
        shards = [shard for shard in self.shards if shard.may_hold(splits)]
        for path in self._paths(shards):
            with readable(self.place, path.name), pq.ParquetFile(path) as file:
                for number in self._row_groups(file, splits):
                    yield file.read_row_group(number, columns=["sample_id", "image", "split"])

    def _row_groups(self, file: pq.ParquetFile, splits: tuple[str, ...]) -> Iterator[int]:
        """Row groups that may hold one of the splits, by their statistics."""
        column = SCHEMA.names.index("split")
        for number in range(file.num_row_groups):
            statistics = file.metadata.row_group(number).column(column).statistics
            if not splits or any(statistics.min <= split <= statistics.max for split in splits):
                yield number

    def _read_from(self, shard: Shard, row_groups: Sequence[int], wanted: set[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with readable(self.place, shard.name), self._open(shard) as source, pq.ParquetFile(source) as file:
            for number in row_groups:
                table = file.read_row_group(number, columns=["sample_id", "image"])
                names = table["sample_id"].to_pylist()
                found |= {name: table["image"][i].as_py() for i, name in enumerate(names) if name in wanted}
        return found

    def _open(self, shard: Shard) -> BinaryIO:
        return self._shelf.open(shard.name) if self._shelf else (self.root / shard.name).open("rb")


def ingest(
    config: DatasetConfig,
    checks: ChecksConfig,
    root: Path,
    out: Path,
    seed: int,
    progress: Progress | None = None,
) -> Dataset:
    """Read the images below `root`, check them, make the splits that are missing and write a dataset to `out`.

    Every file is decoded once; only its description stays in memory. `out` appears when it is whole, or not at all.

    Raises:
        InputError: the images cannot be used, a policy says `fail`, or the disk is full.
    """
    layout = read_layout(root, config)
    scanned = list(scan(layout.records, config.max_pixels, progress))
    checked = check(scanned, layout.class_names, checks)
    dealt = deal(checked, config.splits, seed)
    order = sorted(range(len(checked.kept)), key=lambda i: (SPLITS.index(dealt.splits[i]), checked.kept[i].record.name))
    rows = [_row(checked.kept[i], dealt.splits[i], dealt.groups[i]) for i in order]
    paths = [checked.kept[i].record.path for i in order]
    info = _info(shown(config.source), layout, len(scanned), checked, dealt, rows)
    with _whole_folder(out) as folder:
        _write_shards(folder, rows, paths, progress)
        (folder / INFO_FILE).write_text(info.model_dump_json(indent=2), encoding="utf-8")
    return Dataset(out)


def _row(one: Scanned, split: str, group: str) -> dict[str, object]:
    assert one.facts is not None
    return {
        "sample_id": one.record.name,
        "label": one.record.label,
        "split": split,
        "group": group,
        "width": one.facts.width,
        "height": one.facts.height,
        "mode": one.facts.mode,
        "sha256": one.facts.sha256,
        "phash": one.facts.phash,
        "agreement": one.record.agreement,
    }


def _info(
    source: str, layout: Layout, n_found: int, checked: Checked, dealt: Dealt, rows: list[dict[str, object]]
) -> DatasetInfo:
    counts = Counter((row["split"], row["label"]) for row in rows)
    return DatasetInfo(
        source=source,
        layout=layout.kind,
        class_names=list(layout.class_names),
        grouping=dealt.grouping,
        counts={split: {name: counts[split, name] for name in layout.class_names} for split in SPLITS},
        fingerprint=_fingerprint(rows),
        n_found=n_found,
        findings=checked.findings,
        splits_made=dealt.made,
        notices=[*layout.notices, *checked.notices, *dealt.notices],
    )


def _fingerprint(rows: list[dict[str, object]]) -> str:
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: str(row["sample_id"])):
        fields = [str(row[key]) for key in ("sample_id", "sha256", "label", "split", "group")]
        if row["agreement"] != 1:  # what older versions, which did not know it, made of the rest stays true
            fields.append(str(row["agreement"]))
        digest.update(("\0".join(fields) + "\n").encode())
    return digest.hexdigest()


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when everything is in it, and is removed if anything goes wrong."""
    if out.exists() and any(out.iterdir()) and not (out / INFO_FILE).exists():
        raise InputError(f"{str(out)!r} is not empty and no dataset; give another folder")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(f"the disk is full: {str(out.parent)!r} has no room for the dataset") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_shards(folder: Path, rows: list[dict[str, object]], paths: list[Path], progress: Progress | None) -> None:
    written: list[Path] = []
    surveyed: list[tuple[Shard, pa.Table]] = []
    writer: pq.ParquetWriter | None = None
    try:
        n_written = n_done = 0
        for chunk, n_bytes in _row_group_chunks(rows, paths):
            if writer is None or n_written + n_bytes > SHARD_BYTES:
                if writer is not None:
                    writer.close()
                    surveyed.append(survey(written[-1]))
                written.append(folder / f"data-{len(written):05}.parquet")
                writer, n_written = _writer(written[-1]), 0
            writer.write_table(chunk, row_group_size=chunk.num_rows)
            n_written += n_bytes
            n_done += chunk.num_rows
            if progress:
                progress("write dataset", n_done, len(rows))
    finally:
        if writer is not None:
            writer.close()
    write_contents(folder, [*surveyed, survey(written[-1])])  # each was surveyed while it was in the page cache


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        compression_level=1,  # as fast to read as none; makes uncompressed DICOM and BMP half as large, PNG a little
        use_dictionary=["label", "split", "mode"],
        write_statistics=["sample_id", "split", "label"],
    )


def _row_group_chunks(rows: list[dict[str, object]], paths: list[Path]) -> Iterator[tuple[pa.Table, int]]:
    chunk: list[dict[str, object]] = []
    n_bytes = 0
    for row, path in zip(rows, paths, strict=True):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{row['sample_id']} can no longer be read: {error.strerror}") from error
        chunk.append({**row, "image": data})
        n_bytes += len(data)
        if n_bytes >= ROW_GROUP_BYTES:
            yield pa.Table.from_pylist(chunk, schema=SCHEMA), n_bytes
            chunk, n_bytes = [], 0
    if chunk:
        yield pa.Table.from_pylist(chunk, schema=SCHEMA), n_bytes
