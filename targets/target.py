"""What can a place do that a model is served from?"""

from typing import Any, Literal, Protocol

from diascope.schema import Frozen

State = Literal["absent", "creating", "serving", "updating", "failed", "deleting"]


class Service(Frozen):
    """What shall be served."""

    name: str  # the model's name as an image has it, `diascope-demo`: of endpoint, function, deployment, service
    version: int
    model: str  # the model's name as people gave it
    image: str  # full reference in a registry, by digest where it is known


class Deployed(Frozen):
    """What a target serves now, and what it served before."""

    target: str
    service: str
    version: int
    url: str  # where it is called
    resources: dict[str, str]  # what it consists of: kind and name, ARN or address
    previous: int | None  # the version that served before; None where none did


class Status(Frozen):
    """How a service is doing, as the target itself says."""

    target: str
    service: str
    state: State
    version: int | None
    url: str | None
    detail: str  # one sentence for people; what went wrong, where it did


class Target(Protocol):
    """A place that services run at.

    Every method raises InputError where the user can mend it (credentials, a role or an image that is missing), and
    TargetError where the service or the place fails.
    """

    name: str

    def check(self, service: str) -> None:
        """Find out before anything is built whether a deployment can work; changes nothing."""

    def deploy(self, service: Service) -> Deployed:
        """Create or update, and wait until it serves.

        Idempotent. On failure the old version goes on serving, and nothing is left behind of the new one.
        """

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Let one image be answered, through the target's own way in; the JSON of `POST /invocations`."""

    def roll_back(self, deployed: Deployed) -> None:
        """Go back to what served before; where nothing did, remove what was made."""

    def status(self, service: str) -> Status:
        """How the service is doing; never raises because it is absent or has failed."""

    def delete(self, service: str) -> list[str]:
        """Remove everything that belongs to the service; what was removed, [] where nothing was there."""


class TargetError(RuntimeError):
    """A target did not do what it was asked; the message is one sentence with what it said."""
