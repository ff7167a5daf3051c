"""How does the model that was in production before get back there?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diascope.errors import InputError
from pipelines.production import find_version
from steps.registry import before, put_back

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse


@dataclass(frozen=True)
class Rollback:
    """Which version took the place of which."""

    model: str
    version: int
    replaced: int

    @property
    def sentence(self) -> str:
        """What was done, for people."""
        return (
            f"Version {self.version} of {self.model!r} is in production again, and version {self.replaced} is "
            "archived; what is served follows with --deployment."
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {"model": self.model, "version": self.version, "replaced": self.replaced}


def roll_back(model: str) -> Rollback:
    """Put the version that was in production before the present one back, in ZenML and in MLflow.

    Said again, it goes one further back. Raises InputError where there is none.
    """
    present = find_version(model)
    previous = _previous(present)
    put_back(model, previous, present)
    return Rollback(model, previous.number, present.number)


def _previous(present: "ModelVersionResponse") -> "ModelVersionResponse":
    """The latest of those before it that is still there."""
    from zenml.client import Client

    model, client = present.model.name, Client()
    for number in reversed(before(present)):
        try:
            return client.get_model_version(model, number)
        except KeyError:  # deleted since
            continue
    raise InputError(
        f"No version of {model!r} was in production before version {present.number}: there is nothing to go back to."
    )
