"""Build the bento: the service, its requirements, and the classifier with its card."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.card import Card
from diascope.classifier import Classifier
from diascope.deployment import Bento, Release
from diascope.parity import Parity
from steps import bentos
from steps.facts import note


@step(enable_cache=False)
def build_bento(
    release: Release, classifier: Classifier, card: Card, parity: Parity
) -> Annotated[Bento, ArtifactConfig(name="bento")]:
    """Return the bento, which `diascope:latest` in the model store belongs to afterwards."""
    assert parity.same_labels  # nothing is packaged that was not held to its evaluation
    bentos.store_model(release, classifier, card)
    bento = bentos.build(release)
    note("bento", bento)
    return bento
