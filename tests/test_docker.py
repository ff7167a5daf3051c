"""What is asked of the `docker` command, with a stand-in for it; the real one is tried in test_container.py."""

import json
import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

from diascope import docker

STAND_IN = """#!{python}
import json, os, sys
from pathlib import Path
folder = Path({folder!r})
arguments = sys.argv[1:]
call = {{"arguments": arguments, "buildkit": os.environ.get("DOCKER_BUILDKIT")}}
call["plain"] = os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS")
if arguments[0] == "--config":
    call["settings"] = json.loads(Path(arguments[1], "config.json").read_text())
    call["files"] = sorted(os.listdir(arguments[1]))
    del arguments[:2]
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps(call) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
answer = answers.get(" ".join(arguments[:2]), answers.get(arguments[0], ["", "", 0]))
sys.stdout.write(answer[0])
sys.stderr.write(answer[1])
sys.exit(answer[2])
"""


class Docker:
    """The stand-in: what it answers, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer(**{"version": ("20.10.24\n", "", 0)})

    def answer(self, **answers: tuple[str, str, int]) -> None:
        """Set (stdout, stderr, status) by command."""
        (self.folder / "answers.json").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def asked(self, verb: str) -> dict:
        """The one call with this verb."""
        (call,) = [call for call in self.calls if verb in call["arguments"][:1]]
        return call


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    program = tmp_path / "docker"
    program.write_text(STAND_IN.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in (docker.NETWORK, "DOCKER_BUILDKIT", *docker.PASSED_ON):
        monkeypatch.delenv(name, raising=False)
    return Docker(tmp_path)


def test_an_engine_that_answers_is_found(engine):
    assert docker.find_engine() == "20.10.24"


def test_a_client_without_engine_is_none(engine):
    engine.answer(version=("", "Cannot connect to the Docker daemon", 1))
    assert docker.find_engine() is None


def test_no_client_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert docker.find_engine() is None


def test_settings_of_pip_are_passed_on_without_their_values(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@packages.example/simple")
    monkeypatch.setenv(docker.NETWORK, "host")
    docker.build(tmp_path, "lungs:3", {"diascope.model": "lungs"}, fresh=True)
    arguments = engine.asked("build")["arguments"]
    assert arguments[arguments.index("--build-arg") + 1] == "PIP_INDEX_URL"
    assert "secret" not in " ".join(arguments)
    assert {"--network=host", "--no-cache", "diascope.model=lungs"} <= set(arguments)
    assert arguments[-3:] == ["--tag", "lungs:3", str(tmp_path)]


def test_nothing_is_passed_on_that_is_not_set(engine, tmp_path):
    docker.build(tmp_path, "lungs:3", {})
    assert not {"--build-arg", "--no-cache", "--network=host"} & set(engine.asked("build")["arguments"])


@pytest.mark.parametrize(
    ("client", "said", "expected"), [("20.10.24", None, "1"), ("27.1.0", None, None), ("20.10.24", "0", "0")]
)
def test_old_clients_are_told_to_use_what_they_have_built_in(engine, monkeypatch, tmp_path, client, said, expected):
    engine.answer(version=(f"{client}\n", "", 0))
    if said:
        monkeypatch.setenv("DOCKER_BUILDKIT", said)
    docker.build(tmp_path, "lungs:3", {})
    assert engine.asked("build")["buildkit"] == expected
    assert engine.asked("build")["plain"] == "1"  # one image without an index around it, as AWS Lambda takes it


def test_a_failed_build_says_what_went_wrong_first(engine, tmp_path):
    engine.answer(
        version=("20.10.24\n", "", 0),
        build=("", "#7 9.1 ERROR: No matching distribution found for numpy\n#7 ERROR: exit code: 1\nfailed\n", 1),
    )
    with pytest.raises(docker.DockerError, match=r"^`docker build` failed: #7 9\.1 ERROR: No matching distribution"):
        docker.build(tmp_path, "lungs:3", {})


def test_an_engine_without_a_bridge_network_is_told_what_to_set(engine, tmp_path):
    said = 'process "/bin/sh -c python -m venv /app" failed: Error: network bridge not found\n'
    engine.answer(version=("20.10.24\n", "", 0), build=("", said, 1))
    with pytest.raises(docker.DockerError, match=r"^`docker build` failed: .*set DIASCOPE_DOCKER_NETWORK=host\.$"):
        docker.build(tmp_path, "lungs:3", {})


LEGACY = "DEPRECATED: The legacy builder is deprecated.\n\nThe command '/bin/sh -c pip' returned a non-zero code: 1\n"


def test_what_a_command_of_a_build_says_is_told_also_without_buildkit(engine, tmp_path):
    said = "Step 2/9 : RUN pip\nERROR: No matching distribution found for numpy\n"
    engine.answer(version=("20.10.24\n", "", 0), build=(said, LEGACY, 1))
    with pytest.raises(docker.DockerError, match=r"^`docker build` failed: ERROR: No matching distribution found for"):
        docker.build(tmp_path, "lungs:3", {})


def test_a_build_without_a_network_is_told_what_to_set(engine, tmp_path):
    said = "WARNING: Retrying after NewConnectionError: [Errno -3] Temporary failure in name resolution\n"
    engine.answer(version=("20.10.24\n", "", 0), build=(said, LEGACY, 1))
    with pytest.raises(docker.DockerError, match=r"^`docker build` failed: .*set DIASCOPE_DOCKER_NETWORK=host\.$"):
        docker.build(tmp_path, "lungs:3", {})


def test_a_container_that_ends_is_told_with_its_error_and_removed(engine, monkeypatch):
    monkeypatch.setenv(docker.NETWORK, "host")
    said = "Traceback\n  File x\ndiascope.errors.InputError: model.bin was changed.\n[ERROR] Exiting.\n"
    engine.answer(inspect=("false\n", "", 0), logs=("", said, 0))
    why = r"ended: diascope\.errors\.InputError: model\.bin was changed\."
    with pytest.raises(docker.DockerError, match=why), docker.running("lungs:3"):
        pytest.fail("it is not running")
    name = engine.asked("run")["arguments"][3]
    assert engine.asked("rm")["arguments"] == ["rm", "--force", name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_container_is_removed_whatever_happens(engine, monkeypatch, error):
    monkeypatch.setattr(docker, "is_ready", lambda url: True)
    monkeypatch.setenv(docker.NETWORK, "host")
    with pytest.raises(error), docker.running("lungs:3"):
        raise error
    assert engine.asked("rm")["arguments"][2] == engine.asked("run")["arguments"][3]


def test_a_container_that_had_to_be_killed_is_told(engine, monkeypatch):
    monkeypatch.setattr(docker, "is_ready", lambda url: True)
    engine.answer(port=("127.0.0.1:49153\n", "", 0), inspect=("137\n", "", 0))
    why = r"did not stop by itself within 10 seconds \(status 137\)"
    with pytest.raises(docker.DockerError, match=why), docker.running("lungs:3") as container:
        assert container.url == "http://127.0.0.1:49153"
    assert engine.asked("rm")


def test_a_container_runs_as_narrowly_as_it_can(engine, monkeypatch):
    monkeypatch.setattr(docker, "is_ready", lambda url: True)
    engine.answer(port=("127.0.0.1:49153\n", "", 0), inspect=("0\n", "", 0))
    with docker.running("lungs:3", "--env", "DIASCOPE_WORKERS=2"):
        pass
    arguments = engine.asked("run")["arguments"]
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "127.0.0.1::3000"} <= set(arguments)
    assert arguments[-3:] == ["--env", "DIASCOPE_WORKERS=2", "lungs:3"]


def test_a_container_that_never_gets_ready_is_told_and_removed(engine, monkeypatch):
    monkeypatch.setattr(docker, "PATIENCE", 0.1)
    monkeypatch.setenv(docker.NETWORK, "host")
    engine.answer(inspect=("true\n", "", 0), logs=("", "still loading\n", 0))
    why = r"not ready after 0\.1 seconds: still loading$"
    with pytest.raises(docker.DockerError, match=why), docker.running("lungs:3"):
        pytest.fail("it is not ready")
    assert engine.asked("rm")


def test_what_a_container_wrote_is_logged_where_its_test_fails(engine, monkeypatch, caplog):
    monkeypatch.setattr(docker, "is_ready", lambda url: True)
    monkeypatch.setenv(docker.NETWORK, "host")
    engine.answer(logs=("", "out of memory\n", 0))
    with caplog.at_level("INFO"), pytest.raises(RuntimeError), docker.running("lungs:3"):
        raise RuntimeError
    assert "out of memory" in caplog.text


def test_readiness_is_asked_for_without_a_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1000).startswith(b"GET /readyz ")
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert docker.is_ready(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(5)


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "contexts").mkdir()
    (folder / "config.json").write_text(
        json.dumps({"credsStore": "a", "credHelpers": {"b": "c"}, "currentContext": "remote"})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


PUSHED = {"image": ('["reg.example:5000/lungs@sha256:abc", "other/lungs@sha256:def"]', "", 0)}


def test_signing_in_leaves_nothing_behind(engine, own_settings):
    engine.answer(**PUSHED)
    before = (own_settings / "config.json").read_bytes()
    digest = docker.push("lungs:3", "reg.example:5000/lungs:3", ("me", "secret"))
    assert digest == "reg.example:5000/lungs@sha256:abc"
    pushed = engine.asked("push")
    assert pushed["settings"]["auths"] == {"reg.example:5000": {"auth": "bWU6c2VjcmV0"}}  # base64 of me:secret
    assert pushed["settings"]["currentContext"] == "remote"
    assert not {"credsStore", "credHelpers"} & set(pushed["settings"])
    assert pushed["files"] == ["config.json", "contexts"]
    assert "secret" not in json.dumps([call["arguments"] for call in engine.calls])
    assert (own_settings / "config.json").read_bytes() == before


def test_the_second_name_of_an_image_goes_again(engine):
    engine.answer(**PUSHED, push=("", "denied: error", 1))
    with pytest.raises(docker.DockerError, match=r"^`docker push` failed: denied: error$"):
        docker.push("lungs:3", "reg.example:5000/lungs:3", None)
    assert engine.asked("rmi")["arguments"][-1] == "reg.example:5000/lungs:3"


@pytest.mark.parametrize(
    ("target", "listed"),
    [
        ("docker.io/lab/lungs:3", "lab/lungs"),
        ("index.docker.io/library/lungs:3", "lungs"),
        ("reg.example:5000/library/lungs:3", "reg.example:5000/library/lungs"),
    ],
)
def test_the_digest_is_found_under_the_name_that_the_engine_lists(engine, target, listed):
    engine.answer(image=(json.dumps(["other/lungs@sha256:def", f"{listed}@sha256:abc"]), "", 0))
    assert docker.push("lungs:3", target, None) == f"{listed}@sha256:abc"


def test_a_push_without_a_digest_is_told(engine):
    engine.answer(image=('["other/lungs@sha256:def"]', "", 0))
    with pytest.raises(docker.DockerError, match=r"^reg\.example:5000/lungs:3 was pushed, but"):
        docker.push("lungs:3", "reg.example:5000/lungs:3", None)
