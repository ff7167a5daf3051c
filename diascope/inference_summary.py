"""What stands out in a batch, and how much of everything is in it?"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.errors import InputError
from diascope.inference_images import Images
from diascope.inference_results import (
    BINS,
    EXAMPLES,
    FURTHEST,
    INFO,
    STATUSES,
    TABLE,
    BatchInfo,
    BatchSummary,
    Example,
    Examples,
    PredictedImages,
)
from diascope.inference_table import ERROR, PROBABILITY, batches

if TYPE_CHECKING:
    import pandas as pd

MOST = 12  # examples of each kind
MOST_ERRORS = 100  # told on the page; the table has all


def store_batch(info: BatchInfo, images: Images, root: Path, max_pixels: int) -> PredictedImages:
    """Complete a folder that holds the table already: beside it, how it was made and what stands out, with pictures."""
    (root / INFO).write_text(info.model_dump_json(indent=1), encoding="utf-8")
    found = find_examples(root / TABLE, info)
    wanted = {example.file for example in (*found.uncertain, *found.foreign)}
    pictures = _pictures(images, wanted, max_pixels)

    def shown(examples: list[Example]) -> list[Example]:
        return [each.model_copy(update={"picture": pictures.get(each.file, "")}) for each in examples]

    examples = Examples(uncertain=shown(found.uncertain), foreign=shown(found.foreign))
    (root / EXAMPLES).write_text(examples.model_dump_json(indent=1), encoding="utf-8")
    return PredictedImages(root)


def find_examples(table: Path, info: BatchInfo) -> Examples:
    """Return the files nearest to being decided otherwise, and those furthest from the training images."""
    import pandas as pd

    uncertain, foreign = pd.DataFrame(), pd.DataFrame()
    for rows in _answered(table):
        known = rows.assign(margin=_margins(rows, info))
        near = known[known["status"] != "out_of_distribution"]
        far = known[known["distance"].notna()]
        uncertain = pd.concat([uncertain, near]).nsmallest(MOST, "margin")
        foreign = pd.concat([foreign, far]).nlargest(MOST, "distance")
    return Examples(uncertain=_examples(uncertain), foreign=_examples(foreign))


def summarise(predicted: PredictedImages) -> BatchSummary:
    """Count what is in the table, whose size does not matter."""
    info = predicted.info
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    probabilities = {status: np.zeros(BINS, int) for status in STATUSES}
    distances, n_distances = np.zeros(BINS, int), 0
    errors: list[tuple[str, str]] = []
    statuses: Counter[str] = Counter()
    for rows in _rows(predicted.table):
        statuses.update(rows["status"])
        counts_of = rows.groupby(["label", "status"]).size()  # rows without a label are left out
        for (label, status), n in counts_of.items():
            counts[str(label)][str(status)] += int(n)
        for status in STATUSES:
            values = rows.loc[rows["status"] == status, "probability"]
            probabilities[status] += np.histogram(values, BINS, (0, 1))[0]
        known = rows["distance"].dropna()
        n_distances += len(known)
        distances += np.histogram(known.clip(0, FURTHEST), BINS, (0, FURTHEST))[0]
        failed = rows[rows["status"] == ERROR].head(MOST_ERRORS - len(errors))
        errors += list(zip(failed["file"], failed["error"], strict=True))
    return BatchSummary(
        info=info,
        statuses={status: statuses[status] for status in (*STATUSES, ERROR)},
        counts={name: {status: counts[name][status] for status in STATUSES} for name in info.class_names},
        probabilities={status: found.tolist() for status, found in probabilities.items()},
        distances=distances.tolist() if n_distances else [],
        errors=errors,
    )


def _rows(table: Path) -> Iterator["pd.DataFrame"]:
    for batch in batches(table):
        yield batch.to_pandas()


def _answered(table: Path) -> Iterator["pd.DataFrame"]:
    for rows in _rows(table):
        yield rows[rows["status"] != ERROR]


def _margins(rows: "pd.DataFrame", info: BatchInfo) -> "pd.Series[float]":
    """How far each image is from being decided otherwise."""
    if info.positive_class is not None and info.threshold is not None:
        return (rows[f"{PROBABILITY}{info.positive_class}"] - info.threshold).abs()
    return rows["probability"]


def _examples(rows: "pd.DataFrame") -> list[Example]:
    if not len(rows):
        return []
    known = rows[["file", "label", "probability", "status", "distance"]].astype(object)
    return [Example.model_validate(record) for record in known.where(known.notna(), None).to_dict("records")]


def _pictures(images: Images, wanted: set[str], max_pixels: int) -> dict[str, str]:
    """Small pictures of some files; of one that went away meanwhile, with its source or alone, there is none."""
    from diascope.reports.thumbnails import data_uri

    pictures = dict.fromkeys(wanted, "")
    for item in images.items():
        if item.name in wanted:
            with suppress(InputError):
                pictures[item.name] = data_uri(images.read(item, max_pixels), item.name)
    return pictures
