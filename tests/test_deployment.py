"""The real pipeline up to the bento; the container is tried in test_container.py."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from bento_stores import stores_in

import run
from diascope.deployment import Release

ROOT = Path(__file__).resolve().parent.parent
MODEL = "diascope-demo"
ENTRIES = ("service", "serving.lambda_entry")  # what `container/start.py` runs
KEYS = {
    *("pipeline", "run_name", "status", "stack", "model", "bento", "bento_mb", "bento_digest"),
    *("image", "image_mb", "ready_seconds", "pushed", "deployed", "parity", "smoke", "seconds"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Path]:
    with stores_in(tmp_path_factory.mktemp("bentoml")) as folder:
        yield folder


@pytest.fixture(scope="module")
def deployed(demo_run, train, store):
    return train("--deployment", "--target", "bento", "--json")


@pytest.fixture(scope="module")
def version(deployed):
    from zenml.client import Client

    return Client().get_model_version(MODEL, "production")


@pytest.fixture(scope="module")
def bento(deployed, store) -> Path:
    return store / "bentos" / MODEL / "1"


# What comes out


def test_the_result_says_what_was_made(deployed):
    assert deployed.status == 0, deployed.err
    result = deployed.result
    assert set(result) == KEYS
    assert (result["pipeline"], result["status"]) == ("deployment", "completed")
    assert result["model"] == {"name": MODEL, "version": "1", "stage": "production"}
    assert result["bento"] == f"{MODEL}:1"
    assert 0.1 < result["bento_mb"] < 10
    assert result["parity"]["n"] == 64
    assert result["parity"]["same_labels"] is True
    assert 0 <= result["parity"]["largest_difference"] <= 0.01
    without = ("image", "image_mb", "ready_seconds", "pushed", "deployed", "smoke")
    assert [result[key] for key in without] == [None] * 6
    assert list(result["seconds"]["steps"]) == ["load_production", "check_parity", "write_card", "build_bento"]
    assert len(deployed.out.strip().splitlines()) == 1


def test_the_model_is_stored_with_its_card_and_is_the_latest(deployed, store, version):
    import bentoml

    model = bentoml.models.get("diascope:latest")
    assert str(model.tag) == f"diascope:{MODEL}-1"
    folder = Path(model.path)
    assert {path.name for path in folder.iterdir()} == {
        *("model.xml", "model.bin", "metadata.json", "model.yaml"),
        *("card.json", "card.md", "card.html", "SHA256SUMS"),
    }
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert (card["model"]["name"], card["model"]["version"]) == (MODEL, "1")
    assert MODEL in (folder / "card.md").read_text(encoding="utf-8")
    stored = version.get_artifact("classifier").load()
    assert (folder / "model.bin").read_bytes() == (stored.root / "model.bin").read_bytes()


def test_the_bento_names_exactly_that_model(bento):
    described = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))
    (service,) = described["services"]
    assert [model["tag"] for model in service["models"]] == [f"diascope:{MODEL}-1"]
    assert (described["name"], described["version"]) == (MODEL, "1")


def test_zenml_records_tag_size_and_digest(deployed, version):
    from zenml.client import Client

    result = deployed.result
    steps = Client().get_pipeline_run(result["run_name"]).steps
    noted = steps["build_bento"].run_metadata["bento"]
    assert (noted["tag"], noted["digest"]) == (result["bento"], result["bento_digest"])
    assert version.run_metadata["bento"]["megabytes"] == result["bento_mb"]
    assert version.run_metadata["parity"] == result["parity"]
    assert steps["build_bento"].outputs["bento"][0].load().tag == result["bento"]
    assert version.get_artifact("classifier").id == steps["load_production"].inputs["classifier"][0].id


def test_the_card_is_in_the_dashboard(deployed, version):
    from zenml.client import Client

    step = Client().get_pipeline_run(deployed.result["run_name"]).steps["write_card"]
    (page,) = step.outputs["card_page"][0].visualizations
    text = Path(page.uri).read_text(encoding="utf-8")
    assert MODEL in text
    assert "esearch use only" in text
    assert version.get_artifact("card") is not None


def test_a_later_training_still_finds_what_it_compares_with(version):
    """What the deployment links to the version does not stand before what the training has linked."""
    assert (version.get_artifact("classifier").load().root / "model.keras").is_file()


# What is in the bento


def reached(module: str, found: set[Path]) -> set[Path]:
    """The project's files behind an import, also inside functions."""
    path = ROOT.joinpath(*module.split("."))
    file = next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)
    if file is None or file in found:
        return found
    found.add(file)
    if "." in module:
        reached(module.rpartition(".")[0], found)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names = []
        for name in names:
            reached(name, found)
    return found


def test_the_bento_holds_what_the_service_needs_of_the_library_and_no_more(bento):
    needed = {str(path.relative_to(ROOT)) for entry in ENTRIES for path in reached(entry, set())}
    packed = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*.py")}
    assert packed == needed | {"container/start.py", "container/trim.py"}


def test_beside_code_the_bento_holds_the_page_and_the_requirements(bento):
    others = {path.relative_to(bento / "src") for path in (bento / "src").rglob("*") if path.is_file()}
    folders = {path.parts[0] for path in others if path.suffix != ".py"}
    assert folders == {"web", "serving", "requirements", "bentofile.yaml"}
    assert (bento / "src" / "requirements" / "serve.txt").read_bytes() == (
        ROOT / "requirements" / "serve.txt"
    ).read_bytes()
    assert (bento / "src" / "web" / "index.html").is_file()


def test_the_dockerfile_is_whole(bento):
    text = (bento / "env" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert "{{" not in text
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.11-slim"] * 3
    assert not re.search(r"apt-get|build-essential|syntax *=", text)
    assert "--require-hashes" in text


# Again


def test_a_second_deployment_takes_the_place_of_the_first_and_says_how_to_go_on(
    deployed, train, store, bento, monkeypatch
):
    """Where no engine answers: it ends at the bento."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.setenv("DIASCOPE_MODEL", "diascope:another")  # what a user serves is not what is packaged
    (bento / "left.over").touch()
    second = train("--deployment", "--set", "seed=1")
    assert second.status == 0, second.err
    assert "bentoml serve diascope-demo:1" in second.out
    assert "docker run" not in second.out
    assert "No Docker engine answers here." in second.err
    assert "python run.py --deployment --config demo --set seed=1 --target container" in second.err
    assert not (bento / "left.over").exists()
    from zenml.client import Client

    again = Client().get_model_version(MODEL, "production").run_metadata["bento"]
    assert again["digest"] == deployed.result["bento_digest"]


def test_an_ordinary_build_works_as_it_is(deployed, store):
    """`bentoml build` in the project's folder."""
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tag = done.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    assert tag.startswith("diascope:")
    assert (store / "bentos" / tag.replace(":", "/") / "src" / "service.py").is_file()


# What fails


@contextmanager
def changed(path: Path) -> Iterator[Path]:
    """Put a file back afterwards; the same file, for others may be links to it."""
    before = path.read_bytes()
    try:
        yield path
    finally:
        path.write_bytes(before)


def made(bento: Path) -> float:
    return (bento / "bento.yaml").stat().st_mtime


def test_an_answer_that_differs_ends_the_run_and_is_named(deployed, train, version, bento):
    before = made(bento)
    with changed(version.get_artifact("evaluation").load().root / "predictions.parquet") as path:
        table = pd.read_parquet(path)
        shifted = table["split"] == "test"
        table.loc[shifted, ["p0", "p1", "p2"]] = table.loc[shifted, ["p1", "p2", "p0"]].to_numpy()
        table.to_parquet(path, index=False)
        failed = train("--deployment", "--target", "bento")
    assert failed.status == 1
    said = failed.err.strip().splitlines()[-1]
    assert re.search(r"synthetic_p\d+_s\d+\.png: answered is '\w+', measured was '\w+'; .* \(difference \d\.\d+", said)
    assert made(bento) == before  # nothing was built


def test_a_changed_network_is_named(deployed, train, version, bento):
    before = made(bento)
    with changed(version.get_artifact("classifier").load().root / "model.bin") as path:
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        failed = train("--deployment", "--target", "bento")
    assert failed.status == 2
    assert re.search(r"model\.bin is missing or was changed", failed.err.strip().splitlines()[-1])
    assert made(bento) == before


def test_nothing_in_production_is_one_sentence(demo_run, train):
    done = train("--deployment", "--target", "bento", "--set", "promotion.model=nobody")
    assert done.status == 2
    assert done.err == "No version of 'nobody' is in production: run --training first.\n"


def test_a_container_without_an_engine_is_refused_before_anything_is_built(deployed, train, bento, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    before = made(bento)
    done = train("--deployment", "--target", "container")
    assert done.status == 2
    assert done.err == "No Docker engine answers: start one, or end at the bento with --target bento.\n"
    assert made(bento) == before


# Targets, up to their own tests


@pytest.fixture
def aws(tmp_path, monkeypatch) -> Iterator[None]:
    """An account in which nothing is yet; no call leaves this machine."""
    from cloud import aws_environment, moto

    with moto(tmp_path) as endpoint:
        for name, value in aws_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        yield


def test_a_target_on_aws_is_looked_at_with_the_credentials_of_the_environment(demo_run, train, aws):
    looked = train("--deployment", "--target", "ecs", "--status", "--json")
    assert looked.status == 0, looked.err
    detail = "there is no service 'diascope-demo' in cluster 'diascope'"
    absent = {"target": "ecs", "service": MODEL, "state": "absent", "version": None, "url": None, "detail": detail}
    assert looked.result == absent
    removed = train("--deployment", "--target", "ecs", "--delete", "--json")
    assert (removed.status, removed.result) == (0, {"target": "ecs", "removed": []})


def test_a_service_that_failed_is_an_exit_status_for_programs(demo_run, train, monkeypatch):
    from targets.container import ContainerTarget
    from targets.target import Status

    failed = Status(target="container", service=MODEL, state="failed", version=1, url=None, detail="it does not run: x")
    monkeypatch.setattr(ContainerTarget, "status", lambda self, service: failed)
    done = train("--deployment", "--target", "container", "--status")
    assert done.status == 1
    assert re.search(r"^State +failed *\nVersion +1 *\nDetail +it does not run: x$", done.out, re.MULTILINE)


def test_what_a_target_lacks_is_said_before_anything_is_built(deployed, train, bento, monkeypatch):
    """A stack without a registry, and a cluster that is not there."""
    monkeypatch.setattr("diascope.docker.find_engine", lambda: "20.10")
    before = made(bento)
    done = train("--deployment", "--target", "lambda")
    assert done.status == 2
    assert done.err.startswith(
        "The active stack 'local' has no container registry, from which lambda could take the image:"
    )
    if shutil.which("kubectl"):
        done = train("--deployment", "--target", "kubernetes", "--set", "deployment.kubernetes.context=nowhere")
        assert done.status == 2
        assert "context was not found for specified context: nowhere" in done.err
    assert made(bento) == before


@pytest.mark.parametrize("target", ["container", "ecs", "kubernetes"])
def test_every_target_needs_an_engine_to_build_with(demo_run, train, monkeypatch, target):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    done = train("--deployment", "--target", target)
    assert done.status == 2
    assert done.err == "No Docker engine answers: start one, or end at the bento with --target bento.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--deployment", "--require-promotion"], "--require-promotion goes with --training"),
        (["--training", "--target", "bento"], "--target goes with --deployment"),
        (["--deployment", "--training"], "not allowed with argument"),
        (["--deployment", "--report"], "not allowed with argument"),
        (["--deployment", "--target", "cloud"], "invalid choice"),
        (["--rollback", "--target", "container"], "--target goes with --deployment"),
        (["--rollback", "--require-promotion"], "--require-promotion goes with --training"),
        (["--training", "--status"], "--status goes with --deployment"),
        (["--rollback", "--delete"], "--delete goes with --deployment"),
        (["--deployment", "--status"], "say which service is meant: --target container, sagemaker, "),
        (["--deployment", "--target", "bento", "--delete"], "say which service is meant: --target container, "),
        (["--deployment", "--target", "ecs", "--delete", "--status"], "--status and --delete do not go together"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("diascope-demo", "diascope-demo:7"),
        ("Chest CT (v2)", "chest-ct-v2:7"),
        ("chest_ct.small", "chest_ct.small:7"),
        ("a..b__c", "a-b-c:7"),
        ("肺", "diascope:7"),
    ],
)
def test_tags_are_such_as_bentoml_and_docker_take(name, tag):
    from bentoml import Tag

    release = Release(name=name, version=7, created="now", stage="production", decision=None)
    assert release.tag == tag
    assert release.stored_as == f"diascope:{tag.replace(':', '-')}"
    assert str(Tag.from_str(release.tag)) == tag
    assert re.fullmatch(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*:\w+", tag)  # Docker's own rule
