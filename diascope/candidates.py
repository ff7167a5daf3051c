"""How are candidates fitted, compared on training data alone, and the winner refitted?"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.calibration import fit_temperature, softmax
from diascope.config import CandidateConfig, SelectionConfig
from diascope.errors import InputError
from diascope.familiarity import distances, some_rows
from diascope.features import Backbone, Features, decoded
from diascope.heads import WEIGHT_DECAYS, Head, blend, fit_logistic, fit_ridge
from diascope.metrics import accuracy, balanced_accuracy, log_loss, macro_auroc
from diascope.results import CandidateResult, CurvePoint
from diascope.splits import folds, make_split

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset
    from diascope.gradient import Rows

STOPPING_SHARE = 0.15  # of the images that are fitted; they only decide when gradient descent stops
STARTING_DECAY = 1e-4  # of the head that fine-tuning starts from
SCORES = {"auroc": macro_auroc, "accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "log_loss": log_loss}
HIGHER_IS_BETTER = {"auroc": True, "balanced_accuracy": True, "log_loss": False}
Fold = tuple[np.ndarray, np.ndarray]  # rows that are fitted, rows that are held out


@dataclass(frozen=True)
class Development:
    """The images that candidates may see: train and validation, in storage order."""

    sample_ids: list[str]
    labels: np.ndarray  # (n,) int
    groups: np.ndarray  # (n,) str
    validation: np.ndarray  # (n,) bool
    class_names: list[str]

    @classmethod
    def of(cls, dataset: "Dataset", groups: dict[str, str]) -> "Development":
        """Read labels and splits from the dataset's index; `groups` maps sample ids to groups."""
        index = dataset.index()
        index = index[index["split"] != "test"]
        names = list(dataset.info.class_names)
        return cls(
            sample_ids=index["sample_id"].tolist(),
            labels=index["label"].map(names.index).to_numpy(np.int64),
            groups=index["sample_id"].map(groups).to_numpy(str),
            validation=(index["split"] == "validation").to_numpy(bool),
            class_names=names,
        )

    def folds(self, selection: SelectionConfig, seed: int, grouped: bool = True) -> list[Fold]:
        """Return the fits that the comparison needs: cross-validation, or train against validation."""
        if selection.method == "validation":
            return [(np.flatnonzero(~self.validation), np.flatnonzero(self.validation))]
        names = np.array(self.class_names)[self.labels]  # for messages
        return folds(names, self.groups if grouped else None, selection.folds, seed)


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


@dataclass(frozen=True)
class Comparison:
    """Out-of-fold logits (m, n_classes) of rows (m,), with what was chosen and how the fit went."""

    rows: np.ndarray
    logits: np.ndarray
    chosen: dict[str, float]
    axis: str
    curve: list[CurvePoint]
    distances: np.ndarray  # to the fitted images (m,), of networks that are trained; of others none


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
    with _inputs(candidate, backbone, dataset, features, development) as inputs:
        fit = _Fit(candidate, backbone, inputs, development, seed)
        comparison = fit.compare(development.folds(selection, seed))
        plain = None
        if not candidate.trains_network and selection.method == "cross_validation":
            plain = fit.compare(development.folds(selection, seed, grouped=False))
    result = CandidateResult(
        name=candidate.name,
        backbone=candidate.backbone,
        description=describe(candidate, backbone),
        n=len(comparison.rows),
        scores=_scores(comparison, development.labels),
        plain_scores=_scores(plain, development.labels) if plain else None,
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
    with _inputs(candidate, backbone, dataset, features, development) as inputs:
        return _Fit(candidate, backbone, inputs, development, seed).final(chosen)


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
def _inputs(
    candidate: CandidateConfig,
    backbone: Backbone,
    dataset: "Dataset",
    features: Features | None,
    development: Development,
) -> Iterator[np.ndarray]:
    """Give what the fit reads: stored features (n, d), or pixels (n, size, size, 3) for networks that are trained."""
    if not candidate.trains_network:
        assert features is not None
        assert features.sample_ids == development.sample_ids
        yield np.asarray(features.array())
        return
    from diascope.gradient import store_pixels

    with tempfile.TemporaryDirectory() as scratch:
        size = backbone.info.size
        images = decoded(dataset, ("train", "validation"), size)
        yield store_pixels(Path(scratch) / "pixels.npy", images, len(development.labels), size)


@dataclass(frozen=True)
class _Fit:
    """One candidate on one set of development images."""

    candidate: CandidateConfig
    backbone: Backbone
    inputs: np.ndarray
    development: Development
    seed: int

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return logits of every held-out image, and the hyperparameters that do best there."""
        return self._compare_linear(pairs) if self._is_linear else self._compare_descent(pairs)

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images with what was chosen."""
        everything = np.arange(len(self._labels))
        if self._is_linear:
            heads = [self._linear(kind, everything, [chosen[f"{kind}_decay"]])[0] for kind in self._kinds]
            return self.backbone.network(), blend(heads, [chosen[f"{kind}_temperature"] for kind in self._kinds])
        from diascope.gradient import Rows

        rows = Rows(everything, epochs=int(chosen["epochs"]))
        if not self.candidate.trains_network:
            return self.backbone.network(), self._mlp(rows)[0]
        network, model, start, _ = self._network(rows)
        return network, Head([tuple(model.get_layer("logits").get_weights())], start.scaling if start else None)

    def _compare_linear(self, pairs: list[Fold]) -> Comparison:
        config = self.candidate
        decays = WEIGHT_DECAYS if config.weight_decay == "auto" else (config.weight_decay,)
        rows = np.concatenate([held_out for _, held_out in pairs])
        labels = self._labels[rows]
        chosen: dict[str, float] = {}
        curve: list[CurvePoint] = []
        parts = []
        for kind in self._kinds:
            logits, fitted_losses = self._along(kind, pairs, decays)
            temperatures = [fit_temperature(each, labels) for each in logits]
            # By the log loss that remains after calibration: smoother than counts and ranks, and the raw one would
            # choose a stronger penalty just to be less confident.
            losses = [log_loss(labels, softmax(z, t)) for z, t in zip(logits, temperatures, strict=True)]
            best = int(np.argmin(losses))
            chosen |= {f"{kind}_decay": decays[best], f"{kind}_temperature": temperatures[best]}
            parts.append(logits[best] / temperatures[best])
            curve = curve or [
                CurvePoint(x=decay, loss=fitted, held_out_loss=loss, held_out_auroc=macro_auroc(labels, softmax(z)))
                for decay, fitted, loss, z in zip(decays, fitted_losses, losses, logits, strict=True)
            ]
        logits = np.mean(parts, axis=0) * chosen[f"{self._kinds[0]}_temperature"]  # as confident as the first head is
        return Comparison(rows, logits, chosen, "weight decay", curve, np.empty(0))

    def _along(self, kind: str, pairs: list[Fold], decays: Sequence[float]) -> tuple[list[np.ndarray], list[float]]:
        """Return held-out logits (m, k) and the mean loss on fitted images for each weight decay."""
        logits: list[list[np.ndarray]] = [[] for _ in decays]
        losses: list[list[float]] = [[] for _ in decays]
        for fit, held_out in pairs:
            heads = self._linear(kind, fit, decays)
            scaling = heads[0].scaling
            assert scaling is not None
            seen, unseen = scaling(self.inputs[fit]), scaling(self.inputs[held_out])
            for i, head in enumerate(heads):
                logits[i].append(head.logits_of_scaled(unseen))
                losses[i].append(log_loss(self._labels[fit], softmax(head.logits_of_scaled(seen))))
        return [np.concatenate(each) for each in logits], [statistics.fmean(each) for each in losses]

    def _compare_descent(self, pairs: list[Fold]) -> Comparison:
        from diascope.gradient import Rows, predict_logits

        logits, curves, far = [], [], []
        for fit, held_out in pairs:
            rows = Rows(*self._with_stopping_share(fit))
            if self.candidate.trains_network:
                network, model, _, curve = self._network(rows)
                logits.append(predict_logits(model, self.inputs, held_out))
                far.append(self._distances(network, rows.fitted, held_out))
            else:
                head, curve = self._mlp(rows)
                logits.append(head.logits(self.inputs[held_out]))
            curves.append(curve)
        rows_out = np.concatenate([held_out for _, held_out in pairs])
        chosen = {"epochs": float(statistics.median_high(self._kept_epoch(curve) for curve in curves))}
        far_out = np.concatenate(far) if far else np.empty(0)
        return Comparison(rows_out, np.concatenate(logits), chosen, "epoch", curves[0], far_out)

    def _distances(self, network: "keras.Model", fitted: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        """Return how far held-out images are from fitted ones to a network that has not learned from the former."""
        from diascope.gradient import predict_logits

        features = features_only(network)
        seen = predict_logits(features, self.inputs, fitted[some_rows(len(fitted), self.seed)])
        return distances(seen, predict_logits(features, self.inputs, held_out), self.backbone.info.averages)

    def _kept_epoch(self, curve: list[CurvePoint]) -> int:
        """Return the epoch whose weights were kept: the final fit, which nothing stops, runs for as long."""
        if not self.candidate.early_stopping:
            return len(curve)
        losses = [point.held_out_loss for point in curve if point.held_out_loss is not None]
        return 1 + int(np.argmin(losses))

    def _with_stopping_share(self, fit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, groups = self._labels[fit], self.development.groups[fit]
        try:
            held = make_split(labels, groups, STOPPING_SHARE, self.seed)
        except InputError:  # a class is all in one group here; what stops the descent is no measurement, so part it
            held = np.bincount(labels)[labels] > 1
            held[held] = make_split(labels[held], None, STOPPING_SHARE, self.seed)
        return fit[~held], fit[held]

    @property
    def _is_linear(self) -> bool:
        return not self.candidate.trains_network and self.candidate.head != "mlp"

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("logistic", "ridge") if self.candidate.head == "blend" else (self.candidate.head,)

    def _linear(self, kind: str, rows: np.ndarray, decays: Sequence[float]) -> list[Head]:
        fit = {"logistic": fit_logistic, "ridge": fit_ridge}[kind]
        return fit(self.inputs[rows], self._labels[rows], self._n_classes, decays, self.candidate, self._widths)

    @property
    def _widths(self) -> list[int]:
        return [block.stop - block.start for block in self.backbone.info.blocks]

    def _mlp(self, rows: "Rows") -> tuple[Head, list[CurvePoint]]:
        from diascope.gradient import fit_mlp

        return fit_mlp(self.inputs, self._labels, self._n_classes, rows, self.candidate, self.seed)

    def _network(self, rows: "Rows") -> tuple["keras.Model", "keras.Model", Head | None, list[CurvePoint]]:
        from diascope.gradient import fit_network, predict_logits

        network, head = self.backbone.network(), None
        if self.candidate.fine_tune_layers:  # start from the best head on the frozen features, not from noise
            features = predict_logits(features_only(network), self.inputs, rows.fitted)
            decay = STARTING_DECAY if self.candidate.weight_decay == "auto" else self.candidate.weight_decay
            labels = self._labels[rows.fitted]
            head = fit_logistic(features, labels, self._n_classes, [decay], self.candidate, self._widths)[0]
        model, curve = fit_network(
            network, self.inputs, self._labels, self._n_classes, rows, self.candidate, self.seed, head
        )
        return network, model, head, curve

    @property
    def _labels(self) -> np.ndarray:
        return self.development.labels

    @property
    def _n_classes(self) -> int:
        return len(self.development.class_names)


def _scores(comparison: Comparison, labels: np.ndarray) -> dict[str, float]:
    truth = labels[comparison.rows]
    probabilities = softmax(comparison.logits, fit_temperature(comparison.logits, truth))
    return {name: measure(truth, probabilities) for name, measure in SCORES.items()}


def features_only(network: "keras.Model") -> "keras.Model":
    """Return the part of a network [features, map, …] that ends in the features."""
    import keras

    return keras.Model(network.input, network.outputs[0])
