"""How is the service run as a function of AWS Lambda?"""

import base64
import json
import logging
from typing import TYPE_CHECKING, Any

from diascope.aws import client, explained
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets.buckets import check_bucket
from targets.ecr import check_image
from targets.lambda_request import (
    KEY,
    LIVE,
    MOST,
    alias_of,
    configuration,
    described,
    event,
    function_name,
    same,
    version_of,
)
from targets.lambda_url import FunctionUrl
from targets.lambda_versions import Function
from targets.roles import role_arn
from targets.tags import tags_of
from targets.target import Deployed, Service, State, Status, TargetError

if TYPE_CHECKING:
    from boto3 import Session

PRINCIPAL = "lambda.amazonaws.com"

log = logging.getLogger(__name__)


class LambdaTarget:
    """Functions of AWS Lambda, one for each service; its alias `live` is what serves."""

    name = "lambda"

    def __init__(self, settings: DeploymentSettings, session: "Session") -> None:
        self._all = settings
        self._settings = settings.lambda_function
        self._session = session
        self._client = client(session, "lambda")

    def check(self, service: str) -> None:
        """Raise InputError where role or bucket are missing, or the function is somebody else's."""
        configuration(self._all, role_arn(self._session, self._settings.role, PRINCIPAL))
        if self._settings.results:
            check_bucket(self._session, self._settings.results)
        self._function(service).ours()

    def deploy(self, service: Service) -> Deployed:
        """Publish a version, let it answer, move the alias `live` to it, and keep the last few versions."""
        check_image(self._session, service.image, "Lambda")
        options = configuration(self._all, role_arn(self._session, self._settings.role, PRINCIPAL))
        function = self._function(service.name)
        before = function.ours()
        live = function.aliases().get(LIVE) if before else None
        if before and live is None:  # what an interrupted first deployment left
            function.delete()
            before = None
        if live is None:
            number = self._first(function, service, options)
        elif self._is(function.look(live), service, options):
            number = live
        else:
            number = self._next(function, service, options, live)
        return self._serve(function, service, number, live)

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Let the version that serves answer one image, by the event that a function URL makes of a request."""
        if len(image) > MOST:
            raise InputError(
                f"Lambda takes images of {MOST / 1e6:g} MB in a request, and this one has {len(image) / 1e6:.1f} MB: "
                "put it into a bucket."
            )
        function = self._function(service)
        reply = function.call(LIVE, event("POST", "/invocations", self._key(function), image))
        try:
            content = json.loads(_body(reply))
        except ValueError:
            content = None
        if not isinstance(content, dict) or not content.keys() & {"label", "error"}:
            raise TargetError(f"The function {function.name!r} is another service: it does not answer as a classifier.")
        if reply["statusCode"] != 200:
            raise TargetError(f"The function {function.name!r} did not answer an image: {content.get('error')}")
        return content

    def roll_back(self, deployed: Deployed) -> None:
        """Let the version before serve again, and remove the new one; without one before, remove everything."""
        before, new = deployed.resources.get("previous_number"), deployed.resources["number"]
        if before is None:
            self.delete(deployed.service)
        elif before != new:  # else it was there already: nothing was changed that could be taken back
            self._take_back(self._function(deployed.service), new, before, deployed.previous)

    def status(self, service: str) -> Status:
        """How the function is doing."""
        function = self._function(service)
        seen = function.look()
        if seen is None or not function.is_ours(seen):
            other = " There is one, but it is not Diascope's." if seen else ""
            detail = f"There is no function {function.name!r} in {self._session.region_name}.{other}"
            return Status(target=self.name, service=service, state="absent", version=None, url=None, detail=detail)
        live = function.look(LIVE)
        if live is None:
            detail = "Its first deployment has not ended; run it again."
            return Status(target=self.name, service=service, state="creating", version=None, url=None, detail=detail)
        found, url = live["Configuration"], FunctionUrl(self._client, function.name).look()
        return Status(
            target=self.name,
            service=service,
            state=_state(found),
            version=self._model_version(function, found["Version"]),
            url=url["FunctionUrl"].rstrip("/") if url else None,
            detail=_detail(found),
        )

    def delete(self, service: str) -> list[str]:
        """Remove the function with all its versions, aliases and its URL."""
        function = self._function(service)
        if function.ours() is None:
            return []
        removed = [f"alias {name}" for name in function.aliases()]
        function.delete()
        return [f"function {function.name}", *removed]

    def _first(self, function: Function, service: Service, options: dict[str, Any]) -> str:
        """Make the function; where it does not answer, nothing is left of it."""
        tags = tags_of(service, self._settings.tags)
        try:
            function.create(service.image, self._settings.architecture, options | _about(service), tags)
            number = function.publish(described(service))
            self._try(function, number, options)
        except BaseException:
            made = function.look()
            if made and function.is_ours(made):
                function.delete()
            raise
        return number

    def _next(self, function: Function, service: Service, options: dict[str, Any], live: str) -> str:
        """Publish the next version; where it does not answer, nothing is left of it."""
        number = None
        try:
            function.change(service.image, self._settings.architecture, options | _about(service))
            number = function.publish(described(service))
            self._try(function, number, options)
        except BaseException as error:
            try:
                self._discard(function, number, live)
            except (InputError, TargetError) as second:
                raise TargetError(f"{error} The version before goes on serving, but: {second}") from error
            raise
        return number

    def _serve(self, function: Function, service: Service, number: str, live: str | None) -> Deployed:
        """Let a version that has answered serve; where something is missing for it, the one before goes on."""
        about = described(service)
        before = self._model_version(function, live) if live else None
        try:
            function.point(alias_of(service.version), number, about)
            function.point(LIVE, number, about)
            url = FunctionUrl(self._client, function.name).set(self._settings.auth)
            self._reserve(function)
        except BaseException:
            if live is None:
                function.delete()
            elif live != number:
                self._take_back(function, number, live, before)
            raise
        resources = {"function": function.name, "number": number, "region": str(self._session.region_name)}
        self._tidy(function, live)
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=url,
            resources=resources | ({"previous_number": live} if live else {}),
            previous=before,
        )

    def _try(self, function: Function, number: str, options: dict[str, Any]) -> None:
        reply = function.call(number, event("GET", "/ping", options["Environment"]["Variables"].get(KEY)))
        if reply["statusCode"] != 200:
            raise TargetError(
                f"The function {function.name!r} is not ready: it answers {reply['statusCode']} to /ping."
            )

    def _take_back(self, function: Function, new: str, before: str, version: int | None) -> None:
        """Let the version before serve, and remove the new one with its aliases."""
        about = (function.look(before) or {}).get("Configuration", {}).get("Description", "")
        function.point(LIVE, before, about)
        if version is not None:
            function.point(alias_of(version), before, about)
        aliases = function.aliases()
        for alias in [name for name, number in aliases.items() if number == new and version_of(name) is not None]:
            function.remove_alias(alias)
        self._discard(function, new, before)

    def _discard(self, function: Function, number: str | None, live: str) -> None:
        """Remove a version that shall not serve, and let the unpublished one be again what serves."""
        if number is not None and number not in function.aliases().values():
            function.remove_version(number)
        seen = function.look(live)
        if seen:
            found = seen["Configuration"]
            options = {key: found[key] for key in ("Role", "MemorySize", "Timeout", "Description") if key in found}
            options["Environment"] = {"Variables": found.get("Environment", {}).get("Variables", {})}
            architecture = found.get("Architectures", [self._settings.architecture])[0]
            function.change(seen["Code"]["ImageUri"], architecture, options)

    def _is(self, seen: dict[str, Any] | None, service: Service, options: dict[str, Any]) -> bool:
        if seen is None:
            return False
        found = seen["Configuration"]
        alike = seen["Code"].get("ImageUri") == service.image and same(options, found)
        return alike and found.get("Architectures", [self._settings.architecture]) == [self._settings.architecture]

    def _reserve(self, function: Function) -> None:
        """Give the function its share of the account's concurrency, or let it have what is free."""
        with explained(f"Reserving concurrency for the function {function.name!r}"):
            if self._settings.concurrency:
                self._client.put_function_concurrency(
                    FunctionName=function.name, ReservedConcurrentExecutions=self._settings.concurrency
                )
            else:
                self._client.delete_function_concurrency(FunctionName=function.name)

    def _tidy(self, function: Function, live: str | None) -> None:
        try:
            function.forget(self._settings.keep, {live} if live else set())
        except InputError as error:  # the new version serves, and what is left costs nothing
            log.warning("Older versions stay in Lambda: %s", error)

    def _model_version(self, function: Function, number: str) -> int | None:
        """The model version that a version of the function is."""
        aliases = function.aliases()
        found = [version for name, each in aliases.items() if each == number and (version := version_of(name))]
        return max(found, default=None)

    def _key(self, function: Function) -> str | None:
        live = function.look(LIVE)
        if live is None:
            raise InputError(f"There is no service in the function {function.name!r}: deploy it first.")
        key = live["Configuration"].get("Environment", {}).get("Variables", {}).get(KEY)
        return str(key) if key else None

    def _function(self, service: str) -> Function:
        return Function(self._client, function_name(service, self._settings), service, self._settings.timeout)


def _about(service: Service) -> dict[str, str]:
    return {"Description": described(service)}


def _body(reply: dict[str, Any]) -> bytes:
    text = str(reply.get("body", ""))
    return base64.b64decode(text) if reply.get("isBase64Encoded") else text.encode()


def _state(found: dict[str, Any]) -> State:
    if found.get("LastUpdateStatus") == "InProgress":
        return "updating"
    states: dict[str, State] = {"Pending": "creating", "Failed": "failed", "Active": "serving", "Inactive": "serving"}
    return states.get(found.get("State", "Active"), "failed")


def _detail(found: dict[str, Any]) -> str:
    why = found.get("StateReason") or found.get("LastUpdateStatusReason")
    if found.get("State") == "Inactive":
        return "Nobody has called it for weeks: the first call wakes it, and fails."
    return str(why) if why else f"Version {found['Version']} of the function runs with {found['MemorySize']} MB."
