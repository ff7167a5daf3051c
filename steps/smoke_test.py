"""Try the container: does it start, answer as measured, and stop?"""

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Annotated

from zenml import ArtifactConfig, step

from diascope import docker
from diascope.classifier import Classifier
from diascope.dataset import Dataset
from diascope.deployment import Image, Smoke
from diascope.evaluation import EvaluationRecord
from diascope.parity import Answered, compare, measured
from steps.metadata import log_result

IMAGES = 32
SECONDS = 30.0  # that one answer may take


@step(enable_cache=False)
def smoke_test(
    image: Image, classifier: Classifier, evaluation: EvaluationRecord, dataset: Dataset
) -> Annotated[Smoke, ArtifactConfig(name="smoke")]:
    """Return how the container did; fails where it does not start, answers otherwise, or does not stop."""
    expected = measured(evaluation, classifier, IMAGES)
    encoded = dataset.read([each.sample_id for each in expected])
    took: list[float] = []
    with docker.running(image.tag) as container:
        answers = _ask(container.url, [encoded[each.sample_id] for each in expected], took)
        parity = compare(expected, answers)
    smoke = Smoke(parity=parity, ready_seconds=container.ready_seconds, milliseconds=1000 * median(took))
    log_result("smoke", smoke)
    return smoke


def _ask(url: str, images: list[bytes], took: list[float]) -> Iterator[Answered]:
    import requests

    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between this machine and itself
        for data in images:
            start = perf_counter()
            response = session.post(f"{url}/predict", files={"image": ("image", data)}, timeout=SECONDS)
            took.append(perf_counter() - start)
            if response.status_code != 200:
                raise RuntimeError(f"The container answered a test image with {response.status_code}: {response.text}")
            answer = response.json()
            yield Answered(answer["label"], answer["probabilities"], answer["distance"])
