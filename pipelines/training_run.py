"""How is a training run, and what came of it?"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diascope.errors import InputError
from diascope.summary import Outcome
from pipelines.report import pages, write_page, write_report
from pipelines.submission import run_pipeline

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse

    from diascope.dataset import Dataset
    from diascope.evaluation import EvaluationRecord
    from diascope.promotion import Decision


def train(configuration: str, *, cached: bool) -> Outcome:
    """Train as a configuration (YAML) says, and write the report; `cached` takes results of earlier runs."""
    from pipelines.training import training

    return _read(run_pipeline(training, configuration, cached=cached))


def _read(run: "PipelineRunResponse") -> Outcome:
    from zenml.client import Client

    from pipelines.finished import Finished

    finished = Finished.read(run)
    record: EvaluationRecord = finished.output("evaluate_model", "evaluation")
    decision: Decision = finished.output("promote_model", "decision")
    dataset: Dataset = finished.input("check_data", "dataset")
    promoted = finished.steps["promote_model"].run_metadata
    version = Client().get_model_version(str(promoted["model"]), str(promoted["model_version"]))
    beside = {kind: _or_none(write_page, version, kind, page) for kind, page in pages(finished).items()}
    return Outcome(
        run_name=finished.run.name,
        status=str(finished.run.status.value),
        stack=finished.stack,
        model_name=version.model.name,
        model_version=str(version.number),
        model_stage=version.stage,
        evaluation=record.evaluation,
        decision=decision,
        dataset=dataset.info,
        report=_or_none(write_report, version, record, dataset, decision),
        exploration=beside.get("data"),
        sweep=beside.get("sweep"),
        mlflow_uri=_tracking_uri(),
        seconds=finished.seconds,
        step_seconds=finished.step_seconds,
    )


def _or_none(write: Callable[..., Path], *what: Any) -> str | None:
    """A page's path; where it cannot be written, that is said and the run counts all the same."""
    try:
        return str(write(*what))
    except InputError as error:
        print(error, file=sys.stderr)
        return None


def _tracking_uri() -> str:
    from zenml.client import Client

    tracker = Client().active_stack.experiment_tracker
    return tracker.get_tracking_uri() if tracker and hasattr(tracker, "get_tracking_uri") else ""
