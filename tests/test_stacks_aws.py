"""The AWS stacks with moto for AWS: registered, used, refused, taken away; in ZenML's own store, which is quick."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import cloud
import pytest
from test_stacks_reach import TRUST, answering

from diascope import aws
from diascope.errors import InputError

ROLE = "arn:aws:iam::123456789012:role/diascope"
ROOT = Path(__file__).resolve().parent.parent
BUCKET = "diascope-artifacts"


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    folder: Path
    registry: str
    mlflow: str


def registry(method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """A container registry that lets everybody push but to the repository `secret`."""
    return (403 if "/secret/" in path else 202 if method == "POST" else 200), {}, "{}"


def mlflow(method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """As much of MLflow as a stack asks for."""
    return (401 if headers.get("Authorization") == "Bearer wrong" else 200), {}, '{"experiments": []}'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Stand-ins for the cloud, and a client of a ZenML server of its own; whichever was in use comes back."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    folder = tmp_path_factory.mktemp("cloud")
    before = GlobalConfiguration.get_instance(), Client.get_instance()
    patch = pytest.MonkeyPatch()
    with ExitStack() as servers:
        endpoint = servers.enter_context(cloud.moto(folder))
        environment = cloud.aws_environment(endpoint)
        images, _ = servers.enter_context(answering(registry))
        tracking, _ = servers.enter_context(answering(mlflow))
        for name in [name for name in os.environ if name.startswith(("AWS_", "DIASCOPE_AWS_", "ZENML_ACTIVE"))]:
            patch.delenv(name)
        values = {
            "REGION": cloud.REGION,
            "BUCKET": BUCKET,
            "REGISTRY": images,
            "EXECUTION_ROLE": ROLE,
            "TRACKING_URI": f"http://{tracking}",
        }
        said = {f"DIASCOPE_AWS_{key}": value for key, value in values.items()}
        own = {"ZENML_CONFIG_PATH": str(folder / "client"), "DOCKER_CONFIG": str(folder), "HOME": str(folder)}
        own |= {"ZENML_ENABLE_IMPLICIT_AUTH_METHODS": "true", "ZENML_LOGGING_VERBOSITY": "CRITICAL"}
        for name, value in (environment | said | own).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        (folder / "values.yaml").write_text("stack: aws\n")
        GlobalConfiguration._reset_instance()
        Client._reset_instance()
        try:
            yield Place(folder, images, f"http://{tracking}")
        finally:
            patch.undo()
            GlobalConfiguration._reset_instance(before[0])
            Client._reset_instance(before[1])


@pytest.fixture
def client(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Everything that the stack needs is there, nothing is registered."""
    import requests
    from zenml.client import Client

    from stacks.aws.registration import unregister

    monkeypatch.setattr("diascope.docker.find_engine", lambda: "docker")
    for module in ("stacks.server", "stacks.preflight"):  # that it must be a server is another test's
        monkeypatch.setattr(f"{module}.check_server", lambda: None)
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    requests.post(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=30)
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    boto3.client("iam").create_role(RoleName="diascope", AssumeRolePolicyDocument=json.dumps(TRUST))
    client = Client()
    client.activate_stack("default")
    for stack in client.list_stacks(name="mine").items:
        client.delete_stack(stack.id)
    unregister("aws")
    assert everything(client) == BARE
    yield client
    client.activate_stack("default")


BARE = {"stack default", "artifact_store default", "orchestrator default", "deployer default"}


def everything(client: Any) -> set[str]:
    """What ZenML knows."""
    return (
        {f"stack {each.name}" for each in client.list_stacks(size=100).items}
        | {f"{each.type.value} {each.name}" for each in client.list_stack_components(size=100).items}
        | {f"connector {each.name}" for each in client.list_service_connectors(size=100).items}
        | {f"secret {each.name}" for each in client.list_secrets(size=100).items}
    )


def ids(client: Any) -> set[str]:
    listed = [client.list_stacks, client.list_stack_components, client.list_service_connectors]
    return {str(each.id) for entities in listed for each in entities(size=100).items}


def make_stack(*arguments: str) -> int:
    from stacks.aws.__main__ import main

    return main(["--values", "values.yaml", *arguments])  # not the one that whoever runs the tests may have


def registered() -> None:
    """The stacks, without the checks before."""
    from stacks.aws.registration import register
    from stacks.aws.values import read_secrets, read_values

    assert register(read_values(Path("values.yaml")), read_secrets()) == ["aws", "aws-local"]


def flavors(client: Any, stack: str) -> dict[str, str]:
    return {str(kind): found[0].flavor_name for kind, found in client.get_stack(stack).components.items()}


def test_both_stacks_are_registered_and_a_second_time_changes_nothing(client: Any, capsys) -> None:
    assert make_stack() == 0
    assert capsys.readouterr().out.endswith(
        "Registered the stacks aws and aws-local. Use one with `zenml stack set aws`.\n"
    )
    common = {
        "artifact_store": "s3",
        "container_registry": "default",
        "image_builder": "local",
        "experiment_tracker": "mlflow",
        "model_registry": "mlflow",
    }
    assert flavors(client, "aws") == common | {"orchestrator": "sagemaker"}
    assert flavors(client, "aws-local") == common | {"orchestrator": "local"}
    linked = client.get_stack("aws").components
    connectors = {str(kind): found[0].connector and found[0].connector.name for kind, found in linked.items()}
    assert {kind for kind, name in connectors.items() if name == "aws-implicit"} == {"artifact_store", "orchestrator"}
    assert client.active_stack_model.name == "default"  # which one is used, the user says

    before = ids(client)
    registered()
    assert ids(client) == before


def test_switching_needs_no_edit_of_a_file(client: Any) -> None:
    from stacks.here import orchestrator_flavor, runs_here
    from stacks.session import aws_session

    registered()
    found = []
    for name in ("aws", "aws-local", "default"):
        client.activate_stack(name)
        found.append((orchestrator_flavor(), runs_here()))
    assert found == [("sagemaker", False), ("local", True), ("local", True)]

    client.activate_stack("aws")
    session = aws_session()
    assert session.region_name == cloud.REGION
    assert session.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_what_must_run_here_uses_the_sibling_for_this_process_alone(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stacks.here import use_stack_here

    monkeypatch.setenv("ZENML_ACTIVE_STACK_ID", "")
    registered()
    client.activate_stack("aws")
    assert use_stack_here() == "aws-local"
    assert client.active_stack_model.name == "aws-local"
    monkeypatch.setenv("ZENML_ACTIVE_STACK_ID", "")
    assert client.active_stack_model.name == "aws"
    client.delete_stack("aws-local")
    with pytest.raises(
        InputError, match=r"'aws' runs its steps elsewhere, and there is no stack 'aws-local'.*stack-aws"
    ):
        use_stack_here()
    client.activate_stack("default")
    assert use_stack_here() == "default"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "Logging in to AWS failed: there are no AWS credentials",
        ),
        ({"DIASCOPE_AWS_REGION": "eu-central-9"}, "There is no AWS region 'eu-central-9'"),
        ({"DIASCOPE_AWS_BUCKET": "nowhere"}, "Opening the bucket 'nowhere' failed: there is no such bucket"),
        ({"DIASCOPE_AWS_EXECUTION_ROLE": f"{ROLE}-2"}, f"There is no role {ROLE}-2: create it"),
        ({"DIASCOPE_AWS_REPOSITORY": "secret"}, "refuses to let us push to secret"),
        ({"DIASCOPE_AWS_REGISTRY": "127.0.0.1:9"}, "The registry 127.0.0.1:9 cannot be reached"),
        ({"DIASCOPE_AWS_TRACKING_URI": "http://127.0.0.1:9"}, "MLflow at http://127.0.0.1:9 cannot be reached"),
        ({"DIASCOPE_AWS_TRACKING_TOKEN": "wrong"}, "does not let us in (401)"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect to the endpoint URL"),
        (
            {"DIASCOPE_AWS_REGISTRY": "123456789012.dkr.ecr.eu-central-1.amazonaws.com"},
            "There is no ECR repository 'diascope-steps' in eu-central-1",
        ),
        (
            {"DIASCOPE_AWS_IMAGE_BUILDER": "codebuild", "DIASCOPE_AWS_CODEBUILD_PROJECT": "images"},
            "There is no CodeBuild project 'images'",
        ),
        ({"DIASCOPE_AWS_BUCKET": "Wrong_Name"}, "DIASCOPE_AWS_BUCKET: should match"),
    ],
)
def test_wrong_input_is_one_sentence_and_registers_nothing(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    assert make_stack() == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert everything(client) == BARE


def test_no_docker_matters_only_where_images_are_built_here(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("diascope.docker.find_engine", lambda: None)
    assert make_stack() == 2
    assert "No Docker engine answers" in capsys.readouterr().err
    boto3.client("codebuild").create_project(
        name="images",
        source={"type": "S3", "location": f"{BUCKET}/code"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=ROLE,
    )
    monkeypatch.setenv("DIASCOPE_AWS_IMAGE_BUILDER", "codebuild")
    monkeypatch.setenv("DIASCOPE_AWS_CODEBUILD_PROJECT", "images")
    assert make_stack() == 0
    assert flavors(client, "aws")["image_builder"] == "aws"


def test_a_zenml_that_is_only_local(place: Place, tmp_path: Path) -> None:
    own = {"PYTHONPATH": str(ROOT), "ZENML_CONFIG_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "stacks.aws"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("ZenML keeps its records on this machine, where steps that run elsewhere cannot")
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("broken", ["create_service_connector", "create_stack_component", "create_stack"])
def test_a_failure_on_the_way_leaves_nothing_half_registered(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys, broken: str
) -> None:
    from zenml.client import Client

    works, calls = getattr(Client, broken), []
    last = {"create_service_connector": 1, "create_stack_component": 6, "create_stack": 2}[broken]

    def fail_at_last(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == last:
            raise RuntimeError("the server went away\nfor a while")
        return works(self, *arguments, **options)

    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_TOKEN", "token")
    monkeypatch.setattr(Client, broken, fail_at_last)
    assert make_stack() == 2
    assert "cannot be registered: the server went away for a while." in capsys.readouterr().err
    assert everything(client) == BARE
    registered()
    assert "stack aws-local" in everything(client)


def test_an_update_that_fails_leaves_what_was_there(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_TOKEN", "first")
    registered()
    boto3.client("s3").create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_TOKEN", "second")
    monkeypatch.setenv("DIASCOPE_AWS_BUCKET", "other")
    monkeypatch.setenv("DIASCOPE_AWS_CONNECTOR", "environment")

    def fail(*_: Any) -> None:
        raise InputError("no")

    def state() -> tuple[Any, ...]:
        store = client.get_stack_component("artifact_store", "aws-s3")
        return (
            store.configuration["path"],
            store.connector_resource_id,
            client.get_secret("aws-mlflow").secret_values,
            {each.auth_method for each in client.list_service_connectors().items},
        )

    before = state()
    with monkeypatch.context() as broken:
        broken.setattr("stacks.aws.registration.ensure_stack", fail)
        with pytest.raises(InputError, match="no"):
            registered()
    assert state() == before == (f"s3://{BUCKET}", f"s3://{BUCKET}", {"token": "first"}, {"implicit"})
    registered()
    assert state() == ("s3://other", "s3://other", {"token": "second"}, {"secret-key"})


def test_a_server_that_goes_away_for_good_is_told_with_what_to_do(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from zenml.client import Client

    def gone(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    with monkeypatch.context() as broken:
        for name in ("create_stack", "delete_stack", "delete_stack_component"):
            broken.setattr(Client, name, gone)
        with pytest.raises(
            InputError, match=r"refused\. What was registered by then could not be taken back .*: run `make s"
        ):
            registered()
    assert make_stack("--delete") == 0
    assert everything(client) == BARE


def test_another_registry_takes_the_place_of_the_first(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registered()
    boto3.client("ecr").create_repository(repositoryName="diascope-steps")
    monkeypatch.setenv("DIASCOPE_AWS_REGISTRY", "123456789012.dkr.ecr.eu-central-1.amazonaws.com")
    registered()
    assert flavors(client, "aws")["container_registry"] == "aws"
    assert "container_registry aws-default" not in everything(client)


def test_somebody_elses_component_is_not_touched(client: Any, capsys) -> None:
    from zenml.enums import StackComponentType

    kind = StackComponentType.ARTIFACT_STORE
    client.create_stack_component("aws-s3", "s3", kind, {"path": "s3://theirs"})
    try:
        assert make_stack() == 2
        assert "There already is a artifact_store 'aws-s3' in ZenML that was not made here" in capsys.readouterr().err
        assert everything(client) == BARE | {"artifact_store aws-s3"}
        assert client.get_stack_component(kind, "aws-s3").configuration == {"path": "s3://theirs"}
        assert make_stack("--delete") == 0
        assert "artifact_store aws-s3" in everything(client)
    finally:
        client.delete_stack_component("aws-s3", kind)


def test_a_connector_that_the_server_refuses(client: Any, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from zenml.client import Client
    from zenml.exceptions import AuthorizationException

    def refuse(*_: Any, **__: Any) -> None:
        raise AuthorizationException("Implicit authentication methods are not enabled.")

    monkeypatch.setattr(Client, "create_service_connector", refuse)
    assert make_stack() == 2
    assert "start the ZenML server with ZENML_ENABLE_IMPLICIT_AUTH_METHODS=true" in capsys.readouterr().err
    assert everything(client) == BARE


def test_deleting_takes_all_and_says_what(client: Any, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_TOKEN", "token")
    registered()
    client.activate_stack("aws")
    capsys.readouterr()
    assert make_stack("--delete") == 0
    out = capsys.readouterr().out
    for part in (
        "stack aws,",
        "stack aws-local",
        "orchestrator aws-sagemaker",
        "service connector aws-implicit",
        "aws-mlflow",
    ):
        assert part in out
    assert everything(client) == BARE
    assert client.active_stack_model.name == "default"
    assert make_stack("--delete") == 0
    assert "Nothing of a stack 'aws' was registered." in capsys.readouterr().out


def test_deleting_stops_where_somebody_uses_a_part(client: Any, capsys) -> None:
    registered()
    components = {"orchestrator": "default", "artifact_store": "aws-s3"}
    from zenml.enums import StackComponentType

    client.create_stack("mine", {StackComponentType(kind): name for kind, name in components.items()})
    before = everything(client)
    assert make_stack("--delete") == 2
    assert "The stack 'mine' uses the artifact_store 'aws-s3'" in capsys.readouterr().err
    assert everything(client) == before


def test_credentials_given_once_are_kept(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_USERNAME", "me")
    monkeypatch.setenv("DIASCOPE_AWS_TRACKING_PASSWORD", "pw")
    registered()
    monkeypatch.delenv("DIASCOPE_AWS_TRACKING_USERNAME")
    monkeypatch.delenv("DIASCOPE_AWS_TRACKING_PASSWORD")
    registered()
    client.activate_stack("aws-local")
    config = client.active_stack.experiment_tracker.config
    assert (config.tracking_username, config.tracking_password, config.tracking_token) == ("me", "pw", None)
    stored = client.get_stack_component("experiment_tracker", "aws-mlflow").configuration
    assert stored["tracking_password"] == "{{aws-mlflow.password}}"


def test_an_active_stack_is_checked_before_a_run(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from stacks.preflight import check_stack

    check_stack()  # of ZenML's own default stack, nothing
    registered()
    for name in ("aws-local", "aws"):
        client.activate_stack(name)
        check_stack()
    monkeypatch.setattr("diascope.docker.find_engine", lambda: None)
    with pytest.raises(InputError, match="No Docker engine answers"):
        check_stack()
    client.activate_stack("aws-local")
    check_stack()  # whose steps need no image
    boto3.client("iam").delete_role(RoleName="diascope")
    check_stack()
    client.activate_stack("aws")
    with pytest.raises(InputError, match=f"There is no role {ROLE}"):
        check_stack()
    boto3.client("s3").delete_bucket(Bucket=BUCKET)
    for name in ("aws", "aws-local"):
        client.activate_stack(name)
        with pytest.raises(InputError, match=f"Opening the bucket '{BUCKET}' failed: there is no such bucket"):
            check_stack()


def test_mlflow_that_has_gone_is_noticed_before_a_run(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from zenml.enums import StackComponentType

    from stacks.preflight import check_stack

    registered()
    said = {"tracking_uri": "http://127.0.0.1:9"}
    client.update_stack_component("aws-mlflow", StackComponentType.EXPERIMENT_TRACKER, configuration=said)
    for name in ("aws", "aws-local"):
        client.activate_stack(name)
        with pytest.raises(InputError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be reached"):
            check_stack()


def test_files_of_this_machine_are_refused_or_brought(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from diascope.buckets import listing
    from diascope.experiment import load
    from stacks.ready import make_ready

    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(name.encode())
    (tmp_path / "my.weights.h5").write_bytes(b"weights")
    folder, weights = str(tmp_path / "pets"), str(tmp_path / "my.weights.h5")
    config = ROOT / "configs" / "folder.yaml"
    local = load(config, [f"dataset.source={folder}", f"candidates.1.weights={weights}"])
    registered()
    client.activate_stack("aws-local")
    assert make_ready(local, upload=False) is local
    assert make_ready(local, upload=True) is local

    client.activate_stack("aws")
    with pytest.raises(
        InputError, match=r"^Steps of the stack 'aws' run elsewhere and cannot read dataset\.source"
    ) as e:
        make_ready(local, upload=False)
    assert f"candidates.1.weights ({weights}): add --upload" in str(e.value)

    parameters = make_ready(local, upload=True).parameters
    assert parameters.dataset.source.startswith(f"s3://{BUCKET}/diascope/uploads/")
    assert len(listing(parameters.dataset.source).items) == 2
    assert parameters.candidates[1].weights.endswith("/my.weights.h5")
    assert parameters.candidates[0].weights == "imagenet"
    assert f"{folder} is at s3://" in capsys.readouterr().err
    demo = load(config.with_name("demo.yaml"))
    assert make_ready(demo, upload=False) is demo


def test_nothing_is_uploaded_where_the_store_is_not_on_s3(client: Any, tmp_path: Path) -> None:
    from zenml.enums import StackComponentType

    from diascope.experiment import load
    from diascope.preflight import local_inputs
    from stacks.ready import upload_paths

    registered()
    config = ROOT / "configs" / "folder.yaml"
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="artifact store on S3, but that of the stack 'default' is 'local'"):
        upload_paths(local_inputs(load(config, [f"dataset.source={tmp_path}"]).parameters))
    assert StackComponentType.ARTIFACT_STORE in client.get_stack("aws").components


def test_the_connectors_credentials_are_used_where_there_are_no_others(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diascope.experiment import load
    from stacks.ready import make_ready

    monkeypatch.setenv("DIASCOPE_AWS_CONNECTOR", "environment")
    registered()
    client.activate_stack("aws")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(aws, "_lent", [])
    make_ready(load(ROOT / "configs" / "demo.yaml"), upload=False)
    found = aws.session().get_credentials()
    assert found is not None
    assert found.access_key == "testing"
