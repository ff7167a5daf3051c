"""How does a model serve in a Kubernetes cluster?"""

import weakref
from typing import Any

from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets.calling import invoke
from targets.kubectl import Forward, Kubectl
from targets.manifests import object_name, render, write
from targets.target import Deployed, Service, State, Status, TargetError

KINDS = "deployment,service,horizontalpodautoscaler,poddisruptionbudget,networkpolicy,ingress,serviceaccount"
MODEL, SERVICE, VERSION = "diascope/model", "diascope/service", "app.kubernetes.io/version"
REVISION = "deployment.kubernetes.io/revision"
PORT = 3000
WAIT = 30.0  # seconds that `rollout status` waits for longer than the cluster, whose sentence is the better one


class KubernetesTarget:
    """A Deployment with everything around it, made from one template; where no cluster is configured, the manifests."""

    name = "kubernetes"

    def __init__(self, settings: DeploymentSettings) -> None:
        self.settings = settings
        self.kubectl = Kubectl(settings.kubernetes.context, settings.kubernetes.namespace)
        self._forwarded: dict[str, Forward] = {}
        weakref.finalize(self, _close, self._forwarded)  # also when Python ends

    def check(self, service: str) -> None:
        """Raise InputError where the cluster does not answer, lets nobody in, or has another model of this name."""
        if not self.kubectl.is_configured():
            return
        self._namespace_is_there()
        self._find(service)
        self._may("patch", "deployments.apps")

    def deploy(self, service: Service) -> Deployed:
        """Apply the manifests and wait until every replica is of this version; else what was there is there again."""
        text = render(service, self.settings)
        path = write(text, service.name, self.settings.kubernetes.folder)
        command = f"kubectl apply --server-side -f {path}"
        if not self.kubectl.is_configured():
            resources = {"manifests": str(path), "next": command}
            return self._told(service, "", resources, None)
        _close(self._forwarded)
        old = self._find(service.name)
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=diascope", "--filename=-")
        self.kubectl.run(*apply, "--dry-run=server", text=text)  # all of it, or nothing
        try:
            self.kubectl.run(*apply, text=text)
            self._wait(service.name)
        except BaseException as error:  # also where somebody interrupts
            reason = self._why(service.name) if isinstance(error, TargetError) else ""
            try:
                self._undo(service.name, old)
            except (InputError, TargetError) as second:
                raise TargetError(f"{error} {reason} Going back failed, too: {second}") from error
            if isinstance(error, TargetError):
                raise TargetError(f"{error} {reason}".strip()) from error
            raise
        return self._deployed(service, str(path), old)

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Ask one of the pods, through the cluster's own port forwarding."""
        forward = self._forwarded.get(service)
        if forward is None or not forward.is_open():
            forward = self._forwarded[service] = self.kubectl.forward(f"pod/{self._ready_pod(service)}", PORT)
        return invoke(forward.url, image, direct=True)

    def roll_back(self, deployed: Deployed) -> None:
        """Go back to the revision before; without one, remove everything."""
        _close(self._forwarded)
        if not deployed.url:
            return  # nothing was applied
        if deployed.previous is None:
            self.delete(deployed.service)
        else:
            self._go_to(deployed.service, deployed.resources["revision before"])

    def status(self, service: str) -> Status:
        """What the cluster says of the Deployment."""
        if not self.kubectl.is_configured():
            raise InputError("No cluster is configured here: set one with `kubectl config use-context NAME`.")
        found = self._find(service)
        if found is None:
            detail = f"there is no deployment {object_name(service)!r}"
            return Status(target=self.name, service=service, state="absent", version=None, url=None, detail=detail)
        state, detail = _state(found)
        if state in ("failed", "creating"):
            detail = f"{detail}. {self._why(service)}".strip()
        return Status(
            target=self.name,
            service=service,
            state=state,
            version=_version(found),
            url=self._url(found),
            detail=detail,
        )

    def delete(self, service: str) -> list[str]:
        """Remove everything with the service's label; the file with the manifests stays, it is the user's."""
        if not self.kubectl.is_configured():
            raise InputError("No cluster is configured here: set one with `kubectl config use-context NAME`.")
        _close(self._forwarded)
        self._find(service)
        told = self.kubectl.run(
            "delete", KINDS, f"--selector={_ours(service)}", "--ignore-not-found", "--output=name", seconds=180
        )
        return [line.strip() for line in told.splitlines() if "/" in line]  # else that there was nothing

    def _find(self, service: str) -> Any:
        """The Deployment; raises InputError where there is one that is not this service's."""
        found = self.kubectl.read("deployment", object_name(service))
        if found:
            annotations, labels = (found["metadata"].get(kind, {}) for kind in ("annotations", "labels"))
            if labels.get(SERVICE) != service:
                whose = f"of the model {annotations[MODEL]!r}" if SERVICE in labels else "made by somebody else"
                raise InputError(
                    f"The cluster has a deployment {object_name(service)!r} {whose}: choose another namespace with "
                    "--set deployment.kubernetes.namespace=NAME."
                )
        return found

    def _namespace_is_there(self) -> None:
        name = self.settings.kubernetes.namespace
        if name is None:
            return
        try:
            found = self.kubectl.read("namespace", name)
        except InputError as error:
            if "Forbidden" in str(error):
                return  # whoever may use one namespace need not be allowed to see which there are
            raise
        if found is None:
            raise InputError(f"The cluster has no namespace {name!r}: make it with `kubectl create namespace {name}`.")

    def _may(self, verb: str, what: str) -> None:
        try:
            self.kubectl.run("auth", "can-i", verb, what, "--quiet")
        except TargetError:
            raise InputError(
                f"The cluster does not allow you to {verb} {what}: ask whoever runs it, or choose another context or "
                "namespace."
            ) from None

    def _wait(self, service: str) -> None:
        seconds = self.settings.kubernetes.timeout + WAIT
        self.kubectl.run(
            "rollout", "status", f"deployment/{object_name(service)}", f"--timeout={seconds:g}s", seconds=seconds + WAIT
        )

    def _undo(self, service: str, old: Any) -> None:
        if old is None:
            self.delete(service)
        else:
            self._go_to(service, _revision(old))

    def _go_to(self, service: str, revision: str) -> None:
        """Bring the pods of a revision back, unless they are there."""
        present = self._find(service)
        if present is not None and _revision(present) != revision:
            name = f"deployment/{object_name(service)}"
            self.kubectl.run("rollout", "undo", name, f"--to-revision={revision}")
            self._wait(service)

    def _why(self, service: str) -> str:
        """What a container that does not start says of it."""
        pods = self.kubectl.read("pods", f"--selector={_pods(service)}") or {"items": []}
        for pod in pods["items"]:
            status = pod.get("status", {})
            for container in status.get("containerStatuses", []):
                for kind in ("waiting", "terminated"):
                    told = container.get("state", {}).get(kind) or {}
                    if told.get("reason") not in (None, "ContainerCreating", "PodInitializing", "Completed"):
                        return f"{told['reason']}: {told.get('message') or told.get('exitCode', '')}".rstrip(": ") + "."
            for condition in status.get("conditions", []):
                if condition.get("reason") == "Unschedulable":
                    return f"Unschedulable: {condition.get('message', '')}"
        return ""

    def _ready_pod(self, service: str) -> str:
        """A pod of the version that the Deployment has; old ones may still be about to go."""
        found = self._find(service)
        if found is None:
            raise TargetError(f"There is no deployment {object_name(service)!r}.")
        pods = self.kubectl.read("pods", f"--selector={_pods(service)},{VERSION}={_version(found)}") or {"items": []}
        for pod in pods["items"]:
            conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", [])}
            if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                return str(pod["metadata"]["name"])
        raise TargetError(f"No pod of {object_name(service)!r} is ready.")

    def _deployed(self, service: Service, manifests: str, old: Any) -> Deployed:
        found = self._find(service.name)
        resources = {
            "manifests": manifests,
            "deployment": f"{found['metadata'].get('namespace', 'default')}/{found['metadata']['name']}",
            "revision": _revision(found),
        }
        resources |= {"revision before": _revision(old)} if old else {}
        return self._told(service, self._url(found), resources, _version(old) if old else None)

    def _told(self, service: Service, url: str, resources: dict[str, str], previous: int | None) -> Deployed:
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=url,
            resources=resources,
            previous=previous,
        )

    def _url(self, found: Any) -> str:
        settings, metadata = self.settings.kubernetes, found["metadata"]
        if settings.host:
            return f"{'https' if settings.tls_secret else 'http'}://{settings.host}"
        return f"http://{metadata['name']}.{metadata.get('namespace', 'default')}.svc"


def _state(found: Any) -> tuple[State, str]:
    """How a Deployment is doing, as `kubectl rollout status` reads it."""
    status, metadata = found.get("status", {}), found["metadata"]
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    wanted, ready = found["spec"].get("replicas", 1), status.get("availableReplicas", 0)
    counted = f"{ready} of {wanted} replicas answer"
    if "deletionTimestamp" in metadata:
        return "deleting", "it is being removed"
    if conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return "failed", counted
    updated = status.get("updatedReplicas", 0)
    seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    if seen and ready >= wanted and updated >= wanted and status.get("replicas", 0) <= updated:
        return "serving", counted
    return ("updating" if ready else "creating"), counted


def _ours(service: str) -> str:
    return f"{_pods(service)},app.kubernetes.io/managed-by=diascope"


def _pods(service: str) -> str:
    return f"app.kubernetes.io/name=diascope,app.kubernetes.io/instance={object_name(service)}"


def _version(found: Any) -> int:
    return int(found["spec"]["template"]["metadata"]["labels"].get(VERSION, 0))


def _revision(found: Any) -> str:
    return str(found["metadata"].get("annotations", {}).get(REVISION, "0"))


def _close(forwarded: dict[str, Forward]) -> None:
    while forwarded:
        forwarded.popitem()[1].close()
