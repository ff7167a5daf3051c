"""From the model in production to a service that answers as it was measured."""

from zenml import pipeline
from zenml.client import Client
from zenml.enums import ExecutionMode

from diascope.deployment import Release
from diascope.deployment_settings import DeploymentSettings
from pipelines.production import find_artifact
from steps.build_bento import build_bento
from steps.build_image import build_image
from steps.check_parity import check_parity
from steps.deploy_service import deploy_service
from steps.load_production import load_production
from steps.push_image import push_image
from steps.smoke_test import smoke_test
from steps.write_card import write_card


# Nothing comes from the cache: every step looks at, or changes, something outside ZenML.
@pipeline(execution_mode=ExecutionMode.FAIL_FAST, enable_cache=False)
def deployment(
    release: Release, container: bool, push: bool, fresh: bool, target: str | None, settings: DeploymentSettings
) -> None:
    """Package a model, build its image if `container`, try it, push it if `push`, and serve it at `target`, if any."""
    version = Client().get_model_version(release.name, release.version)
    dataset, evaluation = find_artifact(version, "dataset"), find_artifact(version, "evaluation")
    classifier = load_production(find_artifact(version, "classifier"))
    parity = check_parity(classifier, evaluation, dataset)
    card, _ = write_card(release, classifier, evaluation, dataset)
    bento = build_bento(release, classifier, card, after=parity)
    if container:
        image = build_image(release, bento, fresh)
        tried = smoke_test(image, classifier, evaluation, dataset)
        pushed = push_image(image, after=tried) if push else None
        if target:
            ready = tried if pushed is None else pushed
            deploy_service(release, target, settings, image, classifier, evaluation, dataset, pushed, after=ready)
