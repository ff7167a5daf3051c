"""What stands in for the cloud: servers that speak the real protocols, on loopback, each ended by its own process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

REGION = "eu-central-1"
PATIENCE = 120.0  # seconds; two busy cores take half a minute to import what a ZenML server needs
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

REGISTRY = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
"""


@dataclass(frozen=True)
class ZenMLServer:
    """A ZenML server that counts as remote, and a service account's way in."""

    url: str
    api_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client of its own talk to this server."""
        return {"ZENML_STORE_URL": self.url, "ZENML_STORE_API_KEY": self.api_key}


def aws_environment(endpoint: str) -> dict[str, str]:
    """Variables that send every AWS call to a stand-in, with credentials that are good nowhere."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """The URL of an AWS that remembers what it is asked; its log is in the folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with served([_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], f"{url}/moto-api/", folder / "moto.log"):
        yield url


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """The address of a container registry that takes and gives without a password; skips where there is none."""
    program = shutil.which("docker-registry") or pytest.skip("there is no docker-registry to push to")
    port = free_port()
    settings = folder / "registry.yaml"
    settings.write_text(REGISTRY.format(folder=folder / "registry", port=port))
    with served([program, "serve", str(settings)], f"http://127.0.0.1:{port}/v2/", folder / "registry.log"):
        yield f"127.0.0.1:{port}"


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The tracking URI of an MLflow that keeps runs in sqlite and gives artifacts out itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    said = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    kept = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/mlflow")
    alone = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else eight more processes
    with served([_program("mlflow"), "server", *said, *kept], f"{url}/health", folder / "mlflow.log", alone):
        yield url


@contextmanager
def zenml_server(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[ZenMLServer]:
    """A ZenML server with nothing in it but a service account, whose key the client gets.

    `environment` is what the server knows beyond that, such as where AWS is for its service connectors.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {
        "ZENML_CONFIG_PATH": str(folder / "zenml-server"),
        "ZENML_SERVER": "true",
        "ZENML_SERVER_AUTO_ACTIVATE": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_VERBOSITY": "WARN",
    }
    command = [sys.executable, "-m", "uvicorn", "zenml.zen_server.zen_server_api:app", "--log-level", "warning"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with served(command, f"{url}/ready", folder / "zenml.log", own | dict(environment or {})):
        yield ZenMLServer(url, _api_key(url))


@contextmanager
def served(command: Sequence[str], url: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Start a server, wait until a URL answers 200, give its process id, and end it; skips nothing, raises its log."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ZENML_", "MLFLOW_"))}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=kept | dict(environment or {}),
            cwd=log.parent,
            start_new_session=True,  # a group of its own, for some have children that do not follow them
        )
    try:
        until(lambda: _answers(url) or process.poll() is not None, f"{command[0]} to answer")
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended:\n{log.read_text(errors='replace')[-3000:]}")
        yield process.pid
    finally:
        _end(process)


def until(happens: Callable[[], bool], awaited: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so; raises where it takes too long."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} seconds for {awaited}")
        time.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen) -> None:
    """End a server with all it has started: it leads a group."""
    for sign, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 60)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _program(name: str) -> str:
    """A program of the environment that the tests run in."""
    path = Path(sys.executable).parent / name
    return str(path) if path.exists() else pytest.skip(f"there is no {name} in this environment")


def _answers(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _api_key(server: str) -> str:
    """A key of a new service account, made with the first user, whose password is empty."""
    form = urllib.parse.urlencode({"username": "default", "password": ""}).encode()
    token = _sent(f"{server}/api/v1/login", form, {"Content-Type": "application/x-www-form-urlencoded"})["access_token"]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    account = _sent(f"{server}/api/v1/service_accounts", b'{"name": "pipelines", "active": true}', headers)
    path = f"{server}/api/v1/service_accounts/{account['id']}/api_keys"
    return str(_sent(path, json.dumps({"name": "key"}).encode(), headers)["body"]["key"])


def _sent(url: str, body: bytes, headers: Mapping[str, str]) -> dict:
    try:
        with DIRECT.open(urllib.request.Request(url, body, dict(headers)), timeout=60) as response:
            return dict(json.loads(response.read()))
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from None
