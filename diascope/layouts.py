"""Which image belongs to which class, split and patient?"""

import csv
import os
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from io import StringIO
from pathlib import Path, PurePosixPath

from diascope.config import Annotations, ArchiveLimits, DatasetConfig
from diascope.errors import InputError

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validate", "validating", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "ts"), "test"),
}
FILLERS = {"set", "data", "dataset", "split", "folder", "images", "image", "imgs", "seg"}  # of "train_set"
IGNORED = {"__macosx", "thumbs.db", "desktop.ini"}
TEXT = {".txt", ".csv", ".tsv", ".json", ".md", ".xml", ".yaml", ".yml", ".html", ".pdf", ".xlsx", ".xls", ".docx"}
TEXT |= {".rst", ".py", ".ipynb", ".log", ".rtf", ".doc", ".ini", ".toml"}
TEXT_NAMES = {"readme", "license", "licence", "copying", "dicomdir"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MASK_FOLDERS = {"mask", "masks", "segmentation", "segmentations", "ground_truth", "groundtruth"}
MASK_NAME = re.compile(r"^(.+?)[ _-]*(?:mask|segmentation|seg|gt)(?:[ _-]?\d+)?$", re.IGNORECASE)
SHOWN = 5  # names in a message

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """One file that should be an image."""

    path: Path
    name: str  # relative to the source, unique: the sample_id
    label: str
    split: str = ""  # "train", "validation", "test", or "" where the data does not say
    patient: str = ""  # "" where unknown


@dataclass(frozen=True)
class Layout:
    """What a source says about its files, before any of them is opened."""

    kind: str  # "class_folders", "split_folders" or "csv"
    class_names: tuple[str, ...]  # sorted
    records: list[Record]  # sorted by name
    notices: list[str]


@dataclass
class Listing:
    """Files below a folder as parts of their paths, what is no data already left out."""

    root: Path
    files: list[Parts] = field(default_factory=list)  # sorted
    empty: list[Parts] = field(default_factory=list)  # folders without anything in them
    notices: list[str] = field(default_factory=list)

    def children(self, prefix: Parts) -> list[str]:
        """Names of the folders directly below."""
        n = len(prefix)
        below = {parts[n] for parts in self.below(prefix) if len(parts) > n + 1}
        return sorted(below | {parts[n] for parts in self.empty if len(parts) > n and parts[:n] == prefix})

    def loose(self, prefix: Parts) -> list[Parts]:
        """Files directly in the folder."""
        return [parts for parts in self.below(prefix) if len(parts) == len(prefix) + 1]

    def below(self, prefix: Parts) -> list[Parts]:
        """Files anywhere below the folder."""
        if not prefix:
            return self.files
        after = (*prefix[:-1], prefix[-1] + "\0")
        return self.files[bisect_left(self.files, prefix) : bisect_left(self.files, after)]


def read_layout(root: Path, config: DatasetConfig) -> Layout:
    """Find every image of the folder with its class, split and patient; nothing is decoded.

    `auto` takes the CSV where annotations are configured, else split folders where there are any, else class folders.
    A single folder around everything is looked through. Below a class folder, the first level is the class, whatever
    else is nested in it; patients are never guessed from folders. `patient_pattern` is searched in the file name, or
    in the path relative to the source where the pattern has a slash.

    Raises:
        InputError: nothing to read, one class only, or annotations that do not fit the files.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {str(root)!r}; check dataset.source")
    if config.layout == "csv" or (config.layout == "auto" and config.annotations is not None):
        assert config.annotations is not None
        layout = _read_csv(root, config.annotations, config.limits)
    else:
        layout = _read_folders(root, config.layout)
    layout = _with_class_map(layout, config.class_map)
    if layout.kind == "split_folders":
        layout = _match_classes(layout)
    if len(layout.class_names) < 2:
        raise InputError(
            f"there is only one class, {layout.class_names[0]!r}, in {config.source!r}; a classifier needs at least two"
        )
    if config.patient_pattern is not None:
        layout = replace(layout, records=_with_patients(layout.records, config.patient_pattern))
    return replace(layout, records=sorted(layout.records, key=lambda record: record.name))


def split_of(word: str) -> str | None:
    """The split that a folder or a table means by this word: Training, TRAIN, valid, val, test_set, …"""
    tokens = [token for token in re.split(r"[^a-z]+", word.casefold()) if token and token not in FILLERS]
    if len(tokens) == 1:
        squeezed = re.sub(r"(set|data|dataset)$", "", tokens[0])
        return SPLIT_WORDS.get(tokens[0]) or SPLIT_WORDS.get(squeezed)
    return None


def list_files(root: Path) -> Listing:
    """Every file below the folder but hidden ones, what systems leave behind, and obvious text."""
    listing, texts, visited = Listing(root), list[Parts](), set[str]()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else sorted(name for name in folders if not _ignored(name))
        if real in visited:  # a link back up
            continue
        visited.add(real)
        here = Path(folder).relative_to(root).parts
        names = sorted(name for name in names if not _ignored(name))
        texts += [(*here, name) for name in names if _is_text(name)]
        listing.files += [(*here, name) for name in names if not _is_text(name)]
        if here and not folders and not names:
            listing.empty.append(here)
    listing.files.sort()
    if texts:
        listing.notices.append(f"{_files(len(texts))} of text left out: {_names('/'.join(parts) for parts in texts)}.")
    return listing


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.casefold() in IGNORED


def _is_text(name: str) -> bool:
    path = PurePosixPath(name.casefold())
    return path.suffix in TEXT or path.stem in TEXT_NAMES


def _read_folders(root: Path, kind: str) -> Layout:
    listing = list_files(root)
    _leave_out_masks(listing)
    if not listing.files:
        raise InputError(f"there is no image in {str(root)!r}; it needs one folder of images per class")
    prefix = _unwrapped(listing)[-1]
    top = _split_folders(listing, prefix)
    if kind == "split_folders" and not top:
        raise InputError(f"{_place(root, prefix)} has no split folders such as 'train' and 'test'")
    if top and kind != "class_folders":
        return _read_split_folders(listing, prefix, top)
    return _read_class_folders(listing, prefix, look_for_splits=kind == "auto")


def _unwrapped(listing: Listing, prefix: Parts = ()) -> list[Parts]:
    """The way down through folders that hold nothing but one folder of folders."""
    children = listing.children(prefix)
    if len(children) != 1 or listing.loose(prefix) or split_of(children[0]):
        return [prefix]
    inner = (*prefix, children[0])
    return [prefix, *_unwrapped(listing, inner)] if listing.children(inner) else [prefix]


def _split_folders(listing: Listing, prefix: Parts) -> dict[str, str]:
    """Split of each split folder, or nothing where the folders are something else."""
    splits = {name: split for name in listing.children(prefix) if (split := split_of(name))}
    twice = [split for split, n in Counter(splits.values()).items() if n > 1]
    if "train" not in splits.values() and len(splits) < 2:
        return {}
    if twice:
        names = _names(name for name, split in splits.items() if split == twice[0])
        raise InputError(f"the folders {names} all look like the {twice[0]} split; rename or remove all but one")
    return splits


def _read_split_folders(listing: Listing, prefix: Parts, top: dict[str, str]) -> Layout:
    notices = list(listing.notices)
    beside = [name for name in listing.children(prefix) if name not in top]
    if beside:
        n = sum(len(listing.below((*prefix, name))) for name in beside)
        notices.append(f"{_files(n)} left out in folders beside the split folders: {_names(beside)}.")
    _notice_loose(listing, prefix, notices)
    records, classes = [], set()
    for name, split in top.items():
        inner = _inner_split(listing, (*prefix, name))
        some, names = _class_records(listing, inner, split, notices)
        records += some
        classes |= names
    return _layout("split_folders", classes, records, notices, listing.root)


def _inner_split(listing: Listing, folder: Parts) -> Parts:
    """Go down where an archive repeats the split's name: train/train/class."""
    children = listing.children(folder)
    if len(children) == 1 and not listing.loose(folder):
        inner = (*folder, children[0])
        same = split_of(children[0]) == split_of(folder[-1]) or children[0].casefold() in FILLERS
        if same and listing.children(inner):
            return _inner_split(listing, inner)
    return folder


def _read_class_folders(listing: Listing, prefix: Parts, look_for_splits: bool) -> Layout:
    notices = list(listing.notices)
    names = listing.children(prefix)
    copies = _copies_of_all(listing, prefix, names)
    for name in copies:
        n = len(listing.below((*prefix, name)))
        notices.append(f"Folder {name!r} repeats the class folders beside it: {_files(n)} left out.")
    names = [name for name in names if name not in copies]
    if not names:
        raise InputError(
            f"{_place(listing.root, prefix)} has images but no class folders; put the images of each class into a "
            "folder of its own, or say in dataset.annotations which CSV has the labels"
        )
    _notice_loose(listing, prefix, notices)
    inside = [_split_folders(listing, (*prefix, name)) for name in names]
    if look_for_splits and all(inside) and not any(listing.loose((*prefix, name)) for name in names):
        return _read_splits_in_classes(listing, prefix, names, notices)
    records, classes = _class_records(listing, prefix, "", notices, leave_out=copies)
    return _layout("class_folders", classes, records, notices, listing.root)


def _read_splits_in_classes(listing: Listing, prefix: Parts, names: list[str], notices: list[str]) -> Layout:
    """Class folders with split folders in them."""
    records = []
    for name in names:
        for folder, split in _split_folders(listing, (*prefix, name)).items():
            records += [_record(listing, parts, name, split) for parts in listing.below((*prefix, name, folder))]
    return _layout("split_folders", set(names), records, notices, listing.root)


def _copies_of_all(listing: Listing, prefix: Parts, names: list[str]) -> list[str]:
    """Folders that only hold folders named like two or more of their siblings, as some published archives do."""
    return [
        name
        for name in names
        if len(inner := listing.children((*prefix, name))) > 1
        and set(inner) <= set(names) - {name}
        and not listing.loose((*prefix, name))
    ]


def _class_records(
    listing: Listing, prefix: Parts, split: str, notices: list[str], leave_out: Iterable[str] = ()
) -> tuple[list[Record], set[str]]:
    depth = len(prefix)
    names = set(listing.children(prefix)) - set(leave_out)
    files = [parts for parts in listing.below(prefix) if len(parts) > depth + 1 and parts[depth] in names]
    if split:
        _notice_loose(listing, prefix, notices)
    nested = next((parts for parts in files if len(parts) > depth + 2), None)
    if nested:
        notices.append(
            f"There are folders inside class folders ({'/'.join(nested[:-1])!r}); the class is {nested[depth]!r}."
        )
    return [_record(listing, parts, parts[depth], split) for parts in files], names


def _notice_loose(listing: Listing, prefix: Parts, notices: list[str]) -> None:
    loose = listing.loose(prefix)
    if loose:
        names = _names("/".join(parts) for parts in loose)
        notices.append(f"{_files(len(loose))} left out because they are in no class folder: {names}.")


def _leave_out_masks(listing: Listing) -> None:
    """Segmentations beside the images that they were drawn on are no images of the class."""
    stems = {(*parts[:-1], PurePosixPath(parts[-1]).stem) for parts in listing.files}

    def is_mask(parts: Parts) -> bool:
        if len(parts) > 2 and any(part.casefold() in MASK_FOLDERS for part in parts[1:-1]):
            return True
        match = MASK_NAME.match(PurePosixPath(parts[-1]).stem)
        return match is not None and (*parts[:-1], match[1]) in stems

    masks = [parts for parts in listing.files if is_mask(parts)]
    if masks and len(masks) < len(listing.files):
        listing.files = [parts for parts in listing.files if not is_mask(parts)]
        names = _names("/".join(parts) for parts in masks)
        listing.notices.append(f"{_files(len(masks))} left out that look like segmentation masks: {names}.")


def _record(listing: Listing, parts: Parts, label: str, split: str) -> Record:
    return Record(listing.root.joinpath(*parts), "/".join(parts), label, split)


def _layout(kind: str, classes: set[str], records: list[Record], notices: list[str], root: Path) -> Layout:
    if not records:
        raise InputError(f"there is no image in the class folders of {str(root)!r}")
    return Layout(kind, tuple(sorted(classes)), records, notices)


def _with_class_map(layout: Layout, class_map: dict[str, str]) -> Layout:
    for name in class_map:
        if name not in layout.class_names:
            raise InputError(f"dataset.class_map names {name!r}, which the data does not have{_nearest(name, layout)}")
    records = [replace(record, label=class_map.get(record.label, record.label)) for record in layout.records]
    names = {class_map.get(name, name) for name in layout.class_names}
    return replace(layout, records=records, class_names=tuple(sorted(names)))


def _nearest(name: str, layout: Layout) -> str:
    near = get_close_matches(name, layout.class_names, n=1, cutoff=0)
    return f"; the nearest is {near[0]!r}" if near else ""


def _match_classes(layout: Layout) -> Layout:
    """Give one name to class folders that only differ by case or by a suffix between splits."""
    splits_of: dict[str, set[str]] = {name: set() for name in layout.class_names}
    for record in layout.records:
        splits_of[record.label].add(record.split)

    def rank(name: str) -> tuple[int, int, str]:
        return len(_words(name)), min(map(SPLITS.index, splits_of[name]), default=len(SPLITS)), name

    families = defaultdict(list)
    for name in layout.class_names:
        families[min((other for other in layout.class_names if _starts_with(name, other)), key=rank)].append(name)
    renamed: dict[str, str] = {}
    for short, family in families.items():
        places = [split for name in family for split in splits_of[name]]
        if len(places) == len(set(places)):  # a split that has both names means two classes by them
            renamed.update((name, short) for name in family if name != short)
    if not renamed:
        return layout
    pairs = ", ".join(f"{name!r} as {short!r}" for name, short in sorted(renamed.items()))
    records = [replace(record, label=renamed.get(record.label, record.label)) for record in layout.records]
    names = tuple(sorted({renamed.get(name, name) for name in layout.class_names}))
    notice = f"Class folders are named differently between splits and were matched: {pairs}."
    return Layout(layout.kind, names, records, [*layout.notices, notice])


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.casefold()) if word]


def _starts_with(name: str, other: str) -> bool:
    short = _words(other)
    return name == other or (bool(short) and _words(name)[: len(short)] == short)


def _with_patients(records: list[Record], pattern: str) -> list[Record]:
    compiled = re.compile(pattern)
    found = []
    for record in sorted(records, key=lambda record: record.name):
        match = compiled.search(record.name if "/" in pattern else PurePosixPath(record.name).name)
        if not record.patient and (match is None or not match[1]):
            raise InputError(f"dataset.patient_pattern {pattern!r} finds no patient in the name of {record.name!r}")
        found.append(record if record.patient or match is None else replace(record, patient=match[1]))
    return found


def _read_csv(root: Path, annotations: Annotations, limits: ArchiveLimits) -> Layout:
    table = _beside(root, annotations.file, "dataset.annotations.file")
    rows = _rows(table)
    columns = annotations.columns
    for column in (columns.file, columns.label, columns.split, columns.patient):
        if column is not None and column not in rows[0]:
            near = get_close_matches(column, rows[0], n=1, cutoff=0)
            raise InputError(
                f"{annotations.file} has no column {column!r}; the nearest is {near[0]!r} "
                "(dataset.annotations.columns says which column is which)"
            )
    images = _beside(root, annotations.images, "dataset.annotations.images")
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
        records[name] = Record(listing.root.joinpath(*parts), name, label, split, patient)
    notices = _csv_notices(listing, records, rows, annotations.file)
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
        names = _names("/".join(parts) for parts in unnamed)
        notices.append(f"{_files(len(unnamed))} left out that {table} does not name: {names}.")
    return notices


def _beside(root: Path, name: str, key: str) -> Path:
    """A file or folder of the source, also below a single folder around everything."""
    for prefix in _unwrapped(list_files(root)):
        if root.joinpath(*prefix, name).exists():
            return root.joinpath(*prefix, name)
    raise InputError(f"{key} is {name!r}, but there is no such file or folder in {str(root)!r}")


def _opened(images: Path, limits: ArchiveLimits) -> Path:
    if images.is_dir():
        return images
    if not images.name.casefold().endswith(ARCHIVES):
        raise InputError(f"dataset.annotations.images, {images.name!r}, is neither a folder nor an archive")
    from diascope import sources

    return sources.fetch(str(images), limits=limits)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table.name} is not UTF-8 text; save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t|", key=header.count)
    try:
        rows = list(csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, restval=""))
    except csv.Error as error:
        raise InputError(f"{table.name} is not a readable CSV: {error}") from None
    if not rows:
        raise InputError(f"{table.name} has no rows; it needs a header and one row per image")
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
            names = _names("/".join(parts) for parts in matches)
            raise InputError(f"{table} names {value!r}, which may be any of {names}; give the path below {folder!r}")
        missing += [] if matches else [value]
        found += matches
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(values)} files that {table} names are not in {folder!r}: {_names(missing)}"
        )
    return found


def _with_splits(records: list[Record], table: str) -> list[Record]:
    words = {record.split for record in records}
    unknown = sorted(word for word in words if split_of(word) is None)
    if unknown:
        raise InputError(
            f"{table} has splits that are none of train, validation and test: {_names(unknown)}; "
            "change them, or leave out dataset.annotations.columns.split"
        )
    return [replace(record, split=split_of(record.split) or "") for record in records]


def _place(root: Path, prefix: Parts) -> str:
    return repr(str(root.joinpath(*prefix)))


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"


def _names(names: Iterable[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(repr(name) for name in every[:SHOWN]) + more
