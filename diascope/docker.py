"""How is an image built, started, stopped and pushed? (the `docker` command, whichever engine it speaks to)"""

import base64
import http.client
import json
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

NETWORK = "DIASCOPE_DOCKER_NETWORK"
# What pip may need to know of the builder's network; Docker passes proxies on by itself.
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
PORT = 3000  # that the image listens on where nobody says otherwise
NARROW = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")  # as it shall be able to work
ERROR = re.compile(r"[\w.]+(Error|Exception): ")  # the end of a traceback
PATIENCE = 60.0  # seconds until a container must be ready
STOP_SECONDS = 10
DOCKER_HUB = ("docker.io", "index.docker.io")


class DockerError(RuntimeError):
    """Docker did not do what it was asked; the message ends with what it said."""


@dataclass(frozen=True)
class Container:
    """A container that runs and is ready."""

    name: str
    url: str
    ready_seconds: float  # from `docker run` to the first 200 of /readyz


def find_engine() -> str | None:
    """Return the version of the engine that answers, if one does."""
    try:
        return command("version", "--format", "{{.Server.Version}}", seconds=20).strip() or None
    except DockerError:
        return None


def build(context: Path, image: str, labels: Mapping[str, str], *, fresh: bool = False) -> None:
    """Build an image from a folder with `env/docker/Dockerfile`; with `fresh` no layer is taken from before."""
    said = ["--no-cache"] if fresh else []
    said += [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    said += [part for name in PASSED_ON if os.environ.get(name) for part in ("--build-arg", name)]
    file = context / "env" / "docker" / "Dockerfile"
    command(
        "build", *network_options(), *said, "--file", str(file), "--tag", image, str(context), environment=_buildkit()
    )


def megabytes(image: str) -> float:
    """Return an image's size in MB (10^6 bytes), all layers together."""
    return int(command("image", "inspect", "--format", "{{.Size}}", image)) / 1e6


@contextmanager
def running(image: str, *options: str) -> Iterator[Container]:
    """Start a container as narrowly as it shall work, wait until it is ready, and stop and remove it at the end.

    `options` are further ones of `docker run`.

    Raises
    ------
    DockerError: it does not start, ends, is not ready within a minute, or does not stop by itself.
    """
    name = f"diascope-{secrets.token_hex(6)}"  # known before it runs, so that it goes whatever happens
    network = network_options()
    own = _free_port() if network == ["--network=host"] else None
    listening = ["--env", f"PORT={own}"] if own else ["--publish", f"127.0.0.1::{PORT}"]
    start = time.monotonic()
    try:
        command("run", "--detach", "--name", name, *NARROW, *network, *listening, *options, image)
        url = f"http://127.0.0.1:{own or command('port', name, f'{PORT}/tcp').split()[0].rpartition(':')[2]}"
        wait(name, url)
        yield Container(name, url, time.monotonic() - start)
        command("stop", f"--time={STOP_SECONDS}", name)
        if status := int(command("inspect", "--format", "{{.State.ExitCode}}", name)):
            raise DockerError(f"The container did not stop by itself within {STOP_SECONDS} seconds (status {status}).")
    except Exception:
        log.info("%s", _logs(name))
        raise
    finally:
        with suppress(DockerError):  # there is none yet
            command("rm", "--force", name)


def push(image: str, target: str, credentials: tuple[str, str] | None) -> str:
    """Push an image under another name and return its digest there; signs in for this one time."""
    command("tag", image, target)
    try:
        with _signed_in(target.partition("/")[0], credentials) as options:
            command("push", target, client=options)
        digests = json.loads(command("image", "inspect", "--format", "{{json .RepoDigests}}", target))
    finally:
        command("rmi", "--no-prune", target)  # the name alone; the image keeps its own
    repository = _as_listed(target.rpartition(":")[0])
    digest = next((each for each in digests if each.startswith(f"{repository}@")), None)
    if digest is None:
        raise DockerError(f"{target} was pushed, but the engine does not say under which digest.")
    return digest


def command(
    verb: str,
    *arguments: str,
    client: Sequence[str] = (),
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run `docker`, with options of the client itself, and return what it printed; raises DockerError."""
    program = shutil.which("docker")
    if program is None:
        raise DockerError("There is no `docker` command.")
    try:
        done = subprocess.run(
            [program, *client, verb, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=os.environ | dict(environment or {}),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DockerError(f"`docker {verb}` did not answer within {seconds:g} seconds.") from None
    if done.returncode:
        log.info("%s\n%s", done.stdout, done.stderr)
        raise DockerError(f"`docker {verb}` failed: {_reason(verb, done.stderr, done.stdout)}")
    return done.stdout


def _reason(verb: str, stderr: str, stdout: str) -> str:
    """The line that says why: the first with an error in it, for those after it are about the consequences.

    Without BuildKit, what the commands of a build say of themselves is on standard output.
    """
    if "network bridge not found" in stderr + stdout:
        return f"the engine has no bridge network; set {NETWORK}=host."
    if verb == "build" and "Temporary failure in name resolution" in stderr + stdout:
        return f"its commands reach no network; where the engine has no bridge network, set {NETWORK}=host."
    said, beside = ([line.strip() for line in text.splitlines() if line.strip()] for text in (stderr, stdout))
    errors = [line for line in (*said, *beside) if "error" in line.lower()]
    return (errors or said[-1:] or beside[-1:] or ["it did not say why"])[0]


def _buildkit() -> dict[str, str]:
    """Clients before 23 have BuildKit built in but switched off; later ones choose by what is installed.

    What later ones add to an image of their own accord makes an index of it, which AWS Lambda does not take.
    """
    version = command("version", "--format", "{{.Client.Version}}")
    old = "DOCKER_BUILDKIT" not in os.environ and int(version.split(".")[0]) < 23
    return {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"} | ({"DOCKER_BUILDKIT": "1"} if old else {})


def _as_listed(repository: str) -> str:
    """The name that an engine lists a repository under: Docker Hub's without its address."""
    server, _, rest = repository.partition("/")
    return rest.removeprefix("library/") if server in DOCKER_HUB else repository


def network_options() -> list[str]:
    """Options of `docker build` and `docker run` for the network that the user has named, if any."""
    return [f"--network={name}"] if (name := os.environ.get(NETWORK, "").strip()) else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(name: str, url: str) -> None:
    """Return when a container is ready; raises DockerError where it ends, or is not within a minute."""
    end = time.monotonic() + PATIENCE
    while not _becomes_ready(url, seconds=1):  # asking the engine costs time that the container needs
        if command("inspect", "--format", "{{.State.Running}}", name).strip() != "true":
            raise DockerError(f"The container ended: {last_words(name)}")
        if time.monotonic() > end:
            raise DockerError(f"The container is not ready after {PATIENCE:g} seconds: {last_words(name)}")


def _becomes_ready(url: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (ready := is_ready(url)) and time.monotonic() < end:
        time.sleep(0.02)
    return ready


def is_ready(url: str) -> bool:
    """Return whether the service there says that it is ready."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):  # nobody listens yet, or it is not ready
        return False


def last_words(name: str) -> str:
    """The last error that a container wrote, or else its last line."""
    lines = [line.strip() for line in _logs(name).splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    return (errors or lines or ["it said nothing"])[-1]


def _logs(name: str) -> str:
    """What a container wrote to either stream, in its order; empty where it never was."""
    called = [shutil.which("docker") or "docker", "logs", name]
    done = subprocess.run(
        called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return "" if done.returncode else done.stdout


@contextmanager
def _signed_in(server: str, credentials: tuple[str, str] | None) -> Iterator[list[str]]:
    """Options that sign `docker` in, by settings of their own: nothing is left behind in the user's."""
    if credentials is None:
        yield []
        return
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    with tempfile.TemporaryDirectory() as scratch:  # that nobody else can look into
        folder = Path(scratch, "docker")
        if own.is_dir():
            shutil.copytree(own, folder)  # which engine is spoken to is in there as well
        folder.mkdir(exist_ok=True)
        file = folder / "config.json"
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        for elsewhere in ("credsStore", "credHelpers"):
            settings.pop(elsewhere, None)
        key = "https://index.docker.io/v1/" if server in DOCKER_HUB else server
        encoded = base64.b64encode(":".join(credentials).encode()).decode()
        settings["auths"] = {key: {"auth": encoded}}
        file.write_text(json.dumps(settings), encoding="utf-8")
        yield ["--config", str(folder)]
