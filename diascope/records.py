"""What is said of a file before it is opened?"""

import re
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validate", "validating", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "ts"), "test"),
}
FILLERS = {"set", "data", "dataset", "split", "folder", "images", "image", "imgs", "seg"}  # of "train_set"


@dataclass(frozen=True)
class Record:
    """One file that should be an image."""

    path: Path
    name: str  # relative to the source, unique: the sample_id
    label: str
    split: str = ""  # "train", "validation", "test", or "" where the data does not say
    patient: str = ""  # "" where unknown
    agreement: float = 1.0  # share of the annotators who give this label; 1 where unknown


@dataclass(frozen=True)
class Layout:
    """What a source says about its files, before any of them is opened."""

    kind: str  # "class_folders", "split_folders" or "csv"
    class_names: tuple[str, ...]  # sorted
    records: list[Record]  # sorted by name
    notices: list[str]


def split_of(word: str) -> str | None:
    """The split that a folder or a table means by this word: Training, TRAIN, valid, val, test_set, …"""
    tokens = [token for token in re.split(r"[^a-z]+", word.casefold()) if token and token not in FILLERS]
    if len(tokens) == 1:
        squeezed = re.sub(r"(set|data|dataset)$", "", tokens[0])
        return SPLIT_WORDS.get(tokens[0]) or SPLIT_WORDS.get(squeezed)
    return None
