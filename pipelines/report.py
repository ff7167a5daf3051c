"""Where does a person find what a model version is worth?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord, shown_images
from diascope.promotion import Decision
from pipelines.finished import Finished

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse

    from diascope.dataset import Dataset
    from diascope.trained_candidate import TrainedCandidate

REPORTS = Path("reports")
SAYS = {"data": "What is in its data", "sweep": "What its sweep tried"}


def report_production(model: str) -> Path:
    """Write the report of the version in production and return its path; its run's other pages are written beside it.

    Raises
    ------
    InputError: nothing is in production under this name, or the report cannot be written here.
    """
    from pipelines.production import find_artifact, find_version

    version = find_version(model)
    record, dataset = (find_artifact(version, name).load() for name in ("evaluation", "dataset"))
    path = write_report(version, record, dataset, Decision.model_validate(version.run_metadata["decision"]))
    run = find_artifact(version, "evaluation").run
    for kind, page in pages(Finished(run)).items() if run else ():
        print(f"{SAYS[kind]}: {write_page(version, kind, page)}", file=sys.stderr)
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


def pages(finished: Finished) -> dict[str, str]:
    """Return what else a training run shows, by its kind: what is in the data, and what its sweep tried."""
    found = {"data": finished.output("explore_data", "data_exploration")}
    swept: TrainedCandidate | None = finished.output("sweep_settings", "swept_candidate")
    if swept is not None:
        found["sweep"] = (swept.root / "sweep.html").read_text(encoding="utf-8")
    return {kind: page for kind, page in found.items() if page}


def write_page(version: "ModelVersionResponse", kind: str, page: str) -> Path:
    """Write such a page beside the version's report and return its path; raises InputError."""
    return _written(page, f"{version.model.name}-{version.number}-{kind}.html")


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
