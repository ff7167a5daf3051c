"""How is a candidate compared with others on training data alone, and how is the winner fitted again?"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import Comparison
from diascope.config import CandidateConfig, SelectionConfig
from diascope.descent_fit import DescentFit
from diascope.development import Development
from diascope.feature_search import search_features
from diascope.features import Backbone, Features, FeatureSpec, decoded, extract_features, write_backbone
from diascope.fine_tuning import FineTuning
from diascope.fit import Fit
from diascope.heads import Head
from diascope.linear_fit import LinearFit
from diascope.network_fit import NetworkFit
from diascope.original_fit import OriginalFit
from diascope.progress import Progress
from diascope.reductions import Reductions
from diascope.trained_candidate import TrainedCandidate, store_candidate

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset


def train_candidate(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features | None,
    groups: dict[str, str],
    selection: SelectionConfig,
    seed: int,
    root: Path,
    progress: Progress | None = None,
) -> TrainedCandidate:
    """Fit a candidate on every fold and store its out-of-fold logits and scores in an empty folder.

    Where its features are to be searched for, it is the set that was found that is fitted, and the folder holds its
    network.
    """
    start = time.perf_counter()
    development = Development.of(dataset, groups)
    inputs, views = _checked(features, development), features.views() if features else []
    if candidate.search:
        assert features is not None
        return _searched(candidate, backbone, dataset, features, development, selection, seed, root, progress)
    with fit_of(candidate, backbone, dataset, inputs, development, seed, views, selection.metric) as fit:
        comparison, plain = compare(fit, selection)
    return store_candidate(candidate, backbone, comparison, plain, development, time.perf_counter() - start, root)


def _searched(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features,
    development: Development,
    selection: SelectionConfig,
    seed: int,
    root: Path,
    progress: Progress | None,
) -> TrainedCandidate:
    """Search for a set of features, and train the candidate that sees this set alone."""
    start = time.perf_counter()
    blocks = backbone.info.blocks
    found, search = search_features(candidate, backbone, features.array(), development, selection, seed, progress)
    plain, own, columns = candidate.model_copy(update={"search": None}), backbone, found.columns(blocks)
    if len(columns) < backbone.info.dimension:
        plain = plain.model_copy(update=found.settings())
        (root / "backbone").mkdir()
        own = write_backbone(FeatureSpec.of(plain), root / "backbone", seed)
    if own.info.size != backbone.info.size:  # its images are smaller, not made smaller by the network: almost the same
        (root / "features").mkdir()
        features = extract_features(dataset, own, ("train", "validation"), root / "features", progress)
        columns = np.arange(own.info.dimension)
    elif own is not backbone:
        np.save(root / "columns.npy", columns)
    inputs, *views = (each[:, columns] for each in (features.array(), *features.views()))
    fit = frozen_fit(plain, own, inputs, development, seed, views)
    comparison, leaking = compare(fit, selection)
    seconds = time.perf_counter() - start
    return store_candidate(plain, own, comparison, leaking, development, seconds, root, search=search)


def compare(fit: Fit, selection: SelectionConfig) -> tuple[Comparison, Comparison | None]:
    """Return the comparison over folds that keep groups whole, and of frozen networks one over plain folds."""
    folds = fit.development.folds(selection, fit.seed)
    comparison = fit.compare(folds)
    if fit.candidate.trains_network or selection.method != "cross_validation":
        return comparison, None
    return comparison, fit.compare(fit.development.folds(selection, fit.seed, grouped=False))


def refit(
    winner: TrainedCandidate,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features | None,
    groups: dict[str, str],
    seed: int,
) -> tuple["keras.Model", Head]:
    """Fit the winner on train and validation together, with what the comparison chose.

    `backbone` and `features` are those of the winner's base. Returns the network uint8 image -> [features, map, …] and
    the head from features to logits.
    """
    development = Development.of(dataset, groups)
    _checked(winner.features(features), development)
    inputs, views = winner.inputs(features), winner.views(features)
    with fit_of(winner.candidate, winner.backbone(backbone), dataset, inputs, development, seed, views) as fit:
        return fit.final(winner.result.chosen)


def frozen_fit(
    candidate: CandidateConfig,
    backbone: Backbone,
    inputs: np.ndarray,
    development: Development,
    seed: int,
    views: Sequence[np.ndarray] = (),
    reductions: Reductions | None = None,
) -> Fit:
    """Return how a head is fitted to features (n, d), in the order of the development images.

    `views` are the features of further views of the images, whose logits are averaged with those of the images.
    `reductions` are shared with other fits to the same features.
    """
    if candidate.head == "mlp":
        return DescentFit(candidate, backbone, inputs, development, seed, views=tuple(views))
    shared = reductions or Reductions()
    return LinearFit(candidate, backbone, inputs, development, seed, views=tuple(views), reductions=shared)


def _network_fit(candidate: CandidateConfig) -> type[Fit]:
    if candidate.original:
        return OriginalFit
    return FineTuning if candidate.fine_tune_layers else NetworkFit


def _checked(features: Features | None, development: Development) -> np.ndarray | None:
    """Return the stored features, which must be those of the development images."""
    if features is None:
        return None
    assert features.sample_ids == development.sample_ids
    return np.asarray(features.array())


@contextmanager
def fit_of(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    inputs: np.ndarray | None,
    development: Development,
    seed: int,
    views: Sequence[np.ndarray] = (),
    metric: str = "auroc",
    reductions: Reductions | None = None,
) -> Iterator[Fit]:
    """Give the fit with what it reads: stored features, or the pixels for networks that are trained."""
    if not candidate.trains_network:
        assert inputs is not None
        yield frozen_fit(candidate, backbone, inputs, development, seed, views, reductions)
        return
    from diascope.batches import store_pixels

    with tempfile.TemporaryDirectory() as scratch:
        images = decoded(dataset, ("train", "validation"), backbone.info.spec)
        pixels = store_pixels(Path(scratch) / "pixels.npy", images, len(development.labels), backbone.info.size)
        way = _network_fit(candidate)
        yield way(candidate, backbone, pixels, development, seed, metric, dataset.info.fingerprint)
