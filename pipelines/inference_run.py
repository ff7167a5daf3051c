"""How is a source predicted, and where does the result go?"""

from pathlib import Path
from typing import TYPE_CHECKING

from diascope.config import DatasetConfig
from diascope.errors import InputError
from diascope.inference_outcome import BatchOutcome
from pipelines.finished import Finished
from pipelines.production import find_version
from pipelines.submission import run_pipeline

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse

    from diascope.inference_results import BatchSummary, PredictedImages


def find_model(name: str, number: int | None) -> "ModelVersionResponse":
    """Return a version of a model, the one in production where none is said; raises InputError."""
    from zenml.client import Client

    if number is None:
        return find_version(name)
    try:
        return Client().get_model_version(name, number)
    except KeyError:
        raise InputError(f"There is no version {number} of {name!r}: `zenml model version list {name}`.") from None


def predict(
    version: "ModelVersionResponse",
    source: str,
    fingerprint: str,
    dataset: DatasetConfig,
    configuration: str,
    output: Path,
    *,
    cached: bool,
) -> BatchOutcome:
    """Predict a source with a version of a model, and write the result with its page; raises InputError.

    `dataset` gives the limits of archives and images, `configuration` (YAML) the settings of the run; `cached` takes
    results of earlier runs.
    """
    from zenml import Model

    from diascope.inference_table import write_output
    from pipelines.inference import inference

    run = run_pipeline(
        inference,
        configuration,
        cached=cached,
        model=Model(name=version.model.name, version=version.number),
        source=source,
        fingerprint=fingerprint,
        limits=dataset.limits,
        max_pixels=dataset.max_pixels,
        model_name=version.model.name,
        model_version=version.number,
    )
    finished = Finished.read(run)
    predictions: PredictedImages = finished.output("predict_images", "predictions")
    summary: BatchSummary = finished.output("summarise_predictions", "prediction_summary")
    page = finished.output("summarise_predictions", "prediction_page")
    return BatchOutcome(
        run_name=finished.run.name,
        status=str(finished.run.status.value),
        stack=finished.stack,
        summary=summary,
        output=output.resolve(),
        page=write_output(predictions.table, str(page), output).resolve(),
        seconds=finished.seconds,
        step_seconds=finished.step_seconds,
    )
