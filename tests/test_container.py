"""The real container: built once by the real pipeline, then held to what docs/deployment.md says of it."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml
from bento_stores import stores_in
from engine import ask, on_its_network

from diascope import docker

BASE = "python:3.11-slim"
ADDED_MB = 275  # to the base image, and 600 with it
STOP_SECONDS = 5
USER = ("me", "secret")
UNTOLD = "packages.example"  # a setting of the builder's


def answers() -> str:
    """Why these tests cannot run, or nothing."""
    if docker.find_engine() is None:
        return "no Docker engine answers"
    return "" if shutil.which("docker-registry") else "there is no docker-registry to push to"


pytestmark = pytest.mark.skipif(bool(answers()), reason=answers())


# One registry, one image


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with on_its_network():
        yield


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[str]:
    """The address of a registry that asks for a password."""
    import bcrypt

    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    passwords = folder / "passwords"
    passwords.write_bytes(USER[0].encode() + b":" + bcrypt.hashpw(USER[1].encode(), bcrypt.gensalt(4)) + b"\n")
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "test", "path": str(passwords)}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yaml")], stdout=log, stderr=subprocess.STDOUT
        )
    yield address
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def model(demo_run) -> str:
    """The demo's model once more, under a name that no image of a user's has."""
    from zenml import log_metadata
    from zenml.client import Client
    from zenml.enums import ModelStages
    from zenml.model.utils import link_artifact_version_to_model_version

    client = Client()
    name = f"diascope-test-{os.getpid()}"
    trained = client.get_model_version("diascope-demo", "production")
    client.create_model(name)
    version = client.create_model_version(name)
    for artifact in ("dataset", "classifier", "evaluation"):
        found = trained.get_artifact(artifact)
        assert found is not None
        link_artifact_version_to_model_version(found, version)
    log_metadata(metadata={"decision": trained.run_metadata["decision"]}, model_version_id=version.id)
    client.update_model_version(name, version.id, stage=ModelStages.PRODUCTION)
    return name


@pytest.fixture(scope="module")
def stack(demo_run, registry) -> Iterator[str]:
    """The active stack with a container registry in it."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    before = client.active_stack_model
    client.create_secret("registry-password", {"username": USER[0], "password": USER[1]})
    component = client.create_stack_component(
        "test-registry",
        "default",
        StackComponentType.CONTAINER_REGISTRY,
        {"uri": registry, "default_repository": "lab", "authentication_secret": "registry-password"},
    )
    parts = {kind: found[0].id for kind, found in before.components.items() if kind.value != "log_store"}
    made = client.create_stack("with-registry", parts | {StackComponentType.CONTAINER_REGISTRY: component.id})
    client.activate_stack(made.id)
    yield made.name
    client.activate_stack(before.id)


@pytest.fixture(scope="module")
def deployed(model, stack, train, tmp_path_factory):
    with stores_in(tmp_path_factory.mktemp("bentoml")), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_TRUSTED_HOST", UNTOLD)
        yield train("--deployment", "--json", "--set", f"promotion.model={model}")
    subprocess.run(["docker", "rmi", "--force", f"{model}:1"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(deployed) -> str:
    assert deployed.status == 0, deployed.err
    return deployed.result["image"]


@pytest.fixture(scope="module")
def picture(demo_run) -> bytes:
    from zenml.client import Client

    dataset = Client().get_model_version("diascope-demo", "production").get_artifact("dataset").load()
    index = dataset.index()
    sample = index.loc[index["split"] == "test", "sample_id"].iloc[0]
    return dataset.read([sample])[sample]


@contextmanager
def started(image: str, *options: str, arguments: tuple[str, ...] = ()) -> Iterator[str]:
    """A container whose start is not waited for; without any network."""
    name = ask("run", "--detach", "--read-only", "--cap-drop=ALL", "--network=none", *options, image, *arguments)
    try:
        yield name
    finally:
        ask("rm", "--force", name)


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


# What the pipeline says


def test_the_container_answered_as_was_measured(deployed, image, model):
    result = deployed.result
    assert image == f"{model}:1"
    assert list(result["seconds"]["steps"])[-3:] == ["build_image", "smoke_test", "push_image"]
    assert result["smoke"]["n"] == 32
    assert result["smoke"]["same_labels"] is True
    assert result["smoke"]["largest_difference"] <= 0.01
    assert 0 < result["smoke"]["milliseconds"] < 1000
    assert 0.3 < result["ready_seconds"] < 30


def test_nothing_runs_on(image):
    assert ask("ps", "--all", "--quiet", "--filter", f"ancestor={image}") == ""


def test_the_image_is_in_the_registry_of_the_stack(deployed, image, registry):
    uri = deployed.result["pushed"]
    assert uri == f"{registry}/lab/{image}"
    name, _, tag = uri.removeprefix(f"{registry}/").partition(":")
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, f"http://{registry}", *USER)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(manager))
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(f"http://{registry}/v2/{name}/manifests/{tag}", headers={"Accept": kind})
    with opener.open(request, timeout=10) as response:
        manifest = response.read()
    assert json.loads(manifest)["config"]["digest"] == ask("inspect", "--format", "{{.Id}}", image)
    from zenml.client import Client

    noted = Client().get_model_version(image.partition(":")[0], 1).run_metadata["pushed"]
    assert noted["digest"] == f"{registry}/lab/{image.partition(':')[0]}@sha256:{hashlib.sha256(manifest).hexdigest()}"
    assert registry not in ask("image", "ls", "--format", "{{.Repository}}")  # the second name is gone


# What the image is


def test_the_image_is_small(deployed, image):
    added = docker.megabytes(image) - docker.megabytes(BASE)
    assert added < ADDED_MB
    assert docker.megabytes(image) < 600
    assert deployed.result["image_mb"] == pytest.approx(docker.megabytes(image))


def test_no_layer_is_doubled(image):
    own = len(ask("history", "--quiet", image).splitlines()) - len(ask("history", "--quiet", BASE).splitlines())
    sizes = [float(size) for size in ask("history", "--human=false", "--format", "{{.Size}}", image).splitlines()[:own]]
    large = [size for size in sizes if size > 10e6]
    assert len(large) == 1  # the packages; the service and its model are another, small here
    assert len([size for size in sizes if size > 0]) == 2


def test_the_history_says_nothing_of_the_builders_settings(image):
    assert UNTOLD not in ask("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert UNTOLD not in ask("inspect", image)


def test_the_image_is_labelled(image, model):
    labels = json.loads(ask("inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == "Diascope"
    assert labels["org.opencontainers.image.version"] == "1"
    assert labels["diascope.model"] == model
    assert "not a medical device" in labels["org.opencontainers.image.description"]


def test_no_program_of_the_training_side_is_in_the_image(image):
    command = (
        "import importlib.util as u; names = ('tensorflow', 'keras', 'zenml', 'mlflow', 'pandas', 'pyarrow', 'sklearn',"
        "'scipy', 'matplotlib', 'pip'); print(*(name for name in names if u.find_spec(name)))"
    )
    assert ask("run", "--rm", "--network=none", "--entrypoint", "/app/bin/python", image, "-c", command) == ""


# What a container does


INSIDE = """
import http.client, json, os, sys
body = sys.stdin.buffer.read()
def call(method, path, data=None, kind=""):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
    connection.request(method, path, data, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read().decode()
print(json.dumps({
    "ping": call("GET", "/ping"),
    "answer": call("POST", "/invocations", body, "image/png"),
    "readyz": call("GET", "/readyz"),
    "page": call("GET", "/")[0],
    "card": call("GET", "/model"),
    "user": [os.getuid(), os.getgid()],
    "cpu": [int(n) for n in open("/proc/1/stat").read().split()[13:15]],
    "memory": [line for line in open("/proc/1/status") if line.startswith("VmRSS")],
}))
"""


def test_it_answers_sagemaker_without_network_root_or_a_disk_to_write_to(image, picture, model):
    with started(image, "--user", "12345:12345", arguments=("serve",)) as name:
        health = ["exec", name, "/app/bin/python", "-I", "-S", "/home/bentoml/bento/src/container/start.py", "health"]
        until(lambda: subprocess.run(["docker", *health], check=False).returncode == 0)
        done = subprocess.run(
            ["docker", "exec", "--interactive", name, "/app/bin/python", "-c", INSIDE],
            input=picture,
            capture_output=True,
            check=True,
        )
        told = json.loads(done.stdout)
    assert told["ping"][0] == told["readyz"][0] == told["page"] == 200
    status, text = told["answer"]
    assert status == 200, text
    assert json.loads(text)["model"] == {"name": model, "version": "1"}
    assert json.loads(told["card"][1])["model"]["name"] == model
    assert told["user"] == [12345, 12345]
    seconds = sum(told["cpu"]) / os.sysconf("SC_CLK_TCK")
    assert seconds < 4  # of the processor; how long that takes depends on what else the machine does
    (memory,) = told["memory"]
    assert int(memory.split()[1]) < 500_000  # kB


def test_it_is_not_root_by_itself(image):
    assert ask("inspect", "--format", "{{.Config.User}}", image) == "1034:1034"


def test_its_health_is_told(image):
    with started(image, "--health-interval=1s") as name:
        until(lambda: ask("inspect", "--format", "{{.State.Health.Status}}", name) == "healthy")


def halves(data: bytes) -> tuple[bytes, bytes]:
    """A request for a prediction, in two parts."""
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n' + data + b"\r\n--b--\r\n"
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:200], body[200:]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_finishes_what_it_holds_and_stops(image, picture, workers):
    first, second = halves(picture)
    with docker.running(image, "--env", f"DIASCOPE_WORKERS={workers}") as container:
        host, _, port = container.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(first)
            time.sleep(0.5)  # it is being read
            stopping = threading.Thread(target=ask, args=("stop", "--time=20", container.name))
            start = time.monotonic()
            stopping.start()
            time.sleep(1)
            connection.sendall(second)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert json.loads(response.read())["decision"]
        stopping.join()
        assert time.monotonic() - start < STOP_SECONDS
        assert ask("inspect", "--format", "{{.State.ExitCode}}", container.name) == "0"


def test_a_client_that_never_finishes_does_not_keep_it(image, picture):
    with docker.running(image) as container:
        host, _, port = container.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(halves(picture)[0])
            time.sleep(0.5)
            start = time.monotonic()
            ask("stop", "--time=20", container.name)
            assert time.monotonic() - start < STOP_SECONDS + 1


def handles_sigterm(name: str) -> bool:
    """Process 1 gets no signal that it has no handler for, which Python takes a moment to set."""
    status = ask("exec", name, "cat", "/proc/1/status")
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_it_stops_while_it_starts(image):
    with started(image) as name:
        until(lambda: handles_sigterm(name))
        start = time.monotonic()
        ask("stop", "--time=20", name)
        assert time.monotonic() - start < STOP_SECONDS
        assert ask("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


def test_a_changed_model_does_not_start_and_is_named(image, model, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"changed")
    (tmp_path / "model.bin").chmod(0o644)
    place = f"/home/bentoml/bento/models/diascope/{model}-1/model.bin"
    with started(image, "--volume", f"{tmp_path / 'model.bin'}:{place}:ro") as name:
        assert ask("wait", name) != "0"
        done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
    assert f"{place} is missing or was changed" in done.stdout + done.stderr


def test_records_go_to_a_folder_that_is_given(image, picture):
    volume = f"diascope-test-{os.getpid()}"
    try:
        options = ("--volume", f"{volume}:/monitoring", "--env", "DIASCOPE_MONITORING=/monitoring")
        with docker.running(image, *options) as container:
            host, _, port = container.url.removeprefix("http://").partition(":")
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(b"".join(halves(picture)))
                response = http.client.HTTPResponse(connection)
                response.begin()
                assert response.status == 200
        command = (
            "import pathlib; print(*(p.read_text() for p in pathlib.Path('/monitoring').rglob('data*') if p.is_file()))"
        )
        written = ask(
            *("run", "--rm", "--network=none", "--volume", f"{volume}:/monitoring", "--entrypoint", "/app/bin/python"),
            *(image, "-c", command),
        )
        assert '"decision"' in written
    finally:
        ask("volume", "rm", "--force", volume)


# Other ways to it


def test_bentoml_containerize_makes_the_same(deployed, image, tmp_path):
    """As docs/deployment.md says: with TMPDIR below the working folder (BentoML issue 5566)."""
    other = f"{image}-containerize"
    network = [f"--opt=network={name}"] if (name := os.environ.get(docker.NETWORK)) else []
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "containerize",
        deployed.result["bento"],
        "--image-tag",
        other,
        *network,
    ]
    environment = {"DOCKER_BUILDKIT": "1", **os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*command, *network], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    try:
        assert done.returncode == 0, done.stderr
        layers = "{{json .RootFS.Layers}}"
        ours, theirs = (json.loads(ask("inspect", "--format", layers, each)) for each in (image, other))
        assert len(ours) == len(theirs)
        assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= len(ours) - 2  # bento.yaml says when
    finally:
        subprocess.run(["docker", "rmi", "--force", other], capture_output=True, check=False)


# Serving in this machine's engine


@pytest.fixture
def at_a_port(deployed, image, model) -> Iterator[list[str]]:
    """Arguments of a deployment of the model to a port of its own; afterwards no container is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = ["--set", f"promotion.model={model}", "--set", f"deployment.container.port={port}"]
    yield ["--deployment", "--target", "container", *said]
    subprocess.run(["docker", "rm", "--force", model, f"{model}-previous"], capture_output=True, check=False)


def test_it_serves_until_it_is_deleted_and_zenml_knows(at_a_port, train, model, picture):
    from zenml.client import Client

    port = at_a_port[-1].rpartition("=")[2]
    url = f"http://127.0.0.1:{port}"
    absent = train(*at_a_port, "--status", "--json")
    assert (absent.status, absent.result["state"]) == (0, "absent")

    done = train(*at_a_port, "--json")

    assert done.status == 0, done.err
    result = done.result
    assert list(result["seconds"]["steps"])[-1] == "deploy_service"
    told = result["deployed"]
    assert (told["target"], told["service"], told["version"], told["url"]) == ("container", model, 1, url)
    assert (told["parity"]["n"], told["parity"]["same_labels"], told["previous"]) == (16, True, None)
    assert Client().get_model_version(model, 1).run_metadata["deployments"] == {"container": told}
    step = Client().get_pipeline_run(result["run_name"]).steps["deploy_service"]
    assert step.run_metadata["deployed"] == told
    assert step.run_metadata["url"] == url

    status = train(*at_a_port, "--status", "--json").result
    assert (status["state"], status["version"], status["url"]) == ("serving", 1, url)
    shown = train(*at_a_port, "--status").out
    assert "serving" in shown
    assert url in shown

    again = train(*at_a_port, "--json").result["deployed"]
    assert (again["previous"], again["resources"]) == (1, told["resources"])

    removed = train(*at_a_port, "--delete", "--json").result
    assert removed == {"target": "container", "removed": [f"container {model}"]}
    assert Client().get_model_version(model, 1).run_metadata["deployments"] == {"container": None}
    assert ask("ps", "--all", "--quiet", "--filter", f"name={model}") == ""
    assert train(*at_a_port, "--delete").out == "Removed nothing: container has no such service\n"


def test_a_service_that_answers_otherwise_is_taken_back(at_a_port, train, model, monkeypatch):
    from targets.container import ContainerTarget

    answered = ContainerTarget.ask

    def otherwise(self, service: str, data: bytes) -> dict:
        answer = answered(self, service, data)
        return answer | {"label": "another"}

    monkeypatch.setattr(ContainerTarget, "ask", otherwise)
    done = train(*at_a_port)
    assert done.status == 1
    assert "answered is 'another'" in done.err
    assert "The service was removed again." in done.err
    assert ask("ps", "--all", "--quiet", "--filter", f"name={model}") == ""


def test_what_is_not_to_be_kept_is_only_tried(at_a_port, train, model):
    done = train(*at_a_port, "--json", "--set", "deployment.container.keep=false")
    assert done.status == 0, done.err
    assert done.result["deployed"] is None
    assert ask("ps", "--all", "--quiet", "--filter", f"name={model}") == ""
