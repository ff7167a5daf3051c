"""Which split and which group does each image belong to?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diascope.checks import NEAR_DISTANCE, Checked
from diascope.config import Splits as Shares
from diascope.errors import InputError
from diascope.groups import hash_groups, merge_groups, near_duplicate_groups
from diascope.splits import make_split

Grouping = Literal["patient", "similarity"]


@dataclass(frozen=True)
class Dealt:
    """Which split and group each kept image belongs to."""

    splits: list[str]
    groups: list[str]
    grouping: Grouping
    made: list[str]
    notices: list[str]


def deal(checked: Checked, shares: Shares, seed: int) -> Dealt:
    """Keep the splits that the data brings and make the others out of what is for training.

    Shares are of the images that the split is taken from; with neither validation nor test given, of all images.
    Patients stay whole where they are known, else groups of images with similar perceptual hashes do, which are larger
    than sets of near duplicates; equal pixels never part. The `group` that is stored is the patient or the set of
    near duplicates.
    """
    records = [one.record for one in checked.kept]
    splits = np.array([record.split or "train" for record in records], dtype=object)
    made = [split for split in ("test", "validation") if split not in splits]
    if "train" not in splits:
        raise InputError("the data has no training split; add a folder or rows for it, or give it without splits")
    wanted = {"test": shares.test, "validation": shares.validation}
    if len(made) == 2:
        wanted["validation"] = shares.validation / (1 - shares.test)
    if wanted["validation"] >= 1:
        raise InputError("dataset.splits leaves nothing for training: validation and test take everything")
    patients = [record.patient for record in records]
    grouping: Grouping = "patient" if any(patients) else "similarity"
    groups = _with_patients(patients, checked.clusters)
    if not made:
        return Dealt(splits.tolist(), groups, grouping, [], [])
    error: InputError | None = None
    for number, alike in enumerate(_groupings(checked, seed)):
        try:
            splits = _make(checked, splits, made, wanted, _with_patients(patients, alike), seed)
        except InputError as impossible:
            error = error or impossible
            if any(patients):  # one patient cannot be cut, but what looks alike can be told more finely
                break
        else:
            finer = ["A class looks all alike: similar images had to be parted, so figures may be too good."]
            return Dealt(splits.tolist(), groups, grouping, made, finer if number else [])
    assert error is not None
    raise error


def _with_patients(patients: list[str], alike: np.ndarray) -> list[str]:
    return [patient or f"cluster:{group}" for patient, group in zip(patients, alike, strict=True)]


def _groupings(checked: Checked, seed: int) -> Iterator[np.ndarray]:
    """Groups of images that look alike, coarse ones first."""
    hashes = np.array([one.facts.phash for one in checked.kept if one.facts is not None], dtype=np.uint64)
    yield hash_groups(hashes, NEAR_DISTANCE, seed=seed)
    yield checked.clusters
    yield near_duplicate_groups(hashes, 0)


def _make(
    checked: Checked, splits: np.ndarray, made: list[str], wanted: dict[str, float], groups: list[str], seed: int
) -> np.ndarray:
    splits = splits.copy()
    labels = np.array([one.record.label for one in checked.kept])
    pixels = np.array([one.facts.sha256 for one in checked.kept if one.facts is not None])
    whole = merge_groups(np.array(groups), pixels)
    for number, split in enumerate(made):
        pool = np.flatnonzero(splits == "train")
        held = make_split(labels[pool], whole[pool], wanted[split], seed + number)
        splits[pool[held]] = split
    return splits
