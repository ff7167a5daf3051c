"""What steps run in, and which code they get, without building anything."""

import os
import subprocess
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from docker.utils.build import exclude_paths

from container import trim
from diascope.errors import InputError
from diascope.experiment import load
from pipelines import code, images

ROOT = Path(__file__).resolve().parent.parent
GPU = {"orchestrator.sagemaker": {"instance_type": "ml.g5.xlarge"}}
CPU = {"orchestrator.sagemaker": {"instance_type": "ml.m5.large"}}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (images.PARENT, images.NETWORK, *images.PASSED_ON):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)


def configured(**document: object) -> dict:
    return yaml.safe_load(images.with_images(yaml.safe_dump({"parameters": {"seed": 1}} | document)))


def requirements(settings: dict) -> str:
    return settings["docker"]["parent_image_build_config"]["build_options"]["build_args"]["REQUIREMENTS"]


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = [line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith(("#", " "))]
    return dict(found)


# Which image


def test_every_step_runs_in_the_cpu_image_unless_it_is_said_otherwise() -> None:
    document = configured(settings=CPU)
    assert requirements(document["settings"]) == "requirements/steps-cpu.txt"
    assert document["settings"]["orchestrator.sagemaker"] == CPU["orchestrator.sagemaker"]


def test_a_candidate_that_trains_a_network_on_a_gpu_has_the_gpu_image() -> None:
    document = configured(steps={"train_fine": {"settings": GPU}, "train_other": {"settings": CPU}})
    assert requirements(document["steps"]["train_fine"]["settings"]) == "requirements/steps-gpu.txt"
    assert document["steps"]["train_fine"]["settings"]["orchestrator.sagemaker"] == GPU["orchestrator.sagemaker"]
    assert "docker" not in document["steps"]["train_other"]["settings"]
    assert requirements(document["settings"]) == "requirements/steps-cpu.txt"


def test_where_all_have_gpus_a_step_without_has_the_cpu_image() -> None:
    document = configured(settings=GPU, steps={"check_data": {"settings": CPU}, "train_a": {"retry": {}}})
    assert requirements(document["settings"]) == "requirements/steps-gpu.txt"
    assert requirements(document["steps"]["check_data"]["settings"]) == "requirements/steps-cpu.txt"
    assert "settings" not in document["steps"]["train_a"]


@pytest.mark.parametrize(
    ("settings", "gpu"),
    [
        ({"orchestrator.sagemaker": {"instance_type": "ml.p3.2xlarge"}}, True),
        ({"orchestrator.sagemaker": {"estimator_args": {"instance_type": "ml.g4dn.xlarge"}}}, True),
        ({"resources": {"gpu_count": 1}}, True),
        ({"resources": {"cpu_count": 8}}, False),
        ({"orchestrator.sagemaker": {"instance_type": "ml.c5.large"}}, False),
        ({}, False),
    ],
)
def test_what_counts_as_a_gpu(settings: dict, gpu: bool) -> None:
    assert requirements(configured(settings=settings)["settings"]).endswith("gpu.txt" if gpu else "cpu.txt")


def test_what_the_experiment_says_of_its_image_goes_first() -> None:
    own = {"skip_build": True, "parent_image": "registry.example/steps:1"}
    document = configured(settings={"docker": own}, steps={"train_a": {"settings": GPU}})
    assert own.items() <= document["settings"]["docker"].items()
    assert own.items() <= document["steps"]["train_a"]["settings"]["docker"].items()


def test_the_settings_of_every_experiment_here_are_ones_that_zenml_takes() -> None:
    from zenml.config.docker_settings import DockerSettings

    for path in sorted((ROOT / "configs").glob("*.yaml")):
        document = yaml.safe_load(images.with_images(load(path).resolved()))
        taken = DockerSettings.model_validate(document["settings"]["docker"])
        assert Path(str(taken.dockerfile)).is_file()
        assert not taken.install_stack_requirements
        assert not taken.allow_including_files_in_images
        assert taken.allow_download_from_artifact_store


# How it is built


def options(settings: dict) -> list[str]:
    from zenml.config.docker_settings import DockerSettings

    taken = DockerSettings.model_validate(settings)
    assert taken.parent_image_build_config
    assert taken.parent_image_build_config.build_options
    return taken.parent_image_build_config.build_options.to_docker_cli_options()


def test_the_parent_image_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PARENT_IMAGE=python:3.11-slim" in options(images.docker_settings())
    before = images.docker_settings()["image_tag"]
    private = "registry.example/python@sha256:" + "0" * 64
    monkeypatch.setenv(images.PARENT, private)
    assert f"PARENT_IMAGE={private}" in options(images.docker_settings())
    assert images.docker_settings()["image_tag"] != before


def test_the_builders_network_is_named_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.NETWORK, "host")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@packages.example/simple")
    said = options(images.docker_settings())
    assert said[said.index("--network") + 1] == "host"
    assert ("--build-arg", "PIP_INDEX_URL") in pairwise(said)
    assert "secret" not in str(images.docker_settings())


def test_the_docker_library_takes_the_options_too() -> None:
    """An image builder without `use_subprocess_call` gives them to it, where no network has to be named."""
    from docker.api.build import BuildApiMixin
    from zenml.config.docker_settings import DockerSettings

    taken = DockerSettings.model_validate(images.docker_settings()).parent_image_build_config
    assert taken
    assert taken.build_options
    assert set(taken.build_options.to_docker_python_sdk_options()) <= set(BuildApiMixin.build.__code__.co_varnames)


def test_nothing_of_this_machine_is_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variant in (True, False):
        assert str(ROOT) not in str(images.docker_settings(gpu=variant))
    monkeypatch.chdir(ROOT / "docs")
    moved = images.docker_settings()
    assert Path(moved["dockerfile"]).resolve() == ROOT / "container/steps/Dockerfile"
    assert moved["image_tag"] == images.docker_settings()["image_tag"]


def test_the_image_is_another_when_its_packages_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("steps-cpu", "steps-gpu"):
        target = tmp_path / "requirements" / f"{name}.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text("a==1\n")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    before = images.docker_settings()["image_tag"]
    assert images.docker_settings()["image_tag"] == before
    (tmp_path / "requirements" / "steps-cpu.txt").write_text("a==2\n")
    assert images.docker_settings()["image_tag"] != before


def test_the_builder_gets_a_few_small_files() -> None:
    patterns = (images.FOLDER / "dockerignore").read_text().split()
    sent = {name for name in exclude_paths(str(ROOT), patterns) if (ROOT / name).is_file()}
    assert {"requirements/steps-cpu.txt", "requirements/steps-gpu.txt", "container/trim.py"} <= sent
    assert {Path(name).parent.as_posix() for name in sent} == {"requirements", "container", "container/steps"}
    assert sum((ROOT / name).stat().st_size for name in sent) < 1e6


# What is in it


def test_both_images_have_the_same_packages_but_for_tensorflow() -> None:
    cpu, gpu = pinned("steps-cpu.txt"), pinned("steps-gpu.txt")
    assert cpu["tensorflow-cpu"] == gpu["tensorflow"]
    assert cpu.keys() - gpu.keys() == {"tensorflow-cpu"}
    assert all(name == "tensorflow" or name.startswith("nvidia-") for name in gpu.keys() - cpu.keys())
    assert {name: gpu[name] for name in cpu.keys() & gpu.keys()} == {
        name: cpu[name] for name in cpu.keys() & gpu.keys()
    }


def test_the_images_have_the_versions_that_steps_have_here() -> None:
    here, there = pinned("train.txt"), pinned("steps-cpu.txt")
    assert there["tensorflow-cpu"] == here["tensorflow"]
    assert not {name: (here[name], there[name]) for name in here.keys() & there.keys() if here[name] != there[name]}


def test_the_images_have_what_the_components_of_the_stack_want_and_no_server() -> None:
    there = pinned("steps-cpu.txt")
    assert {"sagemaker", "kubernetes", "aws-profile-manager", "pytz", "s3fs", "boto3", "mlflow"} <= there.keys()
    assert not {"bentoml", "uvicorn-worker", "passlib", "pytest", "moto"} & there.keys()


@pytest.mark.parametrize("pattern", trim.STEPS)
def test_what_is_left_out_is_still_there_to_be_left_out(pattern: str) -> None:
    """A pattern that finds nothing any more is out of date (the packages here are those of the image)."""
    assert next(Path(sysconfig.get_path("purelib")).glob(pattern), None)


# Which code


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "run.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "large").write_bytes(bytes(30_000_000))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, env=environment, check=True)
    return tmp_path


def test_a_checkout_is_uploaded_without_what_git_ignores(checkout: Path) -> None:
    code.check_code(checkout)


def test_this_project_can_be_uploaded() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the project is no Git checkout here")
    code.check_code()


def test_without_git_nothing_is_uploaded(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("")
    with pytest.raises(InputError, match="no Git checkout"):
        code.check_code(tmp_path)


@pytest.mark.parametrize(
    "name",
    [".env", "stacks/aws/values.yaml", "key.pem", "id_ed25519", "x.tfstate.backup", ".netrc", "service-account-1.json"],
)
def test_a_secret_that_git_does_not_ignore_is_not_uploaded(checkout: Path, name: str) -> None:
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("secret")
    with pytest.raises(InputError, match=f"^{name} looks like a secret"):
        code.check_code(checkout)


def test_data_that_git_does_not_ignore_are_not_uploaded(checkout: Path) -> None:
    (checkout / "data").mkdir()
    (checkout / "data" / "features.npy").write_bytes(bytes(25_000_000))
    with pytest.raises(InputError, match=r"25 MB .* data/features\.npy .* \.gitignore"):
        code.check_code(checkout)


@pytest.mark.parametrize("name", ["scan.dcm", "data/1.PNG"])
def test_images_are_not_uploaded_with_the_code(checkout: Path, name: str) -> None:
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"^{name} is an image"):
        code.check_code(checkout)
