"""How does a function come from one version to the next?"""

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from diascope.aws import error_code, explained
from diascope.errors import InputError
from targets import patience
from targets.lambda_request import LIVE, same, version_of
from targets.tags import SERVICE
from targets.target import TargetError

ABSENT = "ResourceNotFoundException"
BUSY = "ResourceConflictException"  # something else is being done to it
ASSUMING = 30.0  # seconds until a new role can be taken on

log = logging.getLogger(__name__)


class Function:
    """One function, its versions and its aliases."""

    def __init__(self, client: Any, name: str, service: str, seconds: float) -> None:
        self._client = client
        self.name = name
        self._service = service
        self._seconds = seconds

    def look(self, qualifier: str = "$LATEST") -> dict[str, Any] | None:
        """Return what Lambda tells of one version of it, if it is there: `Configuration`, `Code` and `Tags`."""
        try:
            with explained(f"Looking at the function {self.name!r}"):
                return dict(self._client.get_function(FunctionName=self.name, Qualifier=qualifier))
        except InputError as error:
            if error_code(error) == ABSENT:
                return None
            raise

    def is_ours(self, seen: Mapping[str, Any]) -> bool:
        """Return whether we made it, for this service; raises InputError where its tags may not be seen."""
        if seen.get("TagsError"):
            raise InputError(
                f"The tags of the function {self.name!r}, which tell whether it is ours, cannot be read: allow "
                "lambda:ListTags to the credentials in use."
            )
        return bool(seen.get("Tags", {}).get(SERVICE) == self._service)

    def ours(self) -> dict[str, Any] | None:
        """Return the function, if it is there; raises InputError where somebody else has made it."""
        seen = self.look()
        if seen and not self.is_ours(seen):
            raise InputError(
                f"There is a function {self.name!r} already that Diascope did not make for {self._service!r} "
                f"(it has no tag {SERVICE}={self._service}): name another one in deployment.lambda_function.function."
            )
        return seen

    def create(self, image: str, architecture: str, options: dict[str, Any], tags: dict[str, str]) -> None:
        """Make the function and wait until it can be called; raises InputError, TargetError."""
        asked = {"FunctionName": self.name, "PackageType": "Image", "Code": {"ImageUri": image}, "Tags": tags}
        asked |= {"Architectures": [architecture], **options}
        self._once_assumed(lambda: self._client.create_function(**asked), f"Making the function {self.name!r}", image)
        self._ready("$LATEST")

    def change(self, image: str, architecture: str, options: dict[str, Any]) -> None:
        """Let the unpublished version, which serves nobody, be as given, and wait; raises InputError, TargetError."""
        seen = self._ready("$LATEST")
        found = seen["Configuration"]
        if seen["Code"].get("ImageUri") != image or found.get("Architectures", [architecture]) != [architecture]:
            asked = {"FunctionName": self.name, "ImageUri": image, "Architectures": [architecture]}
            doing = f"Giving the function {self.name!r} its image"
            self._once_assumed(lambda: self._client.update_function_code(**asked), doing, image)
            self._ready("$LATEST")
        if not same(options, found):
            doing = f"Configuring the function {self.name!r}"
            change = {"FunctionName": self.name, **options}
            self._once_assumed(lambda: self._client.update_function_configuration(**change), doing, image)
            self._ready("$LATEST")

    def publish(self, description: str) -> str:
        """Publish what the unpublished version is and return its number, where nothing has changed the last one."""
        with explained(f"Publishing a version of the function {self.name!r}"):
            number = str(self._client.publish_version(FunctionName=self.name, Description=description)["Version"])
        self._ready(number)
        return number

    def call(self, qualifier: str, event: dict[str, Any]) -> dict[str, Any]:
        """Let a version answer an event and return its reply; raises InputError, TargetError."""
        with explained(f"Calling the function {self.name!r}"):
            said = self._client.invoke(FunctionName=self.name, Qualifier=qualifier, Payload=json.dumps(event).encode())
            content = said["Payload"].read()
        try:
            reply = json.loads(content)
        except ValueError:
            reply = None
        if said.get("FunctionError") or not isinstance(reply, dict) or "statusCode" not in reply:
            why = reply.get("errorMessage") if isinstance(reply, dict) else None
            raise TargetError(f"The function {self.name!r} did not answer: {why or 'it does not say why'}.")
        return reply

    def aliases(self) -> dict[str, str]:
        """Return which version each alias is for."""
        with explained(f"Listing the aliases of the function {self.name!r}"):
            pages = self._client.get_paginator("list_aliases").paginate(FunctionName=self.name)
            return {each["Name"]: each["FunctionVersion"] for page in pages for each in page["Aliases"]}

    def point(self, alias: str, number: str, description: str) -> None:
        """Let an alias be for a version."""
        asked = {"FunctionName": self.name, "Name": alias, "FunctionVersion": number, "Description": description}
        with explained(f"Moving the alias {alias!r} of the function {self.name!r}"):
            if alias in self.aliases():
                self._client.update_alias(**asked)
            else:
                self._client.create_alias(**asked)

    def remove_alias(self, alias: str) -> None:
        """Remove an alias."""
        with explained(f"Removing the alias {alias!r} of the function {self.name!r}"):
            self._client.delete_alias(FunctionName=self.name, Name=alias)

    def remove_version(self, number: str) -> None:
        """Remove a version that no alias is for."""
        with explained(f"Removing version {number} of the function {self.name!r}"):
            self._client.delete_function(FunctionName=self.name, Qualifier=number)

    def forget(self, most: int, also: Collection[str]) -> None:
        """Keep the aliases of the last `most` model versions; what no alias is for goes, but for versions in `also`."""
        aliases = self.aliases()
        models = sorted((found for name in aliases if (found := version_of(name)) is not None), reverse=True)
        needed = {*also, aliases.get(LIVE, "")}
        for model in models[most:]:
            if aliases[f"v{model}"] not in needed:
                self.remove_alias(f"v{model}")
                del aliases[f"v{model}"]
        for number in self.numbers():
            if number not in needed and number not in aliases.values():
                self.remove_version(number)

    def numbers(self) -> list[str]:
        """Return the numbers of all published versions."""
        with explained(f"Listing the versions of the function {self.name!r}"):
            pages = self._client.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
            numbers = [each["Version"] for page in pages for each in page["Versions"]]
        return [number for number in numbers if number != "$LATEST"]

    def delete(self) -> None:
        """Delete it with all versions, aliases and its URL."""
        with explained(f"Deleting the function {self.name!r}"):
            self._client.delete_function(FunctionName=self.name)

    def _ready(self, qualifier: str) -> dict[str, Any]:
        """Wait until a version can be called, and return it."""

        def settled(seen: dict[str, Any] | None) -> bool:
            found = (seen or {}).get("Configuration", {})
            return found.get("State") != "Pending" and found.get("LastUpdateStatus") != "InProgress"

        try:
            seen = patience.until(lambda: self.look(qualifier), settled, self._seconds)
        except patience.TooLong:
            raise TargetError(
                f"The function {self.name!r} is not ready after {self._seconds:g} seconds; run again later."
            ) from None
        if seen is None:
            raise TargetError(f"The function {self.name!r} was removed while it was being deployed.")
        found = seen["Configuration"]
        if found.get("State") == "Failed" or found.get("LastUpdateStatus") == "Failed":
            why = found.get("StateReason") or found.get("LastUpdateStatusReason") or "Lambda does not say why"
            raise TargetError(f"The function {self.name!r} cannot run: {str(why).rstrip('.')}.")
        return seen

    def _once_assumed(self, call: Callable[[], object], doing: str, image: str) -> None:
        """Do what needs role and image; Lambda cannot take on a role yet that was made seconds ago."""

        def attempt() -> InputError | None:
            try:
                with explained(doing):
                    call()
            except InputError as error:
                if "cannot be assumed" not in str(error):
                    raise _clearer(error, image) from error
                return error
            return None

        error: InputError | None = None
        with suppress(patience.TooLong):
            error = patience.until(attempt, lambda failed: failed is None, ASSUMING)
            return
        error = attempt()
        if error is not None:
            raise error


def _clearer(error: InputError, image: str) -> InputError:
    code, text = error_code(error), str(error.__cause__)
    if "ECR" in text and code == "AccessDeniedException":
        return InputError(
            f"Lambda may not take {image}: allow lambda.amazonaws.com ecr:BatchGetImage and ecr:GetDownloadUrlForLayer "
            "in the policy of the repository (Terraform in stacks/aws does)."
        )
    if "media type" in text or "manifest" in text:
        return InputError(
            f"Lambda does not take {image}, which is more than one plain image: build it with "
            "BUILDX_NO_DEFAULT_ATTESTATIONS=1 and for one platform."
        )
    if "Source image" in text or "does not exist" in text:
        return InputError(f"{image} is not in the registry: it was not pushed, or removed; deploy anew.")
    if code == BUSY:
        return InputError(f"{str(error).rstrip('.')}: somebody else is changing the function; wait, and run again.")
    return error
