"""Serve the image at a target, and hold its answers to what was measured."""

from collections.abc import Iterator
from typing import Annotated

from zenml import ArtifactConfig, log_metadata, step
from zenml.metadata.metadata_types import Uri

from diascope.classifier import Classifier
from diascope.dataset import Dataset
from diascope.deployment import Image, Pushed, Release, Served
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord
from diascope.parity import Answered, Parity, compare, measured
from steps.places import open_target, record
from targets import HERE
from targets.target import Deployed, Service, Target, TargetError


@step(enable_cache=False)
def deploy_service(
    release: Release,
    target: str,
    settings: DeploymentSettings,
    image: Image,
    classifier: Classifier,
    evaluation: EvaluationRecord,
    dataset: Dataset,
    pushed: Pushed | None = None,
) -> Annotated[Served, ArtifactConfig(name="served")]:
    """Return what serves now; where an answer differs, what served before does so again and the step fails."""
    place = open_target(target, settings)
    reference = image.tag if pushed is None or target in HERE else pushed.digest
    deployed = place.deploy(Service(name=release.service, version=release.version, model=release.name, image=reference))
    parity = None
    if deployed.url and settings.images:
        parity = _held(place, deployed, classifier, evaluation, dataset, settings.images)
    served = Served(**deployed.model_dump(), parity=parity)
    log_metadata({"deployed": served.model_dump(mode="json")})
    if deployed.url:
        log_metadata({"url": Uri(deployed.url)})
        record(release.name, served)
    return served


def _held(
    place: Target,
    deployed: Deployed,
    classifier: Classifier,
    evaluation: EvaluationRecord,
    dataset: Dataset,
    images: int,
) -> Parity:
    try:
        expected = measured(evaluation, classifier, images)
        encoded = dataset.read([each.sample_id for each in expected])
        return compare(expected, _ask(place, deployed, [encoded[each.sample_id] for each in expected]))
    except BaseException as error:  # also an interruption: what is not known to be right does not serve
        now = _rolled_back(place, deployed, error)
        if isinstance(error, Exception):
            kind = InputError if isinstance(error, InputError) else TargetError
            raise kind(f"{deployed.target}: {error} {now}") from error
        raise


def _ask(place: Target, deployed: Deployed, images: list[bytes]) -> Iterator[Answered]:
    for data in images:
        answer = place.ask(deployed.service, data)
        if str(answer["model"]["version"]) != str(deployed.version):
            raise TargetError(f"Version {answer['model']['version']} answers, deployed was {deployed.version}.")
        yield Answered(answer["label"], answer["probabilities"], answer["distance"])


def _rolled_back(place: Target, deployed: Deployed, error: BaseException) -> str:
    """Go back, and say in a sentence what serves now."""
    try:
        place.roll_back(deployed)
    except Exception as second:
        raise TargetError(f"{deployed.target}: {error} Going back failed, too: {second}") from error
    if deployed.previous is None:
        return "The service was removed again."
    return f"Version {deployed.previous} serves again."
