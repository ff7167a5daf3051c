"""What is in production, and what came with it?"""

from typing import TYPE_CHECKING

from diascope.deployment import Release
from diascope.errors import InputError
from diascope.promotion import Decision
from diascope.statement import Statement

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse, ModelVersionResponse


def find_version(model: str) -> "ModelVersionResponse":
    """Return the version in production; raises InputError where there is none under this name."""
    from zenml.client import Client
    from zenml.enums import ModelStages

    try:
        return Client().get_model_version(model, ModelStages.PRODUCTION)
    except KeyError:
        raise InputError(f"No version of {model!r} is in production: run --training first.") from None


def find_artifact(version: "ModelVersionResponse", name: str) -> "ArtifactVersionResponse":
    """Return what is linked to a version under this name; raises InputError where nothing is."""
    found = version.get_artifact(name)
    if found is None:
        raise InputError(f"Version {version.number} of {version.model.name!r} has no {name}: train it again.")
    return found


def find_release(model: str) -> Release:
    """Return what a deployment needs to know of the version in production; raises InputError."""
    version = find_version(model)
    said = version.run_metadata
    return Release(
        name=version.model.name,
        version=version.number,
        created=version.created.isoformat(timespec="seconds"),
        stage=str(version.stage),
        decision=Decision.model_validate(said["decision"]) if "decision" in said else None,
        statement=Statement.model_validate(said.get("statement", {})),
    )
