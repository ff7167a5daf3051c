"""How are images dealt to splits and folds, with groups kept whole and classes kept in proportion?"""

import warnings
from collections.abc import Sequence

import numpy as np

from diascope.errors import InputError

ATTEMPTS = 20  # orders of groups that are tried; the most even one is taken


def make_split(labels: np.ndarray, groups: np.ndarray | None, share: float, seed: int) -> np.ndarray:
    """Mark about `share` of the images of every class as held out, groups whole.

    Labels and groups (n,), of any type; groups None: every image is its own. Returns (n,) bool. The same groups come
    out whatever the order of rows. Every class has at least one image on both sides.

    Raises:
        InputError: a class is all in one group.
    """
    counts, member, classes = _group_counts(labels, groups)
    _require_groups(counts, classes)
    target = share * counts.sum(axis=0)
    best: tuple[float, np.ndarray] | None = None
    for attempt in range(ATTEMPTS):
        order = np.random.default_rng([seed, attempt]).permutation(len(counts))
        held = _with_every_class(_fill(counts, target, order), counts, order)
        n_held = counts[held].sum(axis=0)
        miss = _miss(n_held, target)
        if _every_class_on_both_sides(held, counts) and (best is None or miss < best[0]):
            best = miss, held
            if (abs(n_held - target) <= 0.5).all():  # no split is more even
                break
    if best is None:
        raise InputError(
            "no split keeps every group whole and every class on both sides: the groups mix too many classes; "
            "give more images or finer groups"
        )
    return best[1][member]


def feasible_folds(labels: np.ndarray, groups: np.ndarray | None, n_folds: int) -> int:
    """The number of folds, lowered to the number of groups of the class that has the fewest.

    Raises:
        InputError: a class is all in one group.
    """
    counts, _, classes = _group_counts(labels, groups)
    _require_groups(counts, classes)
    return min(n_folds, int((counts > 0).sum(axis=0).min()))


def folds(
    labels: np.ndarray, groups: np.ndarray | None, n_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cross-validation folds, stratified, groups whole, every class in every part that is fitted.

    Labels and groups (n,), of any type; groups None: every image is its own. Returns (fit, held_out) index pairs; the
    held-out parts cover every image once. Where a class has fewer groups than folds, there are as many folds as it
    has groups (`feasible_folds`), or fewer where groups that mix classes leave no other way.

    Raises:
        InputError: a class is all in one group, or no two folds are possible.
    """
    most = feasible_folds(labels, groups, n_folds)
    labels = np.unique(np.asarray(labels), return_inverse=True)[1]
    for n in range(most, 1, -1):
        for attempt in range(ATTEMPTS):
            pairs = _deal(labels, groups, n, seed + 1_000_003 * attempt)
            if all(len(held_out) and set(labels[fit]) == set(labels) for fit, held_out in pairs):
                return pairs
    raise InputError(
        "cross-validation cannot keep every group whole and every class in every fold: the groups mix too many "
        "classes; give more images or finer groups"
    )


def foldable_groups(labels: np.ndarray, groupings: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """The coarsest grouping that folds can be made of; for groups that are inferred and may be parted if they must.

    Labels (n,) and groupings, each (n,), coarse ones first; returns (n,) int. A class that a grouping leaves in a
    single group is told apart by the next one; where no folds are possible even so, the next one is taken for all.

    Raises:
        InputError: there are no folds even over the last grouping.
    """
    labels = np.asarray(labels)
    error: InputError | None = None
    for number in range(len(groupings)):
        names = [np.array([f"{level} {group}" for group in each]) for level, each in enumerate(groupings)][number:]
        groups = names[0].astype(object)  # of any length
        for finer in names[1:]:
            for of_class in (labels == label for label in np.unique(labels)):
                if len(set(groups[of_class])) == 1:
                    groups[of_class] = finer[of_class]
        try:
            folds(labels, groups.astype(str), 2, seed)
        except InputError as impossible:
            error = error or impossible
        else:
            return np.unique(groups.astype(str), return_inverse=True)[1]
    assert error is not None
    raise error


def _deal(labels: np.ndarray, groups: np.ndarray | None, n: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    seed %= 2**32
    if groups is None:
        return list(StratifiedKFold(n, shuffle=True, random_state=seed).split(labels, labels))
    with warnings.catch_warnings():  # of a class with fewer images than folds, which the caller has excluded
        warnings.simplefilter("ignore", UserWarning)
        return list(StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(labels, labels, groups))


def _group_counts(labels: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images per group and class (g, k), the group of each image (n,), the classes (k,)."""
    classes, label = np.unique(np.asarray(labels), return_inverse=True)
    if not len(label):
        raise InputError("there are no images to split")
    groups = np.arange(len(label)) if groups is None else np.asarray(groups)
    _, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((member.max() + 1, len(classes)), dtype=np.int64)
    np.add.at(counts, (member, label), 1)
    return counts, member, classes


def _require_groups(counts: np.ndarray, classes: np.ndarray) -> None:
    for label, column in zip(classes, counts.T, strict=True):
        if (column > 0).sum() < 2:
            n = "its one image" if column.sum() == 1 else f"its {column.sum()} images"
            raise InputError(
                f"class {str(label)!r} cannot be split: {n} must stay in one group (one patient, or images that look "
                "alike); give images of more patients"
            )


def _miss(held: np.ndarray, target: np.ndarray) -> float:
    return float((((held - target) / np.maximum(target, 1)) ** 2).sum())


def _fill(counts: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Take groups in this order as long as each brings the held-out counts closer to the target."""
    held, chosen = np.zeros(counts.shape[1]), np.zeros(len(counts), dtype=bool)
    miss = _miss(held, target)
    for group in order:
        new = _miss(held + counts[group], target)
        if new < miss:
            held, miss, chosen[group] = held + counts[group], new, True
    return chosen


def _with_every_class(held: np.ndarray, counts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Move the smallest group of a class that stands on one side only."""
    held = held.copy()
    for label in range(counts.shape[1]):
        of_class = order[counts[order, label] > 0]
        if held[of_class].all() or not held[of_class].any():
            smallest = of_class[np.argmin(counts[of_class].sum(axis=1))]
            held[smallest] = not held[smallest]
    return held


def _every_class_on_both_sides(held: np.ndarray, counts: np.ndarray) -> bool:
    return bool((counts[held].sum(axis=0) > 0).all() and (counts[~held].sum(axis=0) > 0).all())
