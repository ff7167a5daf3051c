"""What is a dataset? Parquet shards of encoded images with their labels, splits, groups and hashes."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from diascope.checks import Checked, Finding, Scanned, check
from diascope.config import ChecksConfig, DatasetConfig
from diascope.dealing import Dealt, Grouping, deal
from diascope.errors import DISK_FULL, InputError
from diascope.layouts import read_layout
from diascope.progress import Progress
from diascope.records import SPLITS, Layout
from diascope.scan import scan
from diascope.schema import Frozen, Versioned

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
INFO_FILE = "dataset.json"
SHARD_BYTES = 64 * 1024**2
ROW_GROUP_BYTES = 3 * 1024**2  # what a reader holds at a time
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
    }
)
INDEX_COLUMNS = [name for name in SCHEMA.names if name != "image"]


class DatasetInfo(Frozen):
    """What a dataset holds and how it came to be."""

    source: str
    layout: str
    class_names: list[str]  # sorted; a label's number is its place here
    grouping: Grouping
    counts: dict[str, dict[str, int]]  # by split and class
    fingerprint: str  # SHA-256 over sample_id, sha256, label, split and group of every image, sorted
    n_found: int  # files that should be images
    findings: list[Finding]
    splits_made: list[str]  # rather than brought by the data
    notices: list[str]
    schema_version: int = SCHEMA_VERSION


class Dataset:
    """A folder with `dataset.json` and `data-00000.parquet` and so on; one row per image, sorted by split and name."""

    def __init__(self, root: Path) -> None:
        """Open a dataset; raises InputError where the folder is none, or one of a newer version."""
        self.root = Path(root)
        path = self.root / INFO_FILE
        if not path.is_file():
            raise InputError(f"{str(self.root)!r} is no dataset: it has no {INFO_FILE}")
        text = path.read_text(encoding="utf-8")
        version = Versioned.model_validate_json(text).schema_version
        if version > SCHEMA_VERSION:
            raise InputError(f"{str(path)!r} has version {version}; this program reads up to {SCHEMA_VERSION}")
        self.info = DatasetInfo.model_validate_json(text)
        n_rows = sum(pq.read_metadata(shard).num_rows for shard in self._shards())
        n_images = sum(n for counts in self.info.counts.values() for n in counts.values())
        if n_rows != n_images:
            raise InputError(f"{str(self.root)!r} is incomplete: {n_rows} of {n_images} images are there; make it anew")

    def index(self) -> "pd.DataFrame":
        """Every column but the image, in storage order."""
        return pa.concat_tables(pq.read_table(path, columns=INDEX_COLUMNS) for path in self._shards()).to_pandas()

    def images(self, *splits: str, batch: int = 64) -> Iterator[tuple[list[str], list[bytes]]]:
        """Stream sample ids and encoded bytes of some splits (none named: all), in storage order.

        One row group is in memory at a time, beside the batch of at most `batch` images.
        """
        ids: list[str] = []
        images: list[bytes] = []
        for shard in self._shards():
            with pq.ParquetFile(shard) as file:
                for number in self._row_groups(file, splits):
                    table = file.read_row_group(number, columns=["sample_id", "image", "split"])
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
        wanted, found = set(sample_ids), dict[str, bytes]()
        for shard in self._shards():
            with pq.ParquetFile(shard) as file:
                for number in range(file.num_row_groups if wanted - found.keys() else 0):
                    names = file.read_row_group(number, columns=["sample_id"])["sample_id"].to_pylist()
                    if not wanted.isdisjoint(names):
                        images = file.read_row_group(number, columns=["image"])["image"]
                        found.update((name, images[i].as_py()) for i, name in enumerate(names) if name in wanted)
        return {name: found[name] for name in sample_ids}

    def _shards(self) -> list[Path]:
        return sorted(self.root.glob("data-*.parquet"))

    def _row_groups(self, file: pq.ParquetFile, splits: tuple[str, ...]) -> Iterator[int]:
        """Row groups that may hold one of the splits, by their statistics."""
        column = SCHEMA.names.index("split")
        for number in range(file.num_row_groups):
            statistics = file.metadata.row_group(number).column(column).statistics
            if not splits or any(statistics.min <= split <= statistics.max for split in splits):
                yield number


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
    info = _info(config.source, layout, len(scanned), checked, dealt, rows)
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
    shard = 0
    writer: pq.ParquetWriter | None = None
    try:
        n_written = n_done = 0
        for chunk, n_bytes in _row_group_chunks(rows, paths):
            if writer is None or n_written + n_bytes > SHARD_BYTES:
                if writer is not None:
                    writer.close()
                writer, n_written = _writer(folder / f"data-{shard:05}.parquet"), 0
                shard += 1
            writer.write_table(chunk, row_group_size=chunk.num_rows)
            n_written += n_bytes
            n_done += chunk.num_rows
            if progress:
                progress("write dataset", n_done, len(rows))
    finally:
        if writer is not None:
            writer.close()


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
