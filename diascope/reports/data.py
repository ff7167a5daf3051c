"""What is in the data, what was found wrong with it, and what was done about it?"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from diascope.checks import Finding
from diascope.reports import plots
from diascope.reports.figures import listed, synthetic
from diascope.reports.page import render
from diascope.reports.thumbnails import data_uri

if TYPE_CHECKING:
    import pandas as pd

    from diascope.dataset import Dataset

SPLITS = ("train", "validation", "test")
MAX_SAMPLES = 72  # thumbnails of the page, over all classes
MAX_PER_CLASS = 6
MAX_TWINS = 6  # near twins across splits that are shown as images
MAX_SIZES = 1500  # points of the size plot
KINDS = {
    "unreadable": ("Unreadable files", "Files that are no image, are cut off, or are larger than allowed."),
    "blank": ("Blank images", "Images in which every pixel has (almost) the same value."),
    "conflicts": ("Conflicting labels", "The same pixels under two labels: at least one label is wrong."),
    "leaks": ("Leaks between splits", "The same pixels in two splits: the test would ask what training has told."),
    "duplicates": ("Exact duplicates", "The same pixels more than once in one split."),
    "near_duplicates": ("Near twins", "Images that look almost the same. They are kept together in folds and splits."),
    "imbalance": ("Class imbalance", "Classes of very different size."),
}


class Place(NamedTuple):
    """Where a file is now; empty where it was left out."""

    name: str
    split: str
    label: str


def data_page(dataset: "Dataset") -> str:
    """The page of a dataset as one HTML file: counts, sizes, samples and every finding with its files."""
    return render("data_page.html", level=2, **data_values(dataset))


def data_values(dataset: "Dataset") -> dict[str, Any]:
    """What the data's template needs."""
    info, index = dataset.info, dataset.index()
    places = {
        name: Place(name, split, label)
        for name, split, label in zip(index["sample_id"], index["split"], index["label"], strict=True)
    }
    return {
        "info": info,
        "synthetic": synthetic(info.source),
        "n_kept": len(index),
        "n_left_out": max(info.n_found - len(index), 0),
        "n_findings": len(info.findings),
        "notices": info.notices,
        "table": count_table(info.class_names, info.counts),
        "checks": checks(info.findings, places),
        "twins": twins(dataset, places),
        "samples": samples(dataset, index),
        "splits": split_sentences(info.counts, info.splits_made),
        "groups": groups(index),
        **sizes(index, info.class_names),
    }


def count_table(class_names: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Images per class and split, with the share of each class and a bar."""
    splits = [s for s in SPLITS if s in counts] + sorted(set(counts) - set(SPLITS))
    rows = [(name, [counts[split].get(name, 0) for split in splits]) for name in class_names]
    total, largest = sum(sum(row) for _, row in rows), max((sum(row) for _, row in rows), default=0)
    return {
        "splits": splits,
        "colours": [plots.split_colour(i) for i in range(len(splits))],
        "rows": [
            {"name": name, "counts": row, "total": sum(row), "share": sum(row) / total if total else None,
             "bar": plots.bar(row, largest)}
            for name, row in rows
        ],
        "totals": [sum(row[i] for _, row in rows) for i in range(len(splits))],
        "total": total,
    }  # fmt: skip


def checks(findings: Sequence[Finding], places: Mapping[str, Place]) -> list[dict[str, Any]]:
    """One entry per kind of check, found or not, with its findings and what became of each file."""
    entries = []
    for kind, (title, meaning) in KINDS.items():
        own = [finding for finding in findings if finding.kind == kind]
        files = {name for finding in own for name in finding.files}
        entries.append(
            {
                "kind": kind,
                "title": title,
                "meaning": meaning,
                "findings": [(f, [places.get(name, Place(name, "", "")) for name in f.files]) for f in own],
                "n_files": len(files),
                "n_left_out": sum(name not in places for name in files),
                "by_split": by_split(own),
            }
        )
    return entries


def by_split(findings: Sequence[Finding]) -> str:
    """How many files were left out of which split, where findings are about splits: `46 in test`."""
    dropped: Counter[str] = Counter()
    for finding in findings:
        dropped[finding.split] += finding.n_dropped
    return listed([f"{dropped[split]:,} in {split}" for split in SPLITS if dropped[split]])


def twins(dataset: "Dataset", places: Mapping[str, Place]) -> list[list[tuple[Place, str]]]:
    """Images of near twins that are kept in different splits: of each of the first sets, one image per split."""
    pairs: list[list[Place]] = []
    for finding in dataset.info.findings:
        if finding.kind in ("near_duplicates", "leaks") and len(pairs) < MAX_TWINS:
            by_split = {place.split: place for name in finding.files if (place := places.get(name))}
            if len(by_split) > 1:
                pairs.append([by_split[split] for split in sorted(by_split, key=_split_order)])
    images = dataset.read([place.name for pair in pairs for place in pair])
    return [[(place, data_uri(images.get(place.name), place.name)) for place in pair] for pair in pairs]


def samples(dataset: "Dataset", index: "pd.DataFrame") -> list[tuple[str, list[tuple[str, str]]]]:
    """A few images of each class, each of another group as far as there are groups; the choice is by their hash.

    Training images come first, because a page that many people look at should not teach them the test split.
    """
    names = dataset.info.class_names
    per_class = max(1, min(MAX_PER_CLASS, MAX_SAMPLES // max(len(names), 1)))
    ordered = index.assign(later=index["split"] != "train").sort_values(["later", "sha256", "sample_id"])
    ordered = ordered.assign(again=ordered.groupby(["label", "group"]).cumcount())
    ordered = ordered.sort_values(["again", "later", "sha256", "sample_id"])
    chosen = {name: ordered.loc[ordered["label"] == name, "sample_id"].head(per_class).tolist() for name in names}
    shown = dict(list(chosen.items())[:MAX_SAMPLES])
    images = dataset.read([sample for ids in shown.values() for sample in ids])
    return [(name, [(sample, data_uri(images.get(sample), sample)) for sample in ids]) for name, ids in shown.items()]


def sizes(index: "pd.DataFrame", class_names: Sequence[str]) -> dict[str, Any]:
    """Widths, heights and file modes per class; classes that differ in them can be told apart without medicine."""
    modes = sorted(set(index["mode"]))
    rows = []
    series: list[tuple[int, bool, list[tuple[float, float]]]] = []
    for i, name in enumerate(class_names):
        own = index[index["label"] == name]
        used = Counter(own["mode"])
        rows.append((name, _span(own["width"]), _span(own["height"]), [used[mode] for mode in modes]))
        distinct = sorted(set(zip(own["width"].astype(float), own["height"].astype(float), strict=True)))
        every = max(1, math.ceil(len(distinct) * len(class_names) / MAX_SIZES))
        series.append((i, False, distinct[::every]))
    plot: Markup | None = None
    if _distinct(index) > 1:
        title = "Width and height of the images by class"
        plot = plots.scatter(title, "width, pixels", "height, pixels", series, from_zero=True)
    return {
        "size_rows": rows,
        "modes": modes,
        "size_plot": plot,
        "size_legend": list(enumerate(class_names)),
        "n_distinct_sizes": _distinct(index),
    }


def split_sentences(counts: Mapping[str, Mapping[str, int]], made: Sequence[str]) -> list[str]:
    """Which splits the data brought and which were made."""
    brought = [split for split in SPLITS if split in counts and split not in made]
    sentences = ["The data brought no splits."]
    if brought != ["train"]:
        sentences = [f"The data brought its {listed(brought)} splits."]
    if made:
        verb = "splits were" if len(made) > 1 else "split was"
        sentences.append(
            f"The {listed(made)} {verb} made: by lot with a fixed seed, with the same share of every class, "
            "and with all images of a group on one side."
        )
    return sentences


def groups(index: "pd.DataFrame") -> dict[str, Any]:
    """How many groups there are, how large, and which of them have images in several splits."""
    known = index[index["group"] != ""]
    spread = known.groupby("group")["split"].agg(lambda s: sorted(set(s), key=_split_order))
    across = spread[spread.map(len) > 1]
    members = known[known["group"].isin(across.index)].groupby("group")["sample_id"].agg(sorted)
    sizes = known["group"].value_counts()
    return {
        "n": len(sizes),
        "largest": int(sizes.max()) if len(sizes) else 0,
        "across": [(group, across[group], members[group]) for group in sorted(across.index)],
    }


def _span(values: "pd.Series[int]") -> tuple[int, int, int] | None:
    return (int(values.min()), int(values.median()), int(values.max())) if len(values) else None


def _distinct(index: "pd.DataFrame") -> int:
    return len(index[["width", "height"]].drop_duplicates())


def _split_order(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
