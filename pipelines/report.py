"""Where does a person find what a model version is worth?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord, shown_images
from diascope.promotion import Decision

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse, ModelVersionResponse

    from diascope.dataset import Dataset

REPORTS = Path("reports")


def report_production(model: str) -> Path:
    """Write the report of the version in production and return its path; what is in its data is written beside it.

    Raises
    ------
    InputError: nothing is in production under this name, or the report cannot be written here.
    """
    from pipelines.production import find_artifact, find_version

    version = find_version(model)
    record, dataset = (find_artifact(version, name).load() for name in ("evaluation", "dataset"))
    path = write_report(version, record, dataset, Decision.model_validate(version.run_metadata["decision"]))
    explored = write_exploration(version, _exploration(find_artifact(version, "evaluation")))
    if explored:
        print(f"What is in its data: {explored}", file=sys.stderr)
    return path


def write_report(
    version: "ModelVersionResponse", record: EvaluationRecord, dataset: "Dataset", decision: Decision
) -> Path:
    """Write the report of a version below the working directory and return its path; raises InputError."""
    from diascope.reports import report_page

    images = shown_images(record.evaluation, dataset)
    model = f"{version.model.name} version {version.number}, made on {version.created:%Y-%m-%d}"
    page = report_page(record.evaluation, record.predictions(), images, dataset, decision, model)
    return _written(page, f"{version.model.name}-{version.number}.html")


def write_exploration(version: "ModelVersionResponse", page: str | None) -> Path | None:
    """Write the page of what is in a version's data beside its report and return its path; None where there is none."""
    return _written(page, f"{version.model.name}-{version.number}-data.html") if page else None


def _exploration(evaluation: "ArtifactVersionResponse") -> str | None:
    """The page that the run has made which made the evaluation; None where that was before there were such pages."""
    from pipelines.finished import Finished

    return Finished(evaluation.run).output("explore_data", "data_exploration") if evaluation.run else None


def _written(page: str, name: str) -> Path:
    path = REPORTS / name
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"The report {str(path.absolute())!r} cannot be written: {error.strerror}.") from error
    return path.resolve()
