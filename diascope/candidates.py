"""How is a candidate compared with others on training data alone, and how is the winner fitted again?"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.config import CandidateConfig, SelectionConfig
from diascope.descent_fit import DescentFit
from diascope.development import Development
from diascope.features import Backbone, Features, decoded
from diascope.fit import Fit
from diascope.heads import Head
from diascope.linear_fit import LinearFit
from diascope.results import CandidateResult

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset


class TrainedCandidate:
    """A folder with `result.json` and `out_of_fold.npz`: what was held out, as fits answered that had not seen it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.result = CandidateResult.model_validate_json((root / "result.json").read_text())

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
) -> TrainedCandidate:
    """Fit a candidate on every fold and store its out-of-fold logits and scores in an empty folder."""
    start = time.perf_counter()
    development = Development.of(dataset, groups)
    with _fit(candidate, backbone, dataset, features, development, seed) as fit:
        comparison = fit.compare(development.folds(selection, seed))
        plain = None
        if not candidate.trains_network and selection.method == "cross_validation":
            plain = fit.compare(development.folds(selection, seed, grouped=False))
    result = CandidateResult(
        name=candidate.name,
        backbone=candidate.backbone,
        description=describe(candidate, backbone),
        n=len(comparison.rows),
        scores=comparison.scores(development.labels),
        plain_scores=plain.scores(development.labels) if plain else None,
        chosen=comparison.chosen,
        curve_axis=comparison.axis,
        curve=comparison.curve,
        milliseconds=backbone.info.milliseconds,
        megabytes=backbone.info.megabytes,
        gigamacs=backbone.info.gigamacs,
        seconds=time.perf_counter() - start,
    )
    (root / "result.json").write_text(result.model_dump_json(indent=1))
    np.savez(root / "out_of_fold.npz", rows=comparison.rows, logits=comparison.logits, distances=comparison.distances)
    return TrainedCandidate(root)


def refit(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features | None,
    groups: dict[str, str],
    chosen: dict[str, float],
    seed: int,
) -> tuple["keras.Model", Head]:
    """Fit the winner on train and validation together, with what the comparison chose.

    Returns the network uint8 image -> [features, map, …] and the head from features to logits.
    """
    development = Development.of(dataset, groups)
    with _fit(candidate, backbone, dataset, features, development, seed) as fit:
        return fit.final(chosen)


def describe(candidate: CandidateConfig, backbone: Backbone) -> str:
    """Return image sizes, layers, pooling and head in words."""
    spec = backbone.info.spec
    sizes = " and ".join(map(str, spec.image_sizes))
    kinds = {"blend": "logistic and ridge head", "mlp": f"mlp of {candidate.hidden_units} units"}
    head = kinds.get(candidate.head, f"{candidate.head} head")
    if candidate.fine_tune_layers:
        head += f", top {candidate.fine_tune_layers} layers fine-tuned"
    elif candidate.trains_network:
        head = "trained from scratch"
    return f"{sizes} px; {', '.join(spec.layers)}; {', '.join(spec.pooling)} pooling; {head}"


@contextmanager
def _fit(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features | None,
    development: Development,
    seed: int,
) -> Iterator[Fit]:
    """Give the fit with what it reads: stored features, or the pixels for networks that are trained."""
    if not candidate.trains_network:
        assert features is not None
        assert features.sample_ids == development.sample_ids
        way = DescentFit if candidate.head == "mlp" else LinearFit
        yield way(candidate, backbone, np.asarray(features.array()), development, seed)
        return
    from diascope.gradient import store_pixels

    with tempfile.TemporaryDirectory() as scratch:
        size = backbone.info.size
        images = decoded(dataset, ("train", "validation"), size)
        pixels = store_pixels(Path(scratch) / "pixels.npy", images, len(development.labels), size)
        yield DescentFit(candidate, backbone, pixels, development, seed)
