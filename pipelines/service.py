"""How is a deployed service looked at, and how is it removed?"""

from diascope.deployment import plain_name
from diascope.deployment_settings import DeploymentSettings
from steps.places import forget, open_target
from targets.target import Status


def service_status(model: str, target: str, settings: DeploymentSettings) -> Status:
    """How a model's service is doing, as the target itself says; raises InputError where the target is not reached."""
    return open_target(target, settings).status(plain_name(model))


def delete_service(model: str, target: str, settings: DeploymentSettings) -> list[str]:
    """Remove a model's service and return what was removed; ZenML's records of it go as well."""
    removed = open_target(target, settings).delete(plain_name(model))
    forget(model, target)
    return removed
