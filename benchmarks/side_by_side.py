"""How good is a tutorial's training beside ours, on the same test images, and what does each cost?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import child
from diascope.classifier import Classifier
from diascope.config import CandidateConfig, Experiment
from diascope.dataset import Dataset
from diascope.evaluation import predict_test, probability_columns
from diascope.metrics import Estimate, Metrics, measure, paired_bootstrap

# The originals train on what was published: copies, leaks and contradicting labels included.
AS_PUBLISHED = "checks={unreadable: drop, blank: warn, duplicates: warn, leaks: warn, conflicts: warn}"


@dataclass(frozen=True)
class Trained:
    """One way of training a recipe: what it cost, and the figures of its classifier."""

    style: str
    winner: str
    seconds: float
    megabytes: float
    metrics: Metrics
    probabilities: np.ndarray  # (n, k) of the common test images


@dataclass(frozen=True)
class Compared:
    """Both ways, and by how much the AUROC of ours is higher."""

    original: Trained
    ours: Trained
    difference: Estimate


def compare(config: str, experiment: Experiment, network: str | None, said: Sequence[str], scratch: Path) -> Compared:
    """Train both ways and measure their classifiers on the test images that are left of ours.

    `network` is `NAME` or `NAME:ALPHA`, which takes the place of the original's; of ours, candidates of that network
    alone take part. `said` are further overrides of both.
    """
    answers = {"ours": _train(config, "ours", [*said, *_with_network(experiment, "ours", network)], scratch)}
    dataset = Dataset(scratch / "ours" / "dataset")
    overrides = [*said, *_with_network(experiment, "original", network), "selection.method=validation"]
    if "test" not in dataset.info.splits_made:
        overrides.append(AS_PUBLISHED)
    if experiment.sweep is not None:
        overrides.append("sweep=null")  # its settings are those of ours
    answers["original"] = _train(config, "original", overrides, scratch)
    refuse_seen(dataset, Dataset(scratch / "original" / "dataset"))
    original, ours = (_measured(style, answers[style], dataset, scratch / style) for style in ("original", "ours"))
    labels = _labels(dataset)
    return Compared(original, ours, paired_bootstrap(labels, ours.probabilities, original.probabilities))


def refuse_seen(measured: Dataset, other: Dataset) -> None:
    """Raise RuntimeError where a test image of the one stands among the images that the other was fitted to."""
    index, theirs = measured.index(), other.index()
    seen = set(theirs.loc[theirs["split"] != "test", "sha256"])
    if common := seen & set(index.loc[index["split"] == "test", "sha256"]):
        raise RuntimeError(f"{len(common)} test images stand in what the other was fitted to: no figure is comparable")


def as_table(compared: Compared) -> str:
    """Both rows in Markdown, and the difference in a sentence."""
    head = ["", "winner", "test n", "accuracy (95 % interval)", "macro AUROC (95 % interval)", "seconds", "peak memory"]
    rows = [head, ["---"] * len(head), *(_row(each) for each in (compared.original, compared.ours))]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{table}\n\nOurs minus the original's, AUROC on the same images: {_interval(compared.difference)}."


def _row(trained: Trained) -> list[str]:
    metrics = trained.metrics
    figures = [_interval(metrics.accuracy), _interval(metrics.auroc)]
    return [
        *(trained.style, f"`{trained.winner}`", str(metrics.n), *figures),
        *(f"{trained.seconds:.0f}", f"{trained.megabytes:,.0f} MB"),
    ]


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not defined"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _train(config: str, style: str, overrides: Sequence[str], scratch: Path) -> dict[str, Any]:
    arguments = ["--config", config]
    for override in (f"recipe_style={style}", *overrides):
        arguments += ["--set", override]
    return child.run("trained", home=str(scratch / style / "zenml"), out=str(scratch / style), arguments=arguments)


def _with_network(experiment: Experiment, style: str, network: str | None) -> list[str]:
    """The candidates of a style, with another network or with those of one network alone."""
    if network is None:
        return []
    name, _, alpha = network.partition(":")
    backbone = {"backbone": name, "alpha": float(alpha) if alpha else None}
    if style == "original":
        chosen = [each.model_copy(update=backbone) for each in experiment.candidates if each.original]
    else:
        chosen = [each for each in experiment.candidates if not each.original and _is_of(each, backbone)]
    return [f"candidates={json.dumps([each.model_dump(mode='json', exclude_defaults=True) for each in chosen])}"]


def _is_of(candidate: CandidateConfig, backbone: dict[str, Any]) -> bool:
    return {"backbone": candidate.backbone, "alpha": candidate.alpha} == backbone


def _measured(style: str, answer: dict[str, Any], dataset: Dataset, root: Path) -> Trained:
    """The most probable class counts: no operating point, which the originals do not have."""
    classifier = Classifier.load(root / "classifier")
    names = dataset.info.class_names
    if classifier.info.class_names != names:
        raise RuntimeError(f"{style} knows the classes {classifier.info.class_names}, the test images have {names}")
    probabilities = probability_columns(predict_test(classifier, dataset))
    metrics = measure(_labels(dataset), probabilities, names)
    return Trained(style, answer["winner"]["name"], answer["seconds"], answer["megabytes"], metrics, probabilities)


def _labels(dataset: Dataset) -> np.ndarray:
    index = dataset.index()
    return np.array([dataset.info.class_names.index(label) for label in index.loc[index["split"] == "test", "label"]])
