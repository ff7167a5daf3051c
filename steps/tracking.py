"""What MLflow keeps of a run: one run for the pipeline, a child run for each candidate."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from diascope.classifier import Classifier
from diascope.config import CandidateConfig
from diascope.evaluation import EvaluationRecord
from diascope.metrics import Estimate, Metrics
from diascope.sweep_results import Sweep, Trial
from diascope.trained_candidate import TrainedCandidate

SERVED_WITH = ("keras", "tensorflow", "numpy")


def log_candidate(candidate: CandidateConfig, trained: TrainedCandidate) -> None:
    """Log parameters, the course of training, scores and the page of one candidate into the active (child) run."""
    import mlflow

    result = trained.result
    mlflow.set_tag("mlflow.runName", candidate.name)
    mlflow.log_params(_flat(candidate.model_dump(mode="json")))
    mlflow.log_metrics({f"chosen_{key}": value for key, value in result.chosen.items()})
    for step, point in enumerate(result.curve, start=1):
        figures = {"loss": point.loss, "held_out_loss": point.held_out_loss, "held_out_auroc": point.held_out_auroc}
        mlflow.log_metrics({name: value for name, value in figures.items() if value is not None}, step=step)
    mlflow.log_metrics({f"validation_{name}": value for name, value in result.scores.items()})
    if result.plain_scores:
        mlflow.log_metrics({f"plain_{name}": value for name, value in result.plain_scores.items()})
    mlflow.log_metrics({name: getattr(result, name) for name in ("milliseconds", "gigamacs", "megabytes", "seconds")})
    mlflow.log_artifact(str(trained.root / "candidate.html"))


@contextmanager
def trial_log() -> Iterator[Callable[[Trial, CandidateConfig], None]]:
    """Give a function that logs a trial as a child of the active run; it does not wait for the tracker.

    What the tracker refuses is raised in the next call, or at the end.
    """
    import mlflow

    parent = mlflow.active_run()
    assert parent is not None  # the step is tracked
    experiment, run = parent.info.experiment_id, parent.info.run_id
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[None]] = []

        def log(trial: Trial, candidate: CandidateConfig) -> None:
            while waiting and waiting[0].done():
                waiting.pop(0).result()
            waiting.append(pool.submit(_log_trial, experiment, run, trial, candidate))

        yield log
        for each in waiting:
            each.result()


def _log_trial(experiment: str, parent: str, trial: Trial, candidate: CandidateConfig) -> None:
    import time

    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient()
    name = f"{candidate.name}_{trial.number + 1:03}"
    run = client.create_run(experiment, run_name=name, tags={"mlflow.parentRunId": parent, "failure": trial.failure})
    now = int(1000 * time.time())
    figures = {f"validation_{name}": value for name, value in trial.scores.items()}
    figures |= {f"chosen_{name}": value for name, value in trial.chosen.items()}
    figures |= {name: getattr(trial, name) for name in ("milliseconds", "gigamacs", "megabytes", "seconds", "waited")}
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in figures.items()],
        params=[Param(name, str(value)) for name, value in _flat(trial.settings).items()],
    )
    client.set_terminated(run.info.run_id, "FAILED" if trial.failed else "FINISHED")


def log_sweep(sweep: Sweep, trained: TrainedCandidate) -> None:
    """Log what a sweep found and its pages into the active (child) run, whose children the trials are."""
    import mlflow

    mlflow.log_metrics({"trials": len(sweep.trials), "resumed_trials": sweep.resumed, "sweep_seconds": sweep.seconds})
    if sweep.corrected is not None:
        mlflow.log_metric(f"corrected_{sweep.metric}", sweep.corrected)
    mlflow.set_tags({"base": sweep.base, "sweep": sweep.config.method})
    mlflow.log_artifact(str(trained.root / "sweep.html"))


def log_evaluation(classifier: Classifier, record: EvaluationRecord) -> str:
    """Log test metrics, the page and the model into the pipeline's run; returns the model's address."""
    import mlflow

    evaluation = record.evaluation
    mlflow.set_tags({"winner": evaluation.winner.name, "dataset_fingerprint": evaluation.dataset_fingerprint})
    chosen = {"winner": evaluation.winner.name, "seed": evaluation.seed, "n_train": classifier.info.training.n}
    mlflow.log_params(chosen)
    mlflow.log_metrics(_figures("validation", evaluation.validation) | _figures("test", evaluation.test))
    mlflow.log_artifact(str(record.root / "evaluation.html"))
    return _log_model(classifier)


def _log_model(classifier: Classifier) -> str:
    import keras
    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    info = classifier.info
    side = info.input.size
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, side, side, 3), "image")]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(info.class_names)), "probabilities")]),
    )
    whole = keras.saving.load_model(classifier.root / "model.keras")
    model = keras.Model(whole.input, whole.outputs[0], name="classifier")
    requirements = [f"{name}=={info.versions[name]}" for name in SERVED_WITH if name in info.versions]
    metadata = {"class_names": info.class_names}
    return mlflow.keras.log_model(
        model, name="classifier", signature=signature, pip_requirements=requirements, metadata=metadata
    ).model_uri


def _figures(prefix: str, metrics: Metrics) -> dict[str, float]:
    found: dict[str, float] = {f"{prefix}_n": metrics.n, f"{prefix}_majority_baseline": metrics.majority_baseline}
    for name, value in metrics:
        if isinstance(value, Estimate):
            bounds = {"": value.value, "_low": value.low, "_high": value.high}
            found |= {f"{prefix}_{name}{end}": figure for end, figure in bounds.items() if figure is not None}
    return found


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
