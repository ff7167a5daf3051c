"""How is a training run, and what came of it?"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from diascope.errors import InputError
from diascope.summary import Outcome
from pipelines.code import check_code
from pipelines.images import with_images
from pipelines.remote_run import for_steps_elsewhere, wait_for
from pipelines.report import write_report

if TYPE_CHECKING:
    from zenml.enums import ExecutionMode
    from zenml.models import ModelVersionResponse, PipelineRunResponse

    from diascope.dataset import Dataset
    from diascope.evaluation import EvaluationRecord
    from diascope.promotion import Decision


def train(configuration: str, *, cached: bool) -> Outcome:
    """Train as a configuration (YAML) says, and write the report; `cached` takes results of earlier runs."""
    from pipelines.training import training

    with TemporaryDirectory() as folder:
        path = Path(folder, "resolved.yaml")
        path.write_text(_for_stack(configuration), encoding="utf-8")
        run = training.with_options(
            config_path=str(path), enable_cache=None if cached else False, execution_mode=_execution_mode()
        )()
    assert run is not None  # only a schedule starts none, and the checks refuse it
    return _read(wait_for(run))


def _for_stack(configuration: str) -> str:
    from stacks.here import runs_here

    if runs_here():
        return with_images(configuration)
    check_code()
    return with_images(for_steps_elsewhere(configuration))


def _execution_mode() -> "ExecutionMode":
    """End at the first failure; where the orchestrator cannot (SageMaker), what does not depend on it goes on."""
    from zenml.client import Client
    from zenml.enums import ExecutionMode

    supported = Client().active_stack.orchestrator.supported_execution_modes
    return ExecutionMode.FAIL_FAST if ExecutionMode.FAIL_FAST in supported else ExecutionMode.CONTINUE_ON_FAILURE


def _read(run: "PipelineRunResponse") -> Outcome:
    from zenml.client import Client

    from pipelines.finished import Finished

    finished = Finished.read(run)
    record: EvaluationRecord = finished.output("evaluate_model", "evaluation")
    decision: Decision = finished.output("promote_model", "decision")
    dataset: Dataset = finished.output("ingest_data", "dataset")
    promoted = finished.steps["promote_model"].run_metadata
    version = Client().get_model_version(str(promoted["model"]), str(promoted["model_version"]))
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
        report=_reported(version, record, dataset, decision),
        mlflow_uri=_tracking_uri(),
        seconds=finished.seconds,
        step_seconds=finished.step_seconds,
    )


def _reported(
    version: "ModelVersionResponse", record: "EvaluationRecord", dataset: "Dataset", decision: "Decision"
) -> str | None:
    """The report's path; where it cannot be written, that is said and the run counts all the same."""
    try:
        return str(write_report(version, record, dataset, decision))
    except InputError as error:
        print(error, file=sys.stderr)
        return None


def _tracking_uri() -> str:
    from zenml.client import Client

    tracker = Client().active_stack.experiment_tracker
    return tracker.get_tracking_uri() if tracker and hasattr(tracker, "get_tracking_uri") else ""
