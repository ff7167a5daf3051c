"""Which image belongs to which class, split and patient?"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from diascope.annotations import read_annotations
from diascope.config import DatasetConfig
from diascope.downloads import shown
from diascope.errors import InputError, nearest, quoted
from diascope.listing import Listing, Parts, count_files, is_utf8, leave_out_masks, list_files, unwrapped
from diascope.records import FILLERS, SPLITS, Layout, Record, split_of


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
        layout = read_annotations(root, config.annotations, config.limits)
    else:
        layout = _read_folders(root, config.layout)
    layout = _with_class_map(layout, config.class_map)
    if layout.kind == "split_folders":
        layout = _match_classes(layout)
    layout = _with_classes(layout, config.classes)
    if len(layout.class_names) < 2:
        name = layout.class_names[0]
        if split_of(name) and layout.kind == "class_folders":
            raise InputError(f"there is only a folder {name!r} in {shown(config.source)!r}; add the training split")
        raise InputError(
            f"there is only one class, {name!r}, in {shown(config.source)!r}; a classifier needs at least two"
        )
    for record in layout.records:
        if not is_utf8(record.name):
            raise InputError(f"the name of {record.name!r} is not UTF-8: rename the file or folder")
    if config.patient_pattern is not None:
        layout = replace(layout, records=_with_patients(layout.records, config.patient_pattern))
    return replace(layout, records=sorted(layout.records, key=lambda record: record.name))


def _read_folders(root: Path, kind: str) -> Layout:
    listing = list_files(root)
    leave_out_masks(listing)
    if not listing.files:
        raise InputError(f"there is no image in {str(root)!r}; it needs one folder of images per class")
    prefix = unwrapped(listing)[-1]
    top = _split_folders(listing, prefix)
    if kind == "split_folders" and not top:
        raise InputError(f"{_place(root, prefix)} has no split folders such as 'train' and 'test'")
    if top and kind != "class_folders":
        return _read_split_folders(listing, prefix, top)
    return _read_class_folders(listing, prefix, look_for_splits=kind == "auto")


def _split_folders(listing: Listing, prefix: Parts) -> dict[str, str]:
    """Split of each split folder, or nothing where the folders are something else."""
    splits = {name: split for name in listing.children(prefix) if (split := split_of(name))}
    twice = [split for split, n in Counter(splits.values()).items() if n > 1]
    if "train" not in splits.values() and len(splits) < 2:
        return {}
    if twice:
        names = quoted(name for name, split in splits.items() if split == twice[0])
        raise InputError(f"the folders {names} all look like the {twice[0]} split; rename or remove all but one")
    return splits


def _read_split_folders(listing: Listing, prefix: Parts, top: dict[str, str]) -> Layout:
    notices = list(listing.notices)
    beside = [name for name in listing.children(prefix) if name not in top]
    if beside:
        n = sum(len(listing.below((*prefix, name))) for name in beside)
        notices.append(f"{count_files(n)} left out in folders beside the split folders: {quoted(beside)}.")
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
        notices.append(f"Folder {name!r} repeats the class folders beside it: {count_files(n)} left out.")
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
        names = quoted("/".join(parts) for parts in loose)
        notices.append(f"{count_files(len(loose))} left out because they are in no class folder: {names}.")


def _record(listing: Listing, parts: Parts, label: str, split: str) -> Record:
    return Record(listing.root.joinpath(*parts), "/".join(parts), label, split)


def _layout(kind: str, classes: set[str], records: list[Record], notices: list[str], root: Path) -> Layout:
    if not records:
        raise InputError(f"there is no image in the class folders of {str(root)!r}")
    return Layout(kind, tuple(sorted(classes)), records, notices)


def _with_class_map(layout: Layout, class_map: dict[str, str]) -> Layout:
    for name in class_map:
        if name not in layout.class_names:
            near = nearest(name, layout.class_names)
            raise InputError(f"dataset.class_map names {name!r}, which the data does not have; the nearest is {near!r}")
    records = [replace(record, label=class_map.get(record.label, record.label)) for record in layout.records]
    names = {class_map.get(name, name) for name in layout.class_names}
    return replace(layout, records=records, class_names=tuple(sorted(names)))


def _with_classes(layout: Layout, classes: list[str]) -> Layout:
    """Leave out the images of all other classes."""
    for name in classes:
        if name not in layout.class_names:
            near = nearest(name, layout.class_names)
            raise InputError(f"dataset.classes names {name!r}, which the data does not have; the nearest is {near!r}")
    others = sorted(set(layout.class_names) - set(classes))
    if not classes or not others:
        return layout
    records = [record for record in layout.records if record.label in classes]
    left_out = len(layout.records) - len(records)
    notice = f"{count_files(left_out)} left out of classes that dataset.classes does not name: {quoted(others)}."
    return Layout(layout.kind, tuple(sorted(classes)), records, [*layout.notices, notice])


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


def _place(root: Path, prefix: Parts) -> str:
    return repr(str(root.joinpath(*prefix)))
