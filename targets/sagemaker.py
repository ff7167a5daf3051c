"""How is the service run on an endpoint of SageMaker?"""

import json
import logging
from typing import TYPE_CHECKING, Any

from diascope.aws import client, error_code, explained
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets.autoscaling import Scaling
from targets.buckets import check_bucket
from targets.ecr import check_image, is_in_ecr
from targets.roles import role_arn
from targets.sagemaker_endpoint import BUSY, Endpoint, Seen, Unsettled
from targets.sagemaker_parts import Parts
from targets.sagemaker_request import VARIANT, Plan, capture_place, endpoint_name, plan, update_options
from targets.target import Deployed, Service, Status, TargetError

if TYPE_CHECKING:
    from boto3 import Session

PRINCIPAL = "sagemaker.amazonaws.com"
PICTURE = "application/octet-stream"

log = logging.getLogger(__name__)


class SagemakerTarget:
    """Endpoints of SageMaker, one for each service."""

    name = "sagemaker"

    def __init__(self, settings: DeploymentSettings, session: "Session") -> None:
        self._all = settings
        self._settings = settings.sagemaker
        self._session = session
        self._client = client(session, "sagemaker")

    def check(self, service: str) -> None:
        """Raise InputError where role or bucket are missing, or the endpoint is somebody else's."""
        role_arn(self._session, self._settings.role, PRINCIPAL)
        if place := capture_place(self._settings):
            check_bucket(self._session, place)
        self._endpoint(service).ours()

    def deploy(self, service: Service) -> Deployed:
        """Create or update the endpoint, wait until it serves, and remove what is older than the version before."""
        if is_in_ecr(service.image):
            check_image(self._session, service.image, "SageMaker")
        wanted = plan(service, self._all, role_arn(self._session, self._settings.role, PRINCIPAL))
        endpoint = self._endpoint(service.name)
        endpoint.ours()
        before = endpoint.settled()
        if before and before.state == "failed":  # nothing but this can be done to it
            endpoint.delete()
            before = None
        new = before is None or before.config != wanted.config_name
        if new:
            self._bring(service.name, endpoint, before, wanted)
        deployed = self._deployed(service, endpoint, wanted, before)
        try:
            self._scaling(endpoint).set(self._settings)
        except BaseException:
            self.roll_back(deployed)
            raise
        if new:
            self._tidy(service.name, wanted, before)
        return deployed

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Let the endpoint answer one image, by InvokeEndpoint."""
        name = endpoint_name(service, self._settings)
        try:
            with explained(f"Asking the endpoint {name!r}"):
                said = self._runtime.invoke_endpoint(EndpointName=name, ContentType=PICTURE, Body=image)
                content = said["Body"].read()
        except InputError as error:
            if error_code(error) == "ModelError":
                raise TargetError(f"The endpoint {name!r} did not answer an image: {_models_words(error)}") from error
            raise
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "label" not in answer:
            raise TargetError(f"The endpoint {name!r} is another service: it does not answer as a classifier does.")
        return answer

    def roll_back(self, deployed: Deployed) -> None:
        """Let the configuration before serve again, and remove the new one; without one before, remove everything."""
        before, new = deployed.resources.get("previous_config"), deployed.resources["endpoint_config"]
        if before is None:
            self.delete(deployed.service)
        elif before != new:  # else it was there already: nothing was changed that could be taken back
            self._switch(deployed.service, self._endpoint(deployed.service), before)
            self._parts(deployed.service).forget(keep={before})

    def status(self, service: str) -> Status:
        """How the endpoint is doing."""
        endpoint = self._endpoint(service)
        seen = endpoint.look()
        if seen is None or not endpoint.is_ours(seen):
            other = " There is one, but it is not Diascope's." if seen else ""
            detail = f"There is no endpoint {endpoint.name!r} in {self._session.region_name}.{other}"
            return Status(target=self.name, service=service, state="absent", version=None, url=None, detail=detail)
        kind = self._parts(service).instance_type(seen.config)
        detail = f"{seen.reason}." if seen.reason else f"It runs on {kind}." if kind else "It is serverless."
        url = self._url(endpoint.name)
        return Status(target=self.name, service=service, state=seen.state, version=seen.version, url=url, detail=detail)

    def delete(self, service: str) -> list[str]:
        """Remove the endpoint with its autoscaling, and every configuration and model of it."""
        endpoint = self._endpoint(service)
        removed: list[str] = []
        if endpoint.ours():
            endpoint.settled()  # nothing can be deleted that is on its way
            removed += ["autoscaling"] * self._scaling(endpoint).remove()
            removed += [f"endpoint {endpoint.name}"] * endpoint.delete()
        return removed + self._parts(service).forget()

    def _bring(self, service: str, endpoint: Endpoint, before: Seen | None, wanted: Plan) -> None:
        """Let the endpoint serve what is wanted; where it does not, nothing new is left."""
        parts = self._parts(service)
        try:
            if before:
                self._check_kind(parts.instance_type(before.config))
            parts.make(wanted)
            if before is None:
                endpoint.create(wanted.config_name, wanted.tags)
            else:
                self._switch(service, endpoint, wanted.config_name)
        except Unsettled:
            raise  # SageMaker goes on, and needs what was made
        except BaseException as error:
            try:
                now = endpoint.look()
                if now is None or now.state not in BUSY:  # interrupted: SageMaker goes on, too
                    shared = before is not None and parts.model(before.config) == wanted.model_name
                    parts.remove(wanted.config_name, None if shared else wanted.model_name)
            except InputError as second:
                raise TargetError(f"{error} {second} Run again with --delete to remove what is left.") from error
            raise

    def _switch(self, service: str, endpoint: Endpoint, config: str) -> None:
        """Update the endpoint; instances that autoscaling has added stay, unless they become others."""
        seen, scaling, parts = endpoint.look(), self._scaling(endpoint), self._parts(service)
        registered = scaling.current()
        moves = seen is not None and parts.instance_type(seen.config) != parts.instance_type(config)
        options = update_options(self._settings, retain=registered is not None and not moves)
        if registered and moves:  # SageMaker refuses other instances while they scale
            scaling.remove()
        try:
            endpoint.update(config, options)
        except Unsettled:
            raise
        except BaseException:
            if registered and moves:
                scaling.put_back(registered)
            raise

    def _check_kind(self, instance_type: str | None) -> None:
        if (instance_type is None) != self._settings.serverless:
            now = "serverless" if instance_type is None else f"on {instance_type}"
            raise InputError(
                f"The endpoint is {now}, and SageMaker takes no way back from changing that: remove it first "
                "(--delete), or name another one in deployment.sagemaker.endpoint."
            )

    def _tidy(self, service: str, wanted: Plan, before: Seen | None) -> None:
        keep = {wanted.config_name} | ({before.config} if before else set())
        try:
            self._parts(service).forget(keep)
        except InputError as error:  # the new version serves, and what is left costs nothing
            log.warning("Older versions stay in SageMaker: %s", error)

    def _deployed(self, service: Service, endpoint: Endpoint, wanted: Plan, before: Seen | None) -> Deployed:
        resources = {
            "endpoint": endpoint.name,
            "endpoint_config": wanted.config_name,
            "model": wanted.model_name,
            "region": str(self._session.region_name),
        }
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=self._url(endpoint.name),
            resources=resources | ({"previous_config": before.config} if before else {}),
            previous=before.version if before else None,
        )

    def _url(self, endpoint: str) -> str:
        return f"{self._runtime.meta.endpoint_url}/endpoints/{endpoint}/invocations"

    @property
    def _runtime(self) -> Any:
        return client(self._session, "sagemaker-runtime")

    def _scaling(self, endpoint: Endpoint) -> Scaling:
        return Scaling(self._session, endpoint.name, VARIANT)

    def _parts(self, service: str) -> Parts:
        return Parts(self._client, endpoint_name(service, self._settings), service)

    def _endpoint(self, service: str) -> Endpoint:
        return Endpoint(self._client, endpoint_name(service, self._settings), service, self._settings.timeout)


def _models_words(error: InputError) -> str:
    """What the container said, as SageMaker passes it on."""
    response = getattr(error.__cause__, "response", {})
    message = str(response.get("OriginalMessage") or response.get("Error", {}).get("Message") or "it does not say why")
    try:
        return str(json.loads(message)["error"])
    except (ValueError, KeyError, TypeError):
        return " ".join(message.split())
