"""Which target is meant, with whose credentials, and what does ZenML know of what it serves?"""

from typing import TYPE_CHECKING, Any

from diascope.deployment import Served
from diascope.deployment_settings import DeploymentSettings
from targets import AWS, find_target
from targets.target import Target

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse

RECORDED = "deployments"  # key of a model version's metadata: what serves it, by target


def open_target(name: str, settings: DeploymentSettings) -> Target:
    """Return the target of this name; those on AWS with the credentials of the active stack. Raises InputError."""
    if name not in AWS:
        return find_target(name, settings)
    from stacks.session import aws_session

    return find_target(name, _with_capture_place(settings), aws_session())


def _with_capture_place(settings: DeploymentSettings) -> DeploymentSettings:
    """Captured requests go below the artifact store where no other place is said."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    sagemaker = settings.sagemaker
    if sagemaker.capture == "nothing" or sagemaker.capture_to:
        return settings
    store = Client().active_stack_model.components[StackComponentType.ARTIFACT_STORE][0].configuration["path"]
    if not store.startswith("s3://"):
        return settings
    place = {"capture_to": f"{store.rstrip('/')}/diascope/captured"}
    return settings.model_copy(update={"sagemaker": sagemaker.model_copy(update=place)})


def record(model: str, served: Served) -> None:
    """Note with the model version where it serves now, and with the others that they do not serve there any more."""
    for version in _versions(model):
        if version.number == served.version:
            _note(version, served.target, served.model_dump(mode="json"))
        elif served.target in _known(version):
            _note(version, served.target, None)


def forget(model: str, target: str) -> None:
    """Note that no version of a model serves at a target; a model that is not there has nothing to note."""
    for version in _versions(model):
        if target in _known(version):
            _note(version, target, None)


def _versions(model: str) -> "list[ModelVersionResponse]":
    from zenml.client import Client
    from zenml.utils.pagination_utils import depaginate

    client = Client()
    if not client.list_models(name=f"equals:{model}").items:
        return []
    return depaginate(client.list_model_versions, model_name_or_id=model, hydrate=True)


def _known(version: "ModelVersionResponse") -> dict[str, Any]:
    found = version.run_metadata.get(RECORDED, {})
    return {target: told for target, told in found.items() if told} if isinstance(found, dict) else {}


def _note(version: "ModelVersionResponse", target: str, told: dict[str, Any] | None) -> None:
    """ZenML puts mappings of one key together, the later over the earlier: what is gone stands there as null."""
    from zenml import log_metadata

    log_metadata(metadata={RECORDED: {target: told}}, model_version_id=version.id)
