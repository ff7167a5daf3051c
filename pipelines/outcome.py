"""What did a run leave behind? Read back from its artifacts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord, shown_images
from diascope.promotion import Decision
from diascope.summary import Outcome

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse, PipelineRunResponse

    from diascope.dataset import Dataset

REPORTS = Path("reports")


def read_outcome(run: "PipelineRunResponse") -> Outcome:
    """Return a finished training run in the words of its summary, and write its report.

    Where the report cannot be written, that is said and the run counts all the same.
    """
    from zenml.client import Client

    client = Client()
    run = client.get_pipeline_run(run.id)
    steps = run.steps
    record: EvaluationRecord = _output(steps["evaluate_model"], "evaluation")
    decision: Decision = _output(steps["promote_model"], "decision")
    dataset: Dataset = _output(steps["ingest_data"], "dataset")
    promoted = steps["promote_model"].run_metadata
    version = client.get_model_version(str(promoted["model"]), str(promoted["model_version"]))
    started = run.start_time
    return Outcome(
        run_name=run.name,
        status=str(run.status.value),
        stack=run.stack.name if run.stack else "",
        model_name=version.model.name,
        model_version=str(version.number),
        model_stage=version.stage,
        evaluation=record.evaluation,
        decision=decision,
        dataset=dataset.info,
        report=_written(version, record, dataset, decision),
        mlflow_uri=_tracking_uri(),
        seconds=(run.end_time - started).total_seconds() if run.end_time and started else 0.0,
        step_seconds={name: _seconds(step) for name, step in steps.items()},
    )


def write_report(model: str) -> Path:
    """Write the report of the model in production and return its path.

    Raises
    ------
    InputError: nothing is in production under this name, or the report cannot be written here.
    """
    from zenml.client import Client
    from zenml.enums import ModelStages

    try:
        version = Client().get_model_version(model, ModelStages.PRODUCTION)
    except KeyError:
        raise InputError(f"No version of {model!r} is in production: run --training first.") from None
    record = _linked(version, "evaluation")
    decision = Decision.model_validate(version.run_metadata["decision"])
    return _write(version, record, _linked(version, "dataset"), decision)


def _written(
    version: "ModelVersionResponse", record: EvaluationRecord, dataset: "Dataset", decision: Decision
) -> str | None:
    try:
        return str(_write(version, record, dataset, decision))
    except InputError as error:
        print(error, file=sys.stderr)
        return None


def _write(version: "ModelVersionResponse", record: EvaluationRecord, dataset: "Dataset", decision: Decision) -> Path:
    from diascope.reports import report_page

    images = shown_images(record.evaluation, dataset)
    model = f"{version.model.name} version {version.number}, made on {version.created:%Y-%m-%d}"
    page = report_page(record.evaluation, record.predictions(), images, dataset, decision, model)
    path = REPORTS / f"{version.model.name}-{version.number}.html"
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"The report {str(path.absolute())!r} cannot be written: {error.strerror}.") from error
    return path.resolve()


def _output(step: Any, name: str) -> Any:
    return step.outputs[name][0].load()


def _linked(version: "ModelVersionResponse", name: str) -> Any:
    found = version.get_artifact(name)
    if found is None:
        raise InputError(f"Version {version.number} of {version.model.name!r} has no {name}: train it again.")
    return found.load()


def _seconds(step: Any) -> float:
    if step.status.value == "cached" or not step.end_time or not step.start_time:
        return 0.0
    return float((step.end_time - step.start_time).total_seconds())


def _tracking_uri() -> str:
    from zenml.client import Client

    tracker = Client().active_stack.experiment_tracker
    return tracker.get_tracking_uri() if tracker and hasattr(tracker, "get_tracking_uri") else ""
