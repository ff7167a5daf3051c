"""From images without labels to what a model says of each of them."""

from zenml import pipeline
from zenml.client import Client

from diascope.config import ArchiveLimits
from pipelines.production import find_artifact
from steps.find_images import find_images
from steps.predict_images import predict_images
from steps.summarise_predictions import summarise_predictions

STEPS = ("find_images", "predict_images", "summarise_predictions")


@pipeline
def inference(
    source: str, fingerprint: str, limits: ArchiveLimits, max_pixels: int, model_name: str, model_version: int
) -> None:
    """Predict all images of a source with a version of a model."""
    classifier = find_artifact(Client().get_model_version(model_name, model_version), "classifier")
    found = find_images(source, limits, fingerprint)
    predictions = predict_images(source, limits, max_pixels, model_name, model_version, found, classifier)
    summarise_predictions(predictions)
