"""How is a candidate compared with others on training data alone, and how is the winner fitted again?"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import HIGHER_IS_BETTER, Comparison
from diascope.config import CandidateConfig, SelectionConfig
from diascope.descent_fit import DescentFit
from diascope.descent_settings import Original
from diascope.development import Development
from diascope.feature_search import search_features
from diascope.feature_sets import layers_in_words
from diascope.features import Backbone, Features, FeatureSpec, decoded, extract_features, write_backbone
from diascope.fine_tuning import FineTuning
from diascope.fit import Fit
from diascope.heads import Head
from diascope.linear_fit import LinearFit
from diascope.network_fit import NetworkFit
from diascope.original_fit import OriginalFit
from diascope.progress import Progress
from diascope.reductions import Reductions
from diascope.results import CandidateResult, Search

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset


class TrainedCandidate:
    """A folder with `result.json` and `out_of_fold.npz`: what was held out, as fits answered that had not seen it.

    It says itself what the winner's final fit is made of. `backbone/`, where it is there, takes the place of the
    network that the pipeline made for the configured candidate; `features/` that of its features, and `columns.npy`
    names the columns of those features that this candidate is fitted to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.result = CandidateResult.model_validate_json((root / "result.json").read_text())

    @property
    def candidate(self) -> CandidateConfig:
        """What is fitted again where it wins: as configured, or what a search or a sweep made of that."""
        assert self.result.candidate is not None  # it is missing in old evaluations alone
        return self.result.candidate

    @property
    def base(self) -> str:
        """The name of the configured candidate whose network and features it builds on."""
        return self.result.base or self.result.name

    def backbone(self, default: Backbone) -> Backbone:
        """Return its own network, or the one that the pipeline made for its base."""
        own = self.root / "backbone"
        return Backbone(own) if own.is_dir() else default

    def features(self, default: Features | None) -> Features | None:
        """Return its own features of the development images, or those that the pipeline made for its base."""
        if self.candidate.trains_network:  # though its base may not
            return None
        own = self.root / "features"
        return Features(own) if own.is_dir() else default

    def inputs(self, default: Features | None) -> np.ndarray | None:
        """Return what its head is fitted to, float32 (n, d); None for networks that are trained on pixels."""
        features = self.features(default)
        if features is None:
            return None
        return self._columns_of(features.array())

    def views(self, default: Features | None) -> list[np.ndarray]:
        """Return the same of each further view of the images."""
        features = self.features(default)
        return [self._columns_of(view) for view in features.views()] if features else []

    def _columns_of(self, features: np.ndarray) -> np.ndarray:
        columns = self.root / "columns.npy"
        return np.asarray(features[:, np.load(columns)] if columns.is_file() else features)

    def out_of_fold(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (m,) of the development images and their logits (m, n_classes)."""
        with np.load(self.root / "out_of_fold.npz") as stored:
            return stored["rows"], stored["logits"]

    def held_out_distances(self) -> np.ndarray:
        """Return how far each held-out image is from the fitted ones (m,), where every fold had its own network."""
        with np.load(self.root / "out_of_fold.npz") as stored:
            return stored["distances"]


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
    array, blocks = features.array(), backbone.info.blocks
    found, search = search_features(candidate, backbone, array, development, selection, seed, progress)
    plain, own, columns = candidate.model_copy(update={"search": None}), backbone, found.columns(blocks)
    if len(columns) < backbone.info.dimension:
        plain = plain.model_copy(update=found.settings())
        (root / "backbone").mkdir()
        own = write_backbone(FeatureSpec.of(plain), root / "backbone", seed)
        np.save(root / "columns.npy", columns)
    if own.info.size != backbone.info.size:  # its images are smaller, not made smaller by the network: almost the same
        (root / "columns.npy").unlink()
        (root / "features").mkdir()
        extract_features(dataset, own, ("train", "validation"), root / "features", progress)
    fit = frozen_fit(plain, own, array[:, columns], development, seed, [view[:, columns] for view in features.views()])
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


def store_candidate(
    candidate: CandidateConfig,
    backbone: Backbone,
    comparison: Comparison,
    plain: Comparison | None,
    development: Development,
    seconds: float,
    root: Path,
    base: str | None = None,
    search: Search | None = None,
) -> TrainedCandidate:
    """Write out-of-fold logits and scores into a folder.

    `backbone` is the network that the candidate needs, and its cost the candidate's cost. `base` names the configured
    candidate that this one was made from, where its name is another. `search` is how its features were found, whose
    optimism is taken off the score that candidates are compared by.
    """
    scores = comparison.scores(development.labels)
    result = CandidateResult(
        name=candidate.name,
        backbone=candidate.backbone,
        description="; ".join(filter(None, [describe(candidate, backbone), comparison.note])),
        n=len(comparison.rows),
        scores=scores,
        plain_scores=plain.scores(development.labels) if plain else None,
        chosen=comparison.chosen,
        curve_axis=comparison.axis,
        curve=comparison.curve,
        milliseconds=backbone.info.milliseconds,
        megabytes=backbone.info.megabytes,
        gigamacs=backbone.info.gigamacs,
        seconds=seconds,
        candidate=candidate,
        base=base,
        trials=len(search.sets) if search else 0,
        corrected=_less(scores[search.metric], search) if search else None,
        search=search,
    )
    (root / "result.json").write_text(result.model_dump_json(indent=1))
    np.savez(root / "out_of_fold.npz", rows=comparison.rows, logits=comparison.logits, distances=comparison.distances)
    return TrainedCandidate(root)


def _less(score: float, search: Search) -> float:
    return score - search.optimism if HIGHER_IS_BETTER[search.metric] else score + search.optimism


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


def describe(candidate: CandidateConfig, backbone: Backbone) -> str:
    """Return image sizes, layers, pooling and head in words."""
    spec = backbone.info.spec
    sizes = " and ".join(map(str, spec.image_sizes))
    kinds = {"blend": "logistic and ridge head", "mlp": f"mlp of {candidate.hidden_units} units"}
    head = kinds.get(candidate.head, f"{candidate.head} head")
    if candidate.original:
        return f"{sizes} px; {', '.join(spec.pooling)}; trained as in the tutorial ({_in_words(candidate.original)})"
    if candidate.fine_tune_layers:
        head += f", top {candidate.fine_tune_layers} layers fine-tuned"
    elif candidate.trains_network:
        head = "trained from scratch"
    layers = layers_in_words(list(dict.fromkeys(block.layer for block in backbone.info.blocks)))
    return f"{sizes} px; {layers}; {', '.join(spec.pooling)} pooling; {head}"


def _in_words(original: Original) -> str:
    trained = {0: "backbone frozen", "all": "all layers trained"}
    hidden = f", hidden layers of {' and '.join(map(str, original.dense))} units" if original.dense else ""
    return (
        f"{trained.get(original.trained_layers, f'top {original.trained_layers} layers trained')}{hidden}, "
        f"{original.optimizer} at {original.learning_rate:g}, {original.epochs} epochs"
    )


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
