"""Count what was predicted, and show it."""

from typing import Annotated

from zenml import ArtifactConfig, step
from zenml.types import HTMLString

from diascope.inference_results import BatchSummary, PredictedImages
from diascope.inference_summary import summarise
from diascope.reports import inference_page
from steps.caching import depends_on_library


@step(cache_policy=depends_on_library(__file__))
def summarise_predictions(
    predictions: PredictedImages,
) -> tuple[
    Annotated[BatchSummary, ArtifactConfig(name="prediction_summary")],
    Annotated[HTMLString, ArtifactConfig(name="prediction_page")],
]:
    """Return the result in figures and as a page."""
    summary = summarise(predictions)
    return summary, HTMLString(inference_page(summary, predictions.examples))
