"""Build the bento: the service, its requirements, and the classifier with its card."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.card import Card
from diascope.classifier import Classifier
from diascope.deployment import Bento, Release
from steps import bento_store
from steps.metadata import log_result


@step(enable_cache=False)
def build_bento(release: Release, classifier: Classifier, card: Card) -> Annotated[Bento, ArtifactConfig(name="bento")]:
    """Return the bento, which `diascope:latest` in the model store belongs to afterwards."""
    bento_store.store_model(release, classifier, card)
    bento = bento_store.build(release)
    log_result("bento", bento)
    return bento
