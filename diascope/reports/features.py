"""What does the frozen backbone see?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diascope.errors import InputError
from diascope.reports import plots
from diascope.reports.data import count_table
from diascope.reports.figures import brief
from diascope.reports.page import render

MAX_POINTS = 1200  # in the scatter; more hide each other
SUBSPACE = 20  # columns carried along for two components
ITERATIONS = 30


def features_page(
    features: np.ndarray, labels: Sequence[str], splits: Sequence[str], description: Mapping[str, object]
) -> str:
    """The page of stored features as one HTML file.

    `features` is (n, d), `labels` are class names and `splits` names of length n, `description` says how the features
    were made. Raises InputError where the lengths differ.
    """
    n, d = features.shape
    if not n == len(labels) == len(splits):
        raise InputError(f"there are {n} rows of features but {len(labels)} labels and {len(splits)} splits")
    names = sorted(set(labels))
    pairs = Counter(zip(splits, labels, strict=True))
    counts = {split: {name: pairs[split, name] for name in names} for split in dict.fromkeys(splits)}
    usable = np.isfinite(features.sum(axis=1, dtype=np.float64))
    return render(
        "features_page.html",
        level=2,
        n=n,
        d=d,
        constant=int((features.min(axis=0) == features.max(axis=0)).sum()) if n else 0,
        undefined=int((~usable).sum()),
        description=[(key.replace("_", " "), brief(value)) for key, value in description.items()],
        table=count_table(names, counts),
        **scatter(features, np.flatnonzero(usable), np.asarray(labels), np.asarray(splits), names),
    )


def scatter(
    features: np.ndarray, usable: np.ndarray, labels: np.ndarray, splits: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """The usable rows along the two directions in which their features vary most."""
    shown = usable[np.linspace(0, len(usable) - 1, min(MAX_POINTS, len(usable))).astype(int)]
    if len(shown) < 3:
        return {"plot": None, "legend_entries": [], "n_shown": len(shown), "hollow": False}
    points, shares = principal_components(features[shown])
    tests = splits[shown] == "test"
    series = []
    for index, name in enumerate(names):
        for hollow in (False, True):
            rows = (labels[shown] == name) & (tests == hollow)
            series.append((index, hollow, [(float(a), float(b)) for a, b in points[rows]]))
    x_label, y_label = (f"component {i} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares, 1))
    plot = plots.scatter("Features along their first two principal components, by class", x_label, y_label, series)
    return {"plot": plot, "legend_entries": list(enumerate(names)), "n_shown": len(shown), "hollow": bool(tests.any())}


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two principal components (n, 2) and their shares of the variance (2,).

    Subspace iteration on the matrix (n, n) of inner products: to the accuracy of a plot, in a tenth of the time of a
    full decomposition. The sign is fixed so that the farthest image lies on the positive side.
    """
    centred = (features - features.mean(axis=0, dtype=np.float64)).astype(np.float32)
    products = (centred @ centred.T).astype(np.float64)
    basis = np.random.default_rng(0).normal(size=(len(products), min(SUBSPACE, len(products))))
    for _ in range(ITERATIONS):
        basis = products @ _orthonormal(basis)
    basis = _orthonormal(basis)
    values, vectors = np.linalg.eigh(basis.T @ products @ basis)
    variances = np.clip(values[:-3:-1], 0, None)
    points = basis @ vectors[:, :-3:-1] * np.sqrt(variances)
    farthest = points[np.abs(points).argmax(axis=0), [0, 1]]
    total = np.trace(products)
    return points * np.where(farthest < 0, -1, 1), variances / total if total else np.zeros(2)


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    """Orthonormal columns (n, m) of the same span, null columns where it has fewer dimensions.

    Through the (m, m) inner products: on a busy machine a threaded QR of tall matrices takes seconds.
    """
    values, vectors = np.linalg.eigh(basis.T @ basis)
    null = values <= 1e-12 * values[-1]
    return basis @ (vectors * np.where(null, 0, 1 / np.sqrt(np.where(null, 1, values))))
