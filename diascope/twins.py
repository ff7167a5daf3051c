"""Which images look most alike, of different classes and splits first?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from diascope.groups import near_pairs

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 500
MAX_PAIRS = 20_000  # by hashes; those of different classes and the most alike are kept
HASH_DISTANCE = 4  # of 64 bits
Relation = Literal["classes", "splits", "neither"]  # what differs between the two


@dataclass(frozen=True)
class Pair:
    """Two images that look alike."""

    first: str  # sample id
    second: str
    relation: Relation
    cosine: float | None  # of what a network sees in them, or of their pixels
    bits: int | None  # of 64, by which their perceptual hashes differ


def find_twins(index: "pd.DataFrame", vectors: np.ndarray, ids: list[str], per_relation: int) -> list[Pair]:
    """The images that look most alike, so many of each relation at most, each image once.

    Vectors (m, d) are of the sample `ids`, which are compared each with all others. All images of the index are
    compared by their perceptual hashes, the test split's too, but not with each other: a twin of what is trained on
    makes the test too easy.
    """
    pairs = [*_by_hash(index), *_by_vectors(index.set_index("sample_id"), vectors, ids)]
    found: list[Pair] = []
    shown: set[str] = set()
    for relation in ("classes", "splits", "neither"):
        own = sorted((pair for pair in pairs if pair.relation == relation), key=_order)
        free = (pair for pair in own if not shown & {pair.first, pair.second})
        for pair in free:
            if sum(each.relation == relation for each in found) == per_relation:
                break
            found.append(pair)
            shown |= {pair.first, pair.second}
    return found


def _order(pair: Pair) -> tuple[float, str, str]:
    """The most alike first; a hash tells less than a vector does."""
    likeness = pair.cosine if pair.cosine is not None else 0.95 - (pair.bits or 0) / 64
    return -likeness, pair.first, pair.second


def _by_hash(index: "pd.DataFrame") -> list[Pair]:
    ordered = index.sort_values(["label", "split", "sample_id"])  # then equal hashes of two classes are neighbours
    names, labels, splits = (ordered[key].to_numpy(str) for key in ("sample_id", "label", "split"))
    hashes = ordered["phash"].to_numpy(np.uint64)
    pairs = near_pairs(hashes, HASH_DISTANCE) if len(hashes) > 1 else np.empty((0, 2), np.int64)
    pairs = pairs[(splits[pairs] != "test").any(axis=1)]
    bits = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    telling = np.argsort(bits + 64 * ((labels[pairs[:, 0]] == labels[pairs[:, 1]]).astype(int)), kind="stable")
    pairs, bits = pairs[telling[:MAX_PAIRS]], bits[telling[:MAX_PAIRS]]
    return [
        Pair(names[i], names[j], _relation(labels[i] == labels[j], splits[i] == splits[j]), None, int(n))
        for (i, j), n in zip(pairs, bits, strict=True)
    ]


def _by_vectors(index: "pd.DataFrame", vectors: np.ndarray, ids: list[str]) -> list[Pair]:
    """Of every image, the nearest of another class, of another split, and of its own."""
    labels, splits = (index.loc[ids, key].to_numpy(str) for key in ("label", "split"))
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    pairs: dict[tuple[int, int], Pair] = {}
    for start in range(0, len(ids), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(ids)))
        cosines = unit[own] @ unit.T
        cosines[np.arange(len(own)), own] = -2
        same_label, same_split = (values[own, None] == values[None] for values in (labels, splits))
        for same in (~same_label, same_label & ~same_split, same_label & same_split):
            near = np.where(same, cosines, -2)
            best = near.argmax(axis=1)
            for position, i, j in zip(range(len(own)), own.tolist(), best.tolist(), strict=True):
                cosine = float(near[position, j])
                if cosine > -2:
                    relation = _relation(labels[i] == labels[j], splits[i] == splits[j])
                    key = (min(i, j), max(i, j))
                    pairs[key] = Pair(ids[key[0]], ids[key[1]], relation, cosine, None)
    return list(pairs.values())


def _relation(same_label: bool, same_split: bool) -> Relation:
    return "splits" if same_label and not same_split else "neither" if same_label else "classes"
