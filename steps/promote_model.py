"""Decide whether the classifier goes into production, and say so in both registries."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.classifier import Classifier
from diascope.config import PromotionConfig
from diascope.dataset import Dataset
from diascope.evaluation import EvaluationRecord
from diascope.promotion import Decision, decide
from diascope.statement import Statement
from steps.registry import Production, register, set_production


# Never from the cache: the answer depends on what is in production now.
@step(enable_cache=False)
def promote_model(
    promotion: PromotionConfig,
    card: Statement,
    seed: int,
    dataset: Dataset,
    classifier: Classifier,
    evaluation: EvaluationRecord,
    tracked_model: str,
) -> Annotated[Decision, ArtifactConfig(name="decision")]:
    """Return the decision; a promoted model becomes `production` in ZenML and `champion` in MLflow."""
    production = Production.find(promotion.model)
    metrics = evaluation.evaluation.test
    if production is None:
        decision = decide(metrics, promotion, champion=None)
    elif production.holds(classifier):
        decision = decide(metrics, promotion, champion=production.champion(), identical=True)
    else:
        faced = production.face(classifier, dataset, evaluation)
        decision = decide(
            metrics,
            promotion,
            champion=faced.champion,
            labels=faced.labels,
            probabilities=faced.probabilities,
            groups=faced.groups,
            seed=seed,
        )
    version = register(promotion.model, classifier, tracked_model, decision, card)
    if decision.promoted:
        set_production(promotion.model, version)
    return decision
