"""Which places are there that a model can be served from?"""

from typing import TYPE_CHECKING

from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError, nearest
from targets.target import Target

if TYPE_CHECKING:
    from boto3 import Session

AWS = ("sagemaker", "lambda", "ecs")  # these are reached with a session of boto3
HERE = ("container",)  # these take the image from this machine's engine, not from a registry
TARGETS = (*HERE, *AWS, "kubernetes")


def find_target(name: str, settings: DeploymentSettings, session: "Session | None" = None) -> Target:
    """Return the target of this name; those on AWS need a session. Raises InputError for an unknown name."""
    if name == "container":
        from targets.container import ContainerTarget

        return ContainerTarget(settings)
    if name == "kubernetes":
        from targets.kubernetes import KubernetesTarget

        return KubernetesTarget(settings)
    if name in AWS:
        return _on_aws(name, settings, session)
    raise InputError(f"There is no target {name!r}; the nearest is {nearest(name, TARGETS)!r}.")


def _on_aws(name: str, settings: DeploymentSettings, session: "Session | None") -> Target:
    if session is None:
        raise ValueError(f"{name} needs a session")
    if name == "sagemaker":
        from targets.sagemaker import SagemakerTarget

        return SagemakerTarget(settings, session)
    if name == "lambda":
        from targets.lambda_function import LambdaTarget

        return LambdaTarget(settings, session)
    from targets.ecs import EcsTarget

    return EcsTarget(settings, session)
