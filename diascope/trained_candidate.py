"""What does a candidate that was compared leave behind, and what is its final fit made of?"""

from pathlib import Path

import numpy as np

from diascope.comparison import Comparison, worsened
from diascope.config import CandidateConfig
from diascope.descent_settings import Original
from diascope.development import Development
from diascope.feature_sets import layers_in_words
from diascope.features import Backbone, Features
from diascope.results import CandidateResult, Search


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
        corrected=worsened(scores[search.metric], search.optimism, search.metric) if search else None,
        search=search,
    )
    (root / "result.json").write_text(result.model_dump_json(indent=1))
    np.savez(root / "out_of_fold.npz", rows=comparison.rows, logits=comparison.logits, distances=comparison.distances)
    return TrainedCandidate(root)


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
