"""Write down what anyone should know before using the model."""

from typing import Annotated

from zenml import ArtifactConfig, step
from zenml.types import HTMLString

from diascope.card import Card, make_card
from diascope.classifier import Classifier
from diascope.dataset import Dataset
from diascope.deployment import Release
from diascope.evaluation import EvaluationRecord
from diascope.reports.card import card_page


@step(enable_cache=False)
def write_card(
    release: Release, classifier: Classifier, evaluation: EvaluationRecord, dataset: Dataset
) -> tuple[
    Annotated[Card, ArtifactConfig(name="card")],
    Annotated[HTMLString, ArtifactConfig(name="card_page")],
]:
    """Return the model card, and its page for the dashboard."""
    card = make_card(
        classifier.info,
        evaluation.evaluation,
        dataset.info,
        release.decision,
        name=release.name,
        version=str(release.version),
        created=release.created,
        stage=release.stage,
        statement=release.statement,
    )
    return card, HTMLString(card_page(card))
