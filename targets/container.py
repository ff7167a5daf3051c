"""How does a model serve in the Docker engine of this machine?"""

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from diascope import docker
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets.calling import invoke
from targets.target import Deployed, Service, Status, TargetError

SERVICE, VERSION, CONFIGURED, URL = "diascope.service", "diascope.version", "diascope.configured", "diascope.url"
API_KEY = "DIASCOPE_API_KEY"
ANYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Found:
    """A container as the engine has it."""

    identity: str
    name: str
    image: str
    running: bool
    since: str
    labels: dict[str, str]

    @property
    def version(self) -> int:
        return int(self.labels.get(VERSION, 0))

    @property
    def url(self) -> str:
        return self.labels.get(URL, "")


class ContainerTarget:
    """One container with the service's name; the one before it is kept, stopped, until the next deployment."""

    name = "container"

    def __init__(self, settings: DeploymentSettings) -> None:
        self.settings = settings.container
        self.environment = settings.environment

    def check(self, service: str) -> None:
        """Raise InputError where no engine answers, or somebody else has the name or the port."""
        if docker.find_engine() is None:
            raise InputError("No Docker engine answers: start one, or end at the bento with --target bento.")
        old = _find(service)
        ours = old is not None and old.running and old.url == self._url
        if not ours and _is_taken(self.settings.address, self.settings.port):
            raise InputError(
                f"Something else listens on port {self.settings.port} of this machine: stop it, or choose another "
                "with --set deployment.container.port=PORT."
            )

    def deploy(self, service: Service) -> Deployed:
        """Start the new container where the old one was; the old one starts again where that fails."""
        with _explained():
            _recover(service.name)
            old = _find(service.name)
            labels = self._labels(service)
            if old and old.labels == old.labels | labels and old.running and docker.is_ready(old.url):
                return self._deployed(service, old, previous=old)
            if old and old.running:
                with docker.running(service.image, *self._limits()):
                    pass  # it starts with these settings; only now the old one is touched
            new = self._replace(service, labels, old)
            return self._deployed(service, new, previous=old, replaced=old)

    def ask(self, service: str, image: bytes) -> dict[str, Any]:
        """Ask the port that the container listens on."""
        found = _find(service)
        if found is None or not found.running:
            raise TargetError(f"No container {service!r} runs.")
        return invoke(found.url, image, direct=True)

    def roll_back(self, deployed: Deployed) -> None:
        """Start the container that was there before; without one, remove the new one."""
        before = deployed.resources.get("previous")
        if before is None and deployed.previous is not None:
            return  # nothing was changed
        with _explained():
            _remove(deployed.resources["container"])
            if before is not None:
                _restore(deployed.service)

    def status(self, service: str) -> Status:
        """What the engine says of the container, and whether the service answers."""
        if docker.find_engine() is None:
            raise InputError("No Docker engine answers: start one.")
        with _explained():
            found = _find(service)
            if found is None:
                kept = _find(_previous(service))
                detail = f"no container {service!r} is there"
                return self._status(service, "failed" if kept else "absent", kept, INTERRUPTED if kept else detail)
            if not found.running:
                return self._status(service, "failed", found, f"it does not run: {docker.last_words(found.name)}")
            if not docker.is_ready(found.url):
                return self._status(service, "creating", found, "it runs and does not answer yet")
            return self._status(service, "serving", found, f"it runs since {found.since[:19].replace('T', ' ')}")

    def delete(self, service: str) -> list[str]:
        """Remove the container and the one before it; images stay."""
        if docker.find_engine() is None:
            raise InputError("No Docker engine answers: start one.")
        with _explained():
            there = [found for found in (_find(service), _find(_previous(service))) if found]
            for found in there:
                _remove(found.identity)
        return [f"container {found.name}" for found in there]

    @property
    def _url(self) -> str:
        address = "127.0.0.1" if self.settings.address in ANYWHERE else self.settings.address
        return f"http://{f'[{address}]' if ':' in address else address}:{self.settings.port}"

    def _labels(self, service: Service) -> dict[str, str]:
        image = docker.command("image", "inspect", "--format", "{{.Id}}", service.image).strip()
        said = [image, self.settings.model_dump(), self.environment, os.environ.get(API_KEY), docker.network_options()]
        configured = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        version = str(service.version)
        return {SERVICE: service.name, VERSION: version, CONFIGURED: configured, URL: self._url}

    def _limits(self) -> list[str]:
        """What the new container is tried with, too."""
        said = [f"--memory={self.settings.memory}"] if self.settings.memory else []
        said += [f"--cpus={self.settings.cpus:g}"] if self.settings.cpus else []
        said += [part for name, value in self.environment.items() for part in ("--env", f"{name}={value}")]
        return said + (["--env", API_KEY] if os.environ.get(API_KEY) else [])  # by name: it stays out of the command

    def _replace(self, service: Service, labels: dict[str, str], old: Found | None) -> Found:
        if kept := _find(_previous(service.name)):
            _remove(kept.identity)
        try:
            if old:
                docker.command("stop", f"--time={docker.STOP_SECONDS}", old.identity)
                docker.command("rename", old.identity, _previous(service.name))
            return self._start(service, labels)
        except BaseException:  # also where somebody interrupts
            with suppress(docker.DockerError):  # there is none
                new = _find(service.name)
                if new and (old is None or new.identity != old.identity):
                    _remove(new.identity)
            if old:
                _restore(service.name, running=old.running)
            raise

    def _start(self, service: Service, labels: dict[str, str]) -> Found:
        settings, network = self.settings, docker.network_options()
        if _is_taken(settings.address, settings.port):  # whoever has it would be taken for the new container
            raise docker.DockerError(f"Something else listens on port {settings.port} of this machine.")
        on_host = network == ["--network=host"]
        published = f"{f'[{settings.address}]' if ':' in settings.address else settings.address}:{settings.port}"
        reached = ["--env", f"PORT={settings.port}"] if on_host else ["--publish", f"{published}:{docker.PORT}"]
        said = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
        options = [*docker.NARROW, "--restart=unless-stopped", *network, *reached, *self._limits(), *said]
        docker.command("run", "--detach", "--name", service.name, *options, service.image)
        docker.wait(service.name, self._url)
        found = _find(service.name)
        if found is None or not found.running:  # something else answered on its port
            raise docker.DockerError(f"The container ended: {docker.last_words(service.name)}")
        return found

    def _deployed(
        self, service: Service, found: Found, *, previous: Found | None, replaced: Found | None = None
    ) -> Deployed:
        return Deployed(
            target=self.name,
            service=service.name,
            version=service.version,
            url=self._url,
            resources={"container": found.identity, "image": found.image}
            | ({"previous": replaced.identity} if replaced else {}),
            previous=previous.version if previous else None,
        )

    def _status(self, service: str, state: Any, found: Found | None, detail: str) -> Status:
        version, url = (found.version, found.url) if found else (None, None)
        return Status(target=self.name, service=service, state=state, version=version, url=url, detail=detail)


INTERRUPTED = "a deployment was interrupted: run it again, and the container before it starts first"


def _previous(service: str) -> str:
    return f"{service}-previous"


def _find(name: str) -> Found | None:
    """The container of this name; raises InputError where it is there and was not made here."""
    listed = docker.command("ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^/?{re.escape(name)}$").split()
    if not listed:
        return None
    (told,) = json.loads(docker.command("inspect", "--type=container", listed[0]))
    labels = told["Config"]["Labels"] or {}
    if SERVICE not in labels:
        raise InputError(f"A container {name!r} is there that was made by somebody else: rename or remove it.")
    state = told["State"]
    running = bool(state["Running"]) and not state.get("Restarting", False)
    return Found(told["Id"], name, told["Image"], running, state["StartedAt"], labels)


def _recover(service: str) -> None:
    """Undo what a deployment left that was ended in its middle."""
    if _find(service) is None and _find(_previous(service)) is not None:
        _restore(service)


def _restore(service: str, *, running: bool = True) -> None:
    """Give the container before its name again, and start it."""
    if _find(service) is None:
        docker.command("rename", _previous(service), service)
    if running:
        docker.command("start", service)
        found = _find(service)
        assert found is not None
        docker.wait(service, found.url)


def _remove(identity: str) -> None:
    docker.command("rm", "--force", "--volumes", identity)


def _is_taken(address: str, port: int) -> bool:
    """Whether somebody listens there; an address that this machine does not have is Docker's to refuse."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            import errno

            return error.errno == errno.EADDRINUSE
    return False


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except docker.DockerError as error:
        raise TargetError(str(error)) from error
