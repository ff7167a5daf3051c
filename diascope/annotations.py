"""What does a table of annotations say about the images beside it?"""

import csv
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path, PurePosixPath

from diascope.agreement import agreed, check_votes, doubts
from diascope.config import AnnotationColumns, Annotations, ArchiveLimits
from diascope.errors import InputError, nearest, quoted
from diascope.listing import Listing, Parts, count_files, list_files, unwrapped
from diascope.records import Layout, Record, split_of

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def read_annotations(root: Path, annotations: Annotations, limits: ArchiveLimits) -> Layout:
    """Give every file that the table names its label and, where there are columns for them, all else that it says."""
    places = [root.joinpath(*prefix) for prefix in unwrapped(list_files(root))]
    table = _beside(places, annotations.file, "dataset.annotations.file")
    if table.is_dir():
        raise InputError(f"dataset.annotations.file, {annotations.file!r}, is a folder; give the CSV itself")
    columns = annotations.columns
    rows = _rows(table, set(columns.model_dump(exclude_none=True).values()))
    _require_columns(rows[0], columns, annotations.file)
    images = _beside(places, annotations.images, "dataset.annotations.images")
    prefix = images.relative_to(root).parts if images.is_relative_to(root) else (images.name,)
    listing = list_files(_opened(images, limits))
    paths = _find_files([row[columns.file] for row in rows], listing, images.name, annotations.file)
    records: dict[str, Record] = {}
    for number, (row, parts) in enumerate(zip(rows, paths, strict=True), start=2):
        name = "/".join((*prefix, *parts))
        label = row[columns.label].strip()
        if not label:
            raise InputError(f"{annotations.file}: line {number} has no {columns.label!r}")
        if name in records and records[name].label != label:
            raise InputError(f"{annotations.file} gives {name!r} two labels, {records[name].label!r} and {label!r}")
        split = row[columns.split].strip() if columns.split else ""
        patient = row[columns.patient].strip() if columns.patient else ""
        agreement = agreed(row, label, annotations, number)
        if name in records and records[name].agreement != agreement:
            raise InputError(f"{annotations.file} says twice, and differently, how many annotators agree on {name!r}")
        records[name] = Record(listing.root.joinpath(*parts), name, label, split, patient, agreement)
    check_votes(annotations, {record.label for record in records.values()})
    notices = _csv_notices(listing, records, rows, annotations.file) + doubts(records.values())
    found = list(records.values())
    if columns.split:
        found = _with_splits(found, annotations.file)
    return Layout("csv", tuple(sorted({record.label for record in found})), found, notices)


def _csv_notices(listing: Listing, records: dict[str, Record], rows: list[dict[str, str]], table: str) -> list[str]:
    notices = []
    if len(records) < len(rows):
        notices.append(f"{len(rows) - len(records)} rows of {table} name a file again.")
    unnamed = sorted(set(listing.files) - {record.path.relative_to(listing.root).parts for record in records.values()})
    if unnamed:
        names = quoted("/".join(parts) for parts in unnamed)
        notices.append(f"{count_files(len(unnamed))} left out that {table} does not name: {names}.")
    return notices


def _beside(places: list[Path], name: str, key: str) -> Path:
    """A file or folder of the source, also below a single folder around everything."""
    for place in places:
        if os.path.exists(place / name):  # Path.exists raises where the name is too long
            return place / name
    raise InputError(f"{key} is {name!r}, but there is no such file or folder in {str(places[0])!r}")


def _require_columns(row: dict[str, str], columns: AnnotationColumns, table: str) -> None:
    for column in columns.model_dump(exclude_none=True).values():
        if column not in row:
            raise InputError(
                f"{table} has no column {column!r}; the nearest is {nearest(column, row)!r} "
                "(dataset.annotations.columns says which column is which)"
            )


def _opened(images: Path, limits: ArchiveLimits) -> Path:
    if images.is_dir():
        return images
    if not images.name.casefold().endswith(ARCHIVES):
        raise InputError(f"dataset.annotations.images, {images.name!r}, is neither a folder nor an archive")
    from diascope import sources

    return sources.fetch(str(images), limits=limits)


def _rows(table: Path, used: set[str]) -> list[dict[str, str]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table.name} is not UTF-8 text; save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t|", key=header.count)
    try:
        reader = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, restval="")
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{table.name} is not a readable CSV: {error}") from None
    if not rows:
        raise InputError(f"{table.name} has no rows; it needs a header and one row per image")
    named = [name.strip() for name in reader.fieldnames or ()]
    for name in sorted(used):
        if named.count(name) > 1:
            raise InputError(f"{table.name} has several columns {name!r}; rename all but one")
    for number, row in enumerate(rows, start=2):
        if any(text.strip() for text in row.get(None, [])):  # half of a label, perhaps
            raise InputError(
                f"{table.name}: line {number} has more fields than the header; put a text with {delimiter!r} in quotes"
            )
    return [{(key or "").strip(): value for key, value in row.items() if isinstance(value, str)} for row in rows]


def _find_files(values: Sequence[str], listing: Listing, folder: str, table: str) -> list[Parts]:
    """The file that each value means: a path below the folder, or a name, with or without extension."""
    by_name: dict[str, list[Parts]] = defaultdict(list)
    for parts in listing.files:
        keys = {"/".join(parts), parts[-1], "/".join((folder, *parts))}
        for key in keys | {str(PurePosixPath(key).with_suffix("")) for key in keys}:
            by_name[key].append(parts)
    found = []
    missing = []
    for value in values:
        key = PurePosixPath(value.strip().replace("\\", "/")).as_posix().lstrip("/")
        exact = tuple(key.split("/"))
        matches = [exact] if exact in by_name.get(key, []) else by_name.get(key, [])
        if len(matches) > 1:
            names = quoted("/".join(parts) for parts in matches)
            raise InputError(f"{table} names {value!r}, which may be any of {names}; give the path below {folder!r}")
        missing += [] if matches else [value]
        found += matches
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(values)} files that {table} names are not in {folder!r}: {quoted(missing)}"
        )
    return found


def _with_splits(records: list[Record], table: str) -> list[Record]:
    words = {record.split for record in records}
    unknown = sorted(word for word in words if split_of(word) is None)
    if unknown:
        raise InputError(
            f"{table} has splits that are none of train, validation and test: {quoted(unknown)}; "
            "change them, or leave out dataset.annotations.columns.split"
        )
    return [replace(record, split=split_of(record.split) or "") for record in records]
