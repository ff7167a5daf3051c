"""How does a model serve on Amazon ECS, on Fargate behind a load balancer?"""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets.calling import invoke
from targets.ecr import check_image, is_in_ecr
from targets.ecs_balancer import Balancer
from targets.ecs_network import Groups, Network, find_network
from targets.ecs_service import EcsService
from targets.ecs_task import CONFIGURED, Logs, Tasks
from targets.naming import short_name
from targets.tags import MODEL, SERVICE, VERSION
from targets.target import Deployed, Service, State, Status, TargetError

if TYPE_CHECKING:
    from boto3 import Session

log = logging.getLogger(__name__)

LONGEST = 63
HTTPS = 443
NAME_SECONDS = 300.0  # until everybody knows the address of a new load balancer
INSIDE_SECONDS = 60.0  # until one gives up that asks an internal one, perhaps from outside


class EcsTarget:
    """A service, its load balancer and what both need, all named after the model."""

    name = "ecs"

    def __init__(self, settings: DeploymentSettings, session: "Session") -> None:
        self.settings = settings
        self._session = session
        self._known: dict[str, Parts] = {}

    def check(self, service: str) -> None:
        """Raise InputError where a role or the network is missing, or the load balancer would have to be another."""
        parts = self._parts(service)
        self._whose(service, parts)
        parts.tasks.check()
        find_network(self._session, self.settings.ecs)
        parts.balancer.check(self.settings.ecs)

    def deploy(self, service: Service) -> Deployed:
        """Create or update, and wait until every task is of this version; else what was there goes on."""
        parts = self._parts(service.name)
        self._whose(service.name, parts)
        if is_in_ecr(service.image):
            check_image(self._session, service.image, "ECS")
        network = find_network(self._session, self.settings.ecs)
        parts.balancer.check(self.settings.ecs)
        before = parts.service.task()
        labels = parts.tasks.labels(before) if before else {}
        try:
            parts.logs.ensure(self.settings.ecs.log_days, self._tags(service))
            task = self._task(parts, service, before, labels)
            address = self._serve(parts, service, network, task)
        except BaseException as error:  # also where somebody interrupts
            self._undo(parts, before, error)
            raise
        self._prune(parts, task, before)
        resources = {"task definition": task, "load balancer": address, "cluster": self.settings.ecs.cluster}
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=self._url(address),
            resources=resources | ({"task definition before": before} if before and before != task else {}),
            previous=int(labels.get(VERSION, 0)) if before else None,
        )

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Ask the load balancer, under the name of its certificate if it has one."""
        found = self._parts(service).balancer.find()
        if found is None:
            raise TargetError(f"The service {service!r} has no load balancer.")
        scheme = "https" if self.settings.ecs.certificate else "http"
        internal = found.scheme == "internal"
        patience = INSIDE_SECONDS if internal else NAME_SECONDS
        try:
            return invoke(f"{scheme}://{found.address}", image, patience=patience, host=self.settings.ecs.host)
        except TargetError as error:
            if not internal or "does not answer" not in str(error):
                raise
            raise InputError(
                f"{error} It can be reached from its VPC alone: deploy from there, let networks in with "
                "deployment.ecs.allow, or leave it to the health checks with --set deployment.images=0."
            ) from error

    def roll_back(self, deployed: Deployed) -> None:
        """Let the service go back to the task definition before; without one, remove everything."""
        parts = self._parts(deployed.service)
        if deployed.previous is None:
            self.delete(deployed.service)
        elif before := deployed.resources.get("task definition before"):
            parts.service.go_back(before)
            parts.tasks.remove(but=(before,))

    def status(self, service: str) -> Status:
        """What ECS says of the service."""
        parts = self._parts(service)
        self._whose(service, parts)
        found, balancer = parts.service.find(), parts.balancer.find()
        url = self._url(balancer.address) if balancer else None
        if found is None:
            state: State = "failed" if balancer else "absent"
            left = "its load balancer is left, the service is gone: run --delete, or deploy it again"
            nothing = f"there is no service {parts.service.name!r} in cluster {self.settings.ecs.cluster!r}"
            return self._status(service, state, None, url, left if balancer else nothing)
        version = int(parts.tasks.labels(found["taskDefinition"]).get(VERSION, 0))
        state, detail = _state(found)
        if state == "failed":
            detail = f"{detail}: {parts.service.reason(found['taskDefinition'])}"
        return self._status(service, state, version, url, detail)

    def delete(self, service: str) -> list[str]:
        """Remove everything of the service; the cluster stays, it costs nothing."""
        parts = self._parts(service)
        self._whose(service, parts)
        removed = parts.service.remove()
        removed += parts.balancer.remove()
        removed += parts.groups.remove()
        removed += parts.tasks.remove()
        return removed + parts.logs.remove()

    def _task(self, parts: "Parts", service: Service, before: str | None, labels: dict[str, str]) -> str:
        """The task definition that is wanted: the one before where nothing differs, else a new revision."""
        request = parts.tasks.request(service)
        if before and request["containerDefinitions"][0]["dockerLabels"][CONFIGURED] == labels.get(CONFIGURED):
            return before
        return parts.tasks.register(request, self._tags(service) | {VERSION: str(service.version)})

    def _serve(self, parts: "Parts", service: Service, network: Network, task: str) -> str:
        """Bring everything to the state that is asked for, and return the load balancer's address."""
        settings, tags = self.settings.ecs, self._tags(service)
        parts.service.ensure_cluster(settings.tags)
        parts.groups.ensure(network, settings, _registry_ports(service.image), tags)
        balancer_group, group = parts.groups.find("balancer", network.vpc), parts.groups.find("service", network.vpc)
        assert balancer_group is not None
        assert group is not None
        balancer, targets = parts.balancer.ensure(network, balancer_group, settings, tags)
        parts.service.run(task, network, group, targets, tags | {VERSION: str(service.version)})
        parts.service.wait(task)
        parts.balancer.wait()
        parts.service.scale(tags)
        return balancer.address

    def _undo(self, parts: "Parts", before: str | None, error: BaseException) -> None:
        """Go back to what was there; without anything, remove what was made."""
        try:
            if before is None:
                self.delete(parts.name)
                return
            present = parts.service.find()
            if present and present["taskDefinition"] != before:
                parts.service.go_back(before)
            elif present:  # the circuit breaker has gone back already
                with suppress(TargetError):  # which what went wrong has told
                    parts.service.wait(before)
            parts.tasks.remove(but=(before,))
        except Exception as second:
            raise TargetError(f"{error} Going back failed, too: {second}") from error

    def _prune(self, parts: "Parts", task: str, before: str | None) -> None:
        """Take older revisions out of use; one that stays does no harm, and is tried again the next time."""
        try:
            parts.tasks.remove(but=(task, before) if before else (task,))
        except InputError as error:
            log.warning("%s", error)

    def _whose(self, service: str, parts: "Parts") -> None:
        """Raise InputError where what is there is not this service's."""
        there = {
            f"service {parts.service.name!r} in cluster {self.settings.ecs.cluster!r}": parts.service.tags(),
            f"load balancer of {parts.service.name!r}": parts.balancer.tags(),
        }
        for what, tags in there.items():
            if tags is not None and tags.get(SERVICE) != service:
                whose = f"of the model {tags[MODEL]!r}" if MODEL in tags else "made by somebody else"
                raise InputError(
                    f"There is a {what} {whose}: remove it, or choose another cluster or another name for the model."
                )

    def _tags(self, service: Service) -> dict[str, str]:
        return {**self.settings.ecs.tags, SERVICE: service.name, MODEL: service.model}

    def _url(self, address: str) -> str:
        host = self.settings.ecs.host
        return f"https://{host}" if host else f"http://{address}"

    def _status(self, service: str, state: State, version: int | None, url: str | None, detail: str) -> Status:
        return Status(target=self.name, service=service, state=state, version=version, url=url, detail=detail)

    def _parts(self, service: str) -> "Parts":
        if service not in self._known:
            self._known[service] = Parts(self._session, service, self.settings)
        return self._known[service]


class Parts:
    """What a service on ECS consists of."""

    def __init__(self, session: "Session", service: str, settings: DeploymentSettings) -> None:
        plain = short_name(service, LONGEST)
        self.name = service
        self.tasks = Tasks(session, plain, settings)
        self.logs = Logs(session, self.tasks.log_group)
        self.groups = Groups(session, plain)
        self.balancer = Balancer(session, plain)
        self.service = EcsService(session, plain, settings.ecs)


def _state(found: dict[str, Any]) -> tuple[State, str]:
    """How a service is doing, by its newest deployment."""
    counted = f"{found['runningCount']} of {found['desiredCount']} tasks run"
    if found["status"] == "DRAINING":
        return "deleting", "it is being removed"
    primary: dict[str, Any] = next((each for each in found["deployments"] if each["status"] == "PRIMARY"), {})
    rollout = primary.get("rolloutState")
    if rollout == "FAILED":
        return "failed", counted
    if rollout == "COMPLETED":
        return "serving", counted
    return ("updating" if len(found["deployments"]) > 1 else "creating"), counted


def _registry_ports(image: str) -> set[int]:
    """The ports that the tasks need to reach the registry and their log."""
    port = image.partition("/")[0].partition(":")[2]
    return {HTTPS, int(port)} if port.isdecimal() else {HTTPS}
