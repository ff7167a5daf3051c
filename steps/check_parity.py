"""Hold what is packaged to what was measured."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.classifier import Classifier
from diascope.dataset import Dataset
from diascope.evaluation import EvaluationRecord
from diascope.images import INGESTED
from diascope.parity import Answered, Parity, compare, measured
from steps.metadata import log_result

IMAGES = 64


@step(enable_cache=False)
def check_parity(
    classifier: Classifier, evaluation: EvaluationRecord, dataset: Dataset
) -> Annotated[Parity, ArtifactConfig(name="parity")]:
    """Return how near the answers to test images come to the stored ones; fails where one differs."""
    expected = measured(evaluation, classifier, IMAGES)
    encoded = dataset.read([each.sample_id for each in expected])
    pictures = [encoded[each.sample_id] for each in expected]
    answers = classifier.answers(pictures, max_pixels=INGESTED)
    parity = compare(expected, (Answered(each.label, each.probabilities, each.distance) for each in answers))
    log_result("parity", parity)
    return parity
