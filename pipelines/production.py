"""What is in production, and what came with it?"""

from typing import TYPE_CHECKING

from diascope.deployment import Release
from diascope.errors import InputError
from diascope.promotion import Decision
from diascope.statement import Statement

if TYPE_CHECKING:
    from zenml.models import ArtifactVersionResponse


def find_release(model: str) -> Release:
    """Return the version in production; raises InputError where there is none under this name."""
    from zenml.client import Client
    from zenml.enums import ModelStages

    try:
        version = Client().get_model_version(model, ModelStages.PRODUCTION)
    except KeyError:
        raise InputError(f"No version of {model!r} is in production: run --training first.") from None
    said = version.run_metadata
    return Release(
        name=version.model.name,
        version=version.number,
        created=version.created.isoformat(timespec="seconds"),
        stage=str(version.stage),
        decision=Decision.model_validate(said["decision"]) if "decision" in said else None,
        statement=Statement.model_validate(said.get("statement", {})),
    )


def artifact(release: Release, name: str) -> "ArtifactVersionResponse":
    """Return what is linked to the version under this name; raises InputError where nothing is."""
    from zenml.client import Client

    found = Client().get_model_version(release.name, release.version).get_artifact(name)
    if found is None:
        raise InputError(f"Version {release.version} of {release.name!r} has no {name}: train it again.")
    return found
