"""How good is the winner, on what it never saw?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.calibration import fit_temperature, softmax
from diascope.classifier import Classifier
from diascope.config import EvaluationConfig
from diascope.decisions import measure_decisions
from diascope.development import Development
from diascope.errors import InputError
from diascope.images import INGESTED
from diascope.metrics import Metrics, OperatingPoint, choose_threshold, measure
from diascope.results import CandidateResult, Decisions, Evaluation, Mistake
from diascope.trained_candidate import TrainedCandidate

if TYPE_CHECKING:
    import pandas as pd

    from diascope.dataset import Dataset

MISTAKES = 24  # images shown in the report
# A class of one of these names is what one hopes for, not what one looks for.
NEGATIVE = {"normal", "negative", "healthy", "benign", "control", "controls", "no", "none", "absent", "0", "false"}


class EvaluationRecord:
    """A folder with `evaluation.json`, `predictions.parquet` and the page `evaluation.html`.

    Predictions are one row per image: sample_id, sha256, split (`validation`: out of fold, or `test`), label (number
    of the class), group, the calibrated probabilities p0, p1, …, and of test images the `distance` to the training
    images, relative to its threshold.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.evaluation = Evaluation.model_validate_json((root / "evaluation.json").read_text())

    def predictions(self) -> "pd.DataFrame":
        """Return all stored predictions."""
        import pandas as pd

        return pd.read_parquet(self.root / "predictions.parquet")


def calibrate(
    winner: TrainedCandidate, development: Development, config: EvaluationConfig
) -> tuple[float, OperatingPoint | None, np.ndarray, np.ndarray]:
    """Return temperature, operating point (two classes), and rows (m,) with calibrated probabilities (m, k).

    Both are chosen on out-of-fold logits: images that the fit had not seen.
    """
    rows, logits = winner.out_of_fold()
    labels = development.labels[rows]
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    names = development.class_names
    if config.positive_class is not None and config.positive_class not in names:
        raise InputError(f"evaluation.positive_class: there is no class {config.positive_class!r}; there are {names}.")
    if len(names) != 2:
        return temperature, None, rows, probabilities
    positive = names.index(config.positive_class or positive_class(names))
    threshold = choose_threshold(labels == positive, probabilities[:, positive], config.target_sensitivity)
    point = OperatingPoint(
        positive_class=names[positive], threshold=threshold, target_sensitivity=config.target_sensitivity
    )
    return temperature, point, rows, probabilities


def positive_class(names: list[str]) -> str:
    """Return the one of two classes that is looked for: the last, unless only that one is named like `normal`."""
    first, last = names
    return first if last.lower() in NEGATIVE and first.lower() not in NEGATIVE else last


def interval_unit(groups: str) -> str:
    """Return the unit that the bootstrap resamples, in words."""
    return {"patient": "patient", "similarity": "inferred group"}[groups]


def measure_out_of_fold(
    development: Development,
    rows: np.ndarray,
    probabilities: np.ndarray,
    temperature: float,
    point: OperatingPoint | None,
    unit: str,
    config: EvaluationConfig,
    seed: int,
) -> Metrics:
    """Measure the winner's calibrated out-of-fold probabilities (m, k)."""
    return measure(
        development.labels[rows],
        probabilities,
        development.class_names,
        uncalibrated=_uncalibrated(probabilities, temperature),
        groups=development.groups[rows],
        interval_unit=unit,
        operating_point=point,
        confidence=config.confidence,
        resamples=config.resamples,
        seed=seed,
    )


def predict_test(classifier: Classifier, dataset: "Dataset") -> "pd.DataFrame":
    """Run the stored classifier once over the test split; this is the only place that reads it.

    The column `distance` is relative to the threshold, and not a number where the classifier stores no reference.
    """
    index = dataset.index()
    index = index[index["split"] == "test"].reset_index(drop=True)

    def encoded() -> Iterator[bytes]:
        for _, batch in dataset.images("test"):
            yield from batch

    probabilities, distances = [], []
    for outputs in classifier.stream(encoded(), max_pixels=INGESTED):
        probabilities.append(outputs["probabilities"])
        distances.append(outputs.get("distance", np.float32("nan")))
    table = _table(index, np.stack(probabilities), dataset.info.class_names, "test")
    return table.assign(distance=np.array(distances, np.float64))


def out_of_fold_table(dataset: "Dataset", rows: np.ndarray, probabilities: np.ndarray) -> "pd.DataFrame":
    """Return the out-of-fold predictions in the form of the stored table."""
    index = dataset.index()
    index = index[index["split"] != "test"].reset_index(drop=True).iloc[rows]
    return _table(index, probabilities, dataset.info.class_names, "validation")


def measure_test(
    predictions: "pd.DataFrame", classifier: Classifier, grouping: str, config: EvaluationConfig
) -> Metrics:
    """Measure the stored classifier's probabilities on the test split, by patient where `grouping` is `patient`."""
    probabilities = probability_columns(predictions)
    return measure(
        predictions["label"].to_numpy(),
        probabilities,
        classifier.info.class_names,
        uncalibrated=_uncalibrated(probabilities, classifier.info.temperature),
        groups=predictions["group"].to_numpy() if grouping == "patient" else None,
        interval_unit="patient" if grouping == "patient" else "image",
        operating_point=classifier.info.operating_point,
        confidence=config.confidence,
        resamples=config.resamples,
        seed=classifier.info.training.seed,
    )


def decide_test(
    predictions: "pd.DataFrame", classifier: Classifier, grouping: str, config: EvaluationConfig
) -> Decisions:
    """Return what the stored classifier decides on the test split, by patient where `grouping` is `patient`."""
    info = classifier.info
    return measure_decisions(
        predictions["label"].to_numpy(),
        probability_columns(predictions),
        predictions["distance"].to_numpy() if info.familiarity else None,
        info.class_names,
        operating_point=info.operating_point,
        familiarity=info.familiarity,
        abstention=info.abstention,
        groups=predictions["group"].to_numpy() if grouping == "patient" else None,
        confidence=config.confidence,
        resamples=config.resamples,
        seed=info.training.seed,
    )


def mistakes(predictions: "pd.DataFrame", classifier: Classifier) -> list[Mistake]:
    """Return the wrongly classified images, the most confident first."""
    names = classifier.info.class_names
    probabilities = probability_columns(predictions)
    decided = classifier.decide(probabilities)
    found = [
        Mistake(sample_id=row.sample_id, truth=names[row.label], predicted=label, probability=p[names.index(label)])
        for row, label, p in zip(predictions.itertuples(), decided, probabilities, strict=True)
        if names[row.label] != label
    ]
    return sorted(found, key=lambda mistake: (-mistake.probability, mistake.sample_id))


def probability_columns(predictions: "pd.DataFrame") -> np.ndarray:
    """Return the probabilities (n, n_classes) of a table of predictions."""
    columns = [name for name in predictions.columns if name[0] == "p" and name[1:].isdigit()]
    return predictions[columns].to_numpy(np.float64)


def store_evaluation(
    evaluation: Evaluation, predictions: "pd.DataFrame", dataset: "Dataset", root: Path
) -> EvaluationRecord:
    """Write the record with its page into an empty folder."""
    from diascope.reports import evaluation_page

    (root / "evaluation.json").write_text(evaluation.model_dump_json(indent=1))
    predictions.to_parquet(root / "predictions.parquet", index=False)
    page = evaluation_page(evaluation, predictions, shown_images(evaluation, dataset), dataset.info.source)
    (root / "evaluation.html").write_text(page, encoding="utf-8")
    return EvaluationRecord(root)


def shown_images(evaluation: Evaluation, dataset: "Dataset") -> dict[str, bytes]:
    """Return the encoded images of the worst mistakes, for pages."""
    return dataset.read([mistake.sample_id for mistake in evaluation.mistakes[:MISTAKES]])


def in_order(trained: list[TrainedCandidate]) -> list[CandidateResult]:
    """Return the results of all candidates."""
    return [candidate.result for candidate in trained]


def _uncalibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    return softmax(temperature * np.log(np.clip(probabilities, 1e-30, None)))


def _table(index: "pd.DataFrame", probabilities: np.ndarray, class_names: list[str], split: str) -> "pd.DataFrame":
    import pandas as pd

    table = index[["sample_id", "sha256", "group"]].assign(split=split, label=index["label"].map(class_names.index))
    columns = [f"p{i}" for i in range(len(class_names))]
    scores = pd.DataFrame(probabilities, columns=columns, index=table.index)
    return pd.concat([table, scores], axis=1)
