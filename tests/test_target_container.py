"""The service in a real Docker engine: started, replaced, put back and removed; the image is a small stand-in."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import ask, on_its_network

from diascope import docker
from diascope.deployment_settings import ContainerSettings, DeploymentSettings
from diascope.errors import InputError
from targets import find_target
from targets.target import Deployed, Service, TargetError

NAME = f"diascope-test-{os.getpid()}"
STUB = Path(__file__).with_name("stub_service.py")
DOCKERFILE = """FROM python:3.11-slim
COPY stub_service.py /stub.py
ARG VERSION
ARG BROKEN
ENV STUB_VERSION=$VERSION STUB_BROKEN=$BROKEN
ENTRYPOINT ["python", "/stub.py"]
"""

pytestmark = pytest.mark.skipif(docker.find_engine() is None, reason="no Docker engine answers")


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    with on_its_network():
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory, network) -> Iterator[dict[str, str]]:
    """Images of two good versions, of one that ends at once and of one that another version answers from."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copy(STUB, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    made = {}
    for tag, version, broken in (("1", "1", ""), ("2", "2", ""), ("ends", "3", "ends")):
        made[tag] = f"{NAME}:{tag}"
        said = ["--build-arg", f"VERSION={version}", "--build-arg", f"BROKEN={broken}"]
        ask("build", "--quiet", *docker.network_options(), *said, "--tag", made[tag], str(folder))
    yield made
    subprocess.run(["docker", "rmi", "--force", *made.values()], capture_output=True, check=False)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def target(port, monkeypatch):
    monkeypatch.delenv("DIASCOPE_API_KEY", raising=False)
    monkeypatch.setattr(docker, "PATIENCE", 10.0)
    settings = DeploymentSettings(container=ContainerSettings(port=port, memory="256m", cpus=1))
    yield find_target("container", settings)
    for name in (NAME, f"{NAME}-previous"):
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def service(images: dict[str, str], tag: str) -> Service:
    return Service(name=NAME, version=int(tag) if tag.isdigit() else 3, model="Test", image=images[tag])


def containers() -> dict[str, str]:
    listed = ask("ps", "--all", "--filter", f"name={NAME}", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split() for line in listed)


def version(target) -> int:
    return int(target.ask(NAME, b"\x10")["model"]["version"])


def test_it_is_created_narrowly_answers_and_is_removed(target, images, port):
    target.check(NAME)
    assert (target.status(NAME).state, target.status(NAME).version) == ("absent", None)

    deployed = target.deploy(service(images, "1"))

    url = f"http://127.0.0.1:{port}"
    identity = ask("inspect", "--format", "{{.Id}}", NAME)
    image = ask("image", "inspect", "--format", "{{.Id}}", images["1"])
    assert deployed == Deployed(
        target="container",
        service=NAME,
        version=1,
        url=url,
        resources={"container": identity, "image": image},
        previous=None,
    )
    assert target.ask(NAME, b"\xff" * 9) == {
        "label": "b",
        "probabilities": {"a": 0.0, "b": 1.0},
        "distance": None,
        "model": {"name": "stub", "version": "1"},
        "size": 9,
    }
    status = target.status(NAME)
    assert (status.state, status.version, status.url) == ("serving", 1, url)
    form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.RestartPolicy.Name}} "
    form += "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.SecurityOpt}}"
    assert ask("inspect", "--format", form, NAME) == (
        f"true [ALL] unless-stopped {256 * 1024**2} 1000000000 [no-new-privileges]"
    )
    assert target.delete(NAME) == [f"container {NAME}"]
    assert containers() == {}
    assert target.status(NAME).state == "absent"
    assert target.delete(NAME) == []


def test_a_second_run_changes_nothing_and_another_version_takes_the_place(target, images):
    first = target.deploy(service(images, "1"))
    again = target.deploy(service(images, "1"))
    assert again.resources == first.resources
    assert again.previous == 1

    second = target.deploy(service(images, "2"))

    assert (second.previous, version(target)) == (1, 2)
    assert containers() == {NAME: "running", f"{NAME}-previous": "exited"}
    target.check(NAME)  # the port is its own


def test_roll_back_after_an_unchanged_run_leaves_the_service_alone(target, images):
    target.deploy(service(images, "1"))
    target.roll_back(target.deploy(service(images, "1")))
    assert version(target) == 1


def test_roll_back_starts_the_one_before_or_leaves_nothing(target, images):
    first = target.deploy(service(images, "1"))
    target.roll_back(target.deploy(service(images, "2")))
    assert containers() == {NAME: "running"}
    assert version(target) == 1
    assert ask("inspect", "--format", "{{.Id}}", NAME) == first.resources["container"]
    target.roll_back(first)
    assert containers() == {}


def test_one_that_ends_leaves_the_old_version_serving(target, images):
    old = target.deploy(service(images, "1"))
    with pytest.raises(TargetError, match="it was built to end"):
        target.deploy(service(images, "ends"))
    assert containers() == {NAME: "running"}
    assert ask("inspect", "--format", "{{.Id}}", NAME) == old.resources["container"]
    assert version(target) == 1


def test_one_that_fails_in_its_place_gives_it_back(target, images, monkeypatch):
    """It has started when it was tried, and then it does not."""
    old = target.deploy(service(images, "1"))
    wait = docker.wait

    def never(name: str, url: str) -> None:
        if name == NAME and ask("inspect", "--format", "{{.Id}}", NAME) != old.resources["container"]:
            raise docker.DockerError("The container is not ready after 60 seconds: it waits")
        wait(name, url)

    monkeypatch.setattr(docker, "wait", never)
    with pytest.raises(TargetError, match="not ready after 60"):
        target.deploy(service(images, "2"))
    assert containers() == {NAME: "running"}
    assert version(target) == 1


def test_an_interruption_gives_the_place_back(target, images, monkeypatch):
    target.deploy(service(images, "1"))
    run = docker.command

    def interrupted(verb: str, *arguments: str, **options) -> str:
        if verb == "run" and "--restart=unless-stopped" in arguments:
            run(verb, *arguments, **options)
            raise KeyboardInterrupt
        return run(verb, *arguments, **options)

    monkeypatch.setattr(docker, "command", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target.deploy(service(images, "2"))
    assert containers() == {NAME: "running"}
    assert version(target) == 1


def test_what_was_ended_in_its_middle_is_said_and_mended(target, images):
    target.deploy(service(images, "1"))
    ask("stop", NAME)
    ask("rename", NAME, f"{NAME}-previous")  # and then the machine went down
    status = target.status(NAME)
    assert (status.state, status.version) == ("failed", 1)
    assert "interrupted" in status.detail
    assert target.deploy(service(images, "2")).previous == 1
    assert version(target) == 2


def test_one_that_has_stopped_says_so_and_is_replaced(target, images):
    target.deploy(service(images, "1"))
    ask("stop", NAME)
    assert target.status(NAME).state == "failed"
    with pytest.raises(TargetError, match="No container"):
        target.ask(NAME, b"x")
    target.deploy(service(images, "1"))
    assert version(target) == 1


def test_other_settings_take_effect(target, images, port):
    target.deploy(service(images, "1"))
    changed = DeploymentSettings(container=ContainerSettings(port=port), environment={"SOME": "a value=x"})
    find_target("container", changed).deploy(service(images, "1"))
    told = ask("inspect", "--format", "{{.HostConfig.Memory}} {{json .Config.Env}}", NAME)
    assert told.startswith("0 ")
    assert '"SOME=a value=x"' in told


def test_the_key_of_this_machine_is_asked_for_and_given(target, images, monkeypatch):
    monkeypatch.setenv("DIASCOPE_API_KEY", "secret")
    target.deploy(service(images, "1"))
    assert version(target) == 1
    monkeypatch.setenv("DIASCOPE_API_KEY", "other")
    with pytest.raises(TargetError, match=r"answered an image with 401: The API key is missing or wrong\.$"):
        target.ask(NAME, b"x")


def test_a_port_that_is_taken_is_refused_before_anything_is_built(target, images, port):
    with socket.create_server(("127.0.0.1", port)), pytest.raises(InputError, match=f"listens on port {port}"):
        target.check(NAME)
    assert containers() == {}


def test_a_container_of_somebody_else_is_left_alone(target, images):
    ask("create", "--name", NAME, images["1"])
    with pytest.raises(InputError, match="made by somebody else"):
        target.deploy(service(images, "1"))
    with pytest.raises(InputError, match="made by somebody else"):
        target.delete(NAME)
    assert containers() == {NAME: "created"}


def test_an_image_that_is_not_there_is_said(target, images):
    with pytest.raises(TargetError, match="No such image"):
        target.deploy(Service(name=NAME, version=9, model="Test", image=f"{NAME}:9"))
    assert containers() == {}


def test_another_service_on_its_port_is_not_taken_for_it(target, images, port, monkeypatch):
    """Where the engine has no network of its own, two services can want one port."""
    other = subprocess.Popen(["python3", str(STUB)], env=os.environ | {"PORT": str(port), "STUB_VERSION": "7"})
    try:
        end = time.monotonic() + 30
        while not docker.is_ready(f"http://127.0.0.1:{port}"):
            assert time.monotonic() < end
            time.sleep(0.05)
        with pytest.raises(TargetError, match=f"Something else listens on port {port}"):
            target.deploy(service(images, "1"))
    finally:
        other.terminate()
        other.wait(timeout=10)
    assert containers() == {}
