"""Which versions of the dataset are stored, and how do two of them differ?"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from diascope.records import SPLITS
from diascope.schema import Frozen

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

MOST_SHOWN = 20  # images in a table; JSON has all of them


class StoredVersion(Frozen):
    """One version of the stored dataset."""

    version: int
    created: str  # ISO 8601, UTC
    source: str
    fingerprint: str
    images: dict[str, int]  # by split
    counts: dict[str, dict[str, int]]  # by split and class; empty where it was stored before counts were noted
    run: str  # name of the run that stored it; empty where it was deleted


class Image(Frozen):
    """An image of one version."""

    file: str
    label: str
    split: str


class Pair(Frozen):
    """An image as it is in both versions."""

    before: Image
    after: Image


class Difference(Frozen):
    """Which images of one version stand otherwise in another.

    An image is the same where its decoded pixels are, whatever its file is called. An image whose pixels are in one of
    the versions alone has changed where the other has a file of its name, and else came or went.
    """

    n_before: int
    n_after: int
    n_same: int  # as they were: pixels, name, label and split
    came: list[Image]
    went: list[Image]
    changed: list[Pair]  # other pixels under the same name
    labelled: list[Pair]  # another label, among the same pixels and the changed
    moved: list[Pair]  # another split
    renamed: list[Pair]  # the same pixels under another name


def difference(before: "pd.DataFrame", after: "pd.DataFrame") -> Difference:
    """Compare two datasets by their indexes (`Dataset.index`)."""
    old, new = _images(before), _images(after)
    same = [pair for pixels in old.keys() & new.keys() for pair in _paired(old[pixels], new[pixels])]
    gone = _alone(old, [pair.before for pair in same])
    come = _alone(new, [pair.after for pair in same])
    changed = [Pair(before=gone[file], after=come[file]) for file in gone.keys() & come.keys()]
    both = same + changed
    return Difference(
        n_before=len(before),
        n_after=len(after),
        n_same=sum(pair.before == pair.after for pair in same),
        came=_by_name(image for file, image in come.items() if file not in gone),
        went=_by_name(image for file, image in gone.items() if file not in come),
        changed=_by_old_name(changed),
        labelled=_by_old_name(pair for pair in both if pair.before.label != pair.after.label),
        moved=_by_old_name(pair for pair in both if pair.before.split != pair.after.split),
        renamed=_by_old_name(pair for pair in same if pair.before.file != pair.after.file),
    )


def list_as_json(versions: Sequence[StoredVersion]) -> dict[str, Any]:
    """The versions as one JSON object."""
    return {"versions": [version.model_dump() for version in versions]}


def print_list(versions: Sequence[StoredVersion], console: "Console") -> None:
    """What is known of each version, the newest at the end; one that holds what an earlier one does says so."""
    if not versions:
        console.print("No dataset is stored yet: run --training first.", highlight=False)
        return
    from rich.markup import escape
    from rich.table import Table

    first: dict[str, int] = {}
    for each in versions:
        earlier = first.setdefault(each.fingerprint, each.version)
        again = "" if earlier == each.version else f", the same images as version {earlier}"
        title = f"Version {each.version}, stored {each.created[:16].replace('T', ' ')} UTC{again}"
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, text in _facts(each).items():
            table.add_row(name, escape(text))
        console.print(title, table, "", sep="\n", highlight=False)


def difference_as_json(found: Difference) -> dict[str, Any]:
    """The difference as one JSON object, every image named."""
    return found.model_dump()


def print_difference(found: Difference, console: "Console") -> None:
    """How many images stand otherwise, and the first of each kind by name."""
    console.print(
        f"{found.n_before:,} images before, {found.n_after:,} after; {found.n_same:,} are as they were.",
        highlight=False,
    )
    for title, images in (("came", found.came), ("went", found.went)):
        _print(console, f"{len(images)} {title}", [(each.file, each.label, each.split) for each in images])
    _print(console, f"{len(found.changed)} have other pixels under the same name", _changes(found.changed, "label"))
    _print(console, f"{len(found.labelled)} have another label", _changes(found.labelled, "label"))
    _print(console, f"{len(found.moved)} are in another split", _changes(found.moved, "split"))
    _print(console, f"{len(found.renamed)} have another name", _changes(found.renamed, "file"))


def _images(index: "pd.DataFrame") -> dict[str, list[Image]]:
    """The images by their pixels."""
    found: dict[str, list[Image]] = defaultdict(list)
    columns = (index[name].tolist() for name in ("sha256", "sample_id", "label", "split"))
    for pixels, file, label, split in zip(*columns, strict=True):
        found[pixels].append(Image(file=file, label=label, split=split))
    return found


def _paired(old: list[Image], new: list[Image]) -> list[Pair]:
    """Images of equal pixels, first by their names, the rest in the order of their names as far as they go."""
    by_name = {image.file: image for image in new}
    pairs = [Pair(before=image, after=by_name[image.file]) for image in old if image.file in by_name]
    paired = {pair.before.file for pair in pairs}
    left = [_by_name(image for image in some if image.file not in paired) for some in (old, new)]
    return pairs + [Pair(before=before, after=after) for before, after in zip(*left, strict=False)]


def _alone(images: dict[str, list[Image]], paired: Iterable[Image]) -> dict[str, Image]:
    """The images that are in no pair, by name."""
    known = {image.file for image in paired}
    return {image.file: image for some in images.values() for image in some if image.file not in known}


def _by_name(images: Iterable[Image]) -> list[Image]:
    return sorted(images, key=lambda image: image.file)


def _by_old_name(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.before.file)


def _facts(version: StoredVersion) -> dict[str, str]:
    used = [split for split in SPLITS if version.images.get(split)]
    names = dict.fromkeys(name for classes in version.counts.values() for name in classes)
    classes = [f"{name} " + " + ".join(f"{version.counts[split][name]:,}" for split in used) for name in names]
    return {
        "images": ", ".join(f"{version.images[split]:,} {split}" for split in used),
        "classes": ", ".join(classes) or "not noted",
        "source": version.source,
        "fingerprint": version.fingerprint[:16],
        "run": version.run or "deleted",
    }


def _changes(pairs: Sequence[Pair], key: str) -> list[tuple[str, ...]]:
    """The file, and what it was and is."""
    return [(each.before.file, str(getattr(each.before, key)), str(getattr(each.after, key))) for each in pairs]


def _print(console: "Console", title: str, rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    console.print(f"\n{title}:", highlight=False, markup=False)
    console.print(_table(rows))


def _table(rows: Sequence[tuple[str, ...]]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows[:MOST_SHOWN]:
        table.add_row("", *map(escape, row))
    if len(rows) > MOST_SHOWN:
        table.add_row("", f"and {len(rows) - MOST_SHOWN:,} more (--json names all of them)")
    return table
