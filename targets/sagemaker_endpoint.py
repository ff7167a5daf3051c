"""How does an endpoint of SageMaker come from one configuration to the next?"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diascope.aws import error_code, explained
from diascope.errors import InputError
from targets import patience
from targets.sagemaker_parts import GONE, suppress_existing
from targets.sagemaker_request import version_in
from targets.tags import SERVICE
from targets.target import State, TargetError

STATES: dict[str, State] = {
    "InService": "serving",
    "Creating": "creating",
    "Updating": "updating",
    "SystemUpdating": "updating",
    "RollingBack": "updating",
    "Deleting": "deleting",
    "Failed": "failed",
    "OutOfService": "failed",
    "UpdateRollbackFailed": "failed",
}
BUSY = ("creating", "updating", "deleting")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """An endpoint as SageMaker describes it."""

    state: State
    config: str
    reason: str  # why it failed, or was taken back; "" where it was not
    arn: str

    @property
    def version(self) -> int | None:
        """The model version that it serves."""
        return version_in(self.config)


class Unsettled(TargetError):
    """An endpoint is still on its way when the time is over; SageMaker goes on with it."""


class Endpoint:
    """One endpoint."""

    def __init__(self, client: Any, name: str, service: str, seconds: float) -> None:
        self._client = client
        self.name = name
        self._service = service
        self._seconds = seconds

    def look(self) -> Seen | None:
        """Return the endpoint, if it is there."""
        try:
            with explained(f"Looking at the endpoint {self.name!r}"):
                found = self._client.describe_endpoint(EndpointName=self.name)
        except InputError as error:
            if error_code(error) == "ValidationException" and GONE in str(error.__cause__):
                return None
            raise
        state = STATES.get(found["EndpointStatus"], "failed")
        reason = " ".join(str(found.get("FailureReason") or "").split()).rstrip(".")
        return Seen(state, found["EndpointConfigName"], reason, found["EndpointArn"])

    def is_ours(self, seen: Seen) -> bool:
        """Return whether we made it, for this service."""
        with explained(f"Looking at the tags of the endpoint {self.name!r}"):
            tags = self._client.list_tags(ResourceArn=seen.arn)["Tags"]
        return {"Key": SERVICE, "Value": self._service} in tags

    def ours(self) -> Seen | None:
        """Return the endpoint, if it is there; raises InputError where somebody else has made it."""
        seen = self.look()
        if seen and not self.is_ours(seen):
            raise InputError(
                f"There is an endpoint {self.name!r} already that Diascope did not make for {self._service!r} "
                f"(it has no tag {SERVICE}={self._service}): name another one in deployment.sagemaker.endpoint."
            )
        return seen

    def settled(self) -> Seen | None:
        """Wait until nothing is done to it any more, and return it; raises Unsettled."""
        try:
            return patience.until(self.look, lambda seen: seen is None or seen.state not in BUSY, self._seconds)
        except patience.TooLong:
            seen = self.look()
            raise Unsettled(
                f"The endpoint {self.name!r} is still {seen.state if seen else 'changing'} after {self._seconds:g} "
                "seconds and SageMaker goes on with it: look with --status, and run again when it has ended."
            ) from None

    def create(self, config: str, tags: list[dict[str, str]]) -> None:
        """Create it and wait; what fails or is not ready in time is removed again. Raises InputError, TargetError."""
        with explained(f"Creating the endpoint {self.name!r}"), suppress_existing():
            self._client.create_endpoint(EndpointName=self.name, EndpointConfigName=config, Tags=tags)
        try:
            self.ours()  # somebody else may have been quicker
            seen = self.settled()
            if seen and seen.state == "serving":
                return
            error: BaseException = TargetError(f"The endpoint {self.name!r} could not be made: {_why(seen)}.")
        except Unsettled:
            error = TargetError(f"The endpoint {self.name!r} does not serve after {self._seconds:g} seconds.")
        except BaseException as interrupted:
            error = interrupted
        self._give_up(error)
        raise error

    def update(self, config: str, options: dict[str, Any]) -> None:
        """Update it and wait; where that fails, the configuration before serves. Raises InputError, TargetError."""
        before = self.look()
        with explained(f"Updating the endpoint {self.name!r}"):
            self._client.update_endpoint(EndpointName=self.name, EndpointConfigName=config, **options)
        seen = self.settled()
        if seen and seen.state == "serving" and seen.config == config:
            return
        assert before is not None
        if seen is None or seen.state != "serving":
            self._restore(before, _why(seen))
        serves = f"goes on serving version {before.version}"
        raise TargetError(f"The endpoint {self.name!r} could not be updated and {serves}: {_why(seen)}.")

    def delete(self) -> bool:
        """Delete it and wait until it is gone; return whether it was there."""
        if self.look() is None:
            return False
        with explained(f"Deleting the endpoint {self.name!r}"):
            self._client.delete_endpoint(EndpointName=self.name)
        try:
            patience.until(self.look, lambda seen: seen is None, self._seconds)
        except patience.TooLong:
            raise TargetError(f"The endpoint {self.name!r} is not gone after {self._seconds:g} seconds.") from None
        return True

    def _give_up(self, error: BaseException) -> None:
        """Remove what was being made: an endpoint costs money, whether it serves or not."""
        try:
            seen = self.look()
            if seen and self.is_ours(seen):
                self.delete()
        except (InputError, TargetError) as second:
            raise TargetError(
                f"{error} It could not be removed, and costs money: run again with --delete. {second}"
            ) from error

    def _restore(self, before: Seen, why: str) -> None:
        """Let the configuration before serve again; of an endpoint that failed for good it takes a new one."""
        log.warning("The endpoint %s failed while it was updated: %s.", self.name, why)
        with explained(f"Looking at the tags of the endpoint {self.name!r}"):
            tags = self._client.list_tags(ResourceArn=before.arn)["Tags"]
        with suppress(InputError):  # SageMaker's own documentation allows no update here, yet some states take one
            with explained(f"Updating the endpoint {self.name!r}"):
                self._client.update_endpoint(EndpointName=self.name, EndpointConfigName=before.config)
            seen = self.settled()
            if seen and seen.state == "serving" and seen.config == before.config:
                return
        self.delete()
        self.create(before.config, tags)


def _why(seen: Seen | None) -> str:
    return seen.reason if seen and seen.reason else "SageMaker does not say why"
