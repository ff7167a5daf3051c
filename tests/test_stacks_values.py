"""What the values of the AWS stack may say, and where it is told that they are wrong."""

from pathlib import Path

import pytest
import yaml
from zenml.exceptions import AuthorizationException

from diascope.errors import InputError
from stacks.aws.parts import authentication, parts
from stacks.aws.values import AwsValues, read_secrets, read_values

ROOT = Path(__file__).resolve().parent.parent
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
GOOD = {
    "region": "eu-central-1",
    "bucket": "diascope-123",
    "registry": ECR,
    "execution_role": "arn:aws:iam::123456789012:role/diascope-steps",
    "tracking_uri": "https://mlflow.example.org",
}


def written(folder: Path, **values: object) -> Path:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(GOOD | values))
    return path


def by_kind(values: AwsValues, **secrets: frozenset[str]) -> dict[str, tuple[str, dict, str | None]]:
    return {part.kind: (part.flavor, part.configuration, part.resource) for part in parts(values, secrets)}


def test_the_example_is_what_the_code_reads() -> None:
    text = (ROOT / "stacks" / "aws" / "values.example.yaml").read_text()
    assert set(yaml.safe_load(text)) == set(AwsValues.model_fields)
    assert read_values(ROOT / "stacks" / "aws" / "values.example.yaml", {}).stack == "aws"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = read_values(path, {"DIASCOPE_AWS_BUCKET": "other", "DIASCOPE_AWS_STACK": "hospital"})
    assert (found.bucket, found.stack, found.region) == ("other", "hospital", "eu-central-1")
    everything = {f"DIASCOPE_AWS_{key.upper()}": value for key, value in GOOD.items()}
    assert read_values(environment=everything) == read_values(path, {})


def test_everything_wrong_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("regoin: eu-central-1\nbucket: 5\nimage_builder: kaniko\n")
    with pytest.raises(InputError) as raised:
        read_values(path, {"DIASCOPE_AWS_TRACKING_URI": "mlflow.example.org"})
    lines = str(raised.value).splitlines()
    for start in (
        "values.yaml: region (or DIASCOPE_AWS_REGION): is missing",
        "values.yaml: bucket (or DIASCOPE_AWS_BUCKET): should be text",
        "values.yaml: regoin: unknown key; the nearest is 'region'",
        "DIASCOPE_AWS_TRACKING_URI: should match",
        "values.yaml: image_builder (or DIASCOPE_AWS_IMAGE_BUILDER): should be 'local' or 'codebuild'",
    ):
        assert any(line.startswith(start) for line in lines), start


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_builder": "codebuild"}, "say in codebuild_project which project builds"),
        ({"region": "eu-west-1"}, "The registry is in eu-central-1 and region says eu-west-1"),
        ({"registry": f"{ECR}/team"}, f"registry should end with {ECR}: what follows it belongs into repository"),
    ],
)
def test_values_that_do_not_go_together(tmp_path: Path, values: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_values(written(tmp_path, **values), {})


@pytest.mark.parametrize("key", ["tracking_token", "tracking_password", "aws_secret_access_key"])
def test_no_secret_may_stand_in_the_file(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"{key}: unknown key"):
        read_values(written(tmp_path, **{key: "x"}), {})


def test_secrets_come_from_the_environment_alone() -> None:
    found = read_secrets(
        {"DIASCOPE_AWS_TRACKING_TOKEN": "t", "DIASCOPE_AWS_REGISTRY_USERNAME": "u"}
        | {"DIASCOPE_AWS_REGISTRY_PASSWORD": "p"}
    )
    assert found == {"mlflow": {"token": "t"}, "registry": {"username": "u", "password": "p"}}
    assert read_secrets({}) == {}
    with pytest.raises(
        InputError, match="Set DIASCOPE_AWS_TRACKING_USERNAME and DIASCOPE_AWS_TRACKING_PASSWORD, both, or"
    ):
        read_secrets({"DIASCOPE_AWS_TRACKING_USERNAME": "u"})
    with pytest.raises(InputError, match="Set DIASCOPE_AWS_REGISTRY_USERNAME"):
        read_secrets({"DIASCOPE_AWS_REGISTRY_PASSWORD": "p"})


def test_parts_on_aws(tmp_path: Path) -> None:
    values = read_values(written(tmp_path, image_builder="codebuild", codebuild_project="images"), {})
    found = by_kind(values)
    assert found["artifact_store"] == ("s3", {"path": "s3://diascope-123"}, "s3://diascope-123")
    assert found["container_registry"] == ("aws", {"uri": ECR, "default_repository": "diascope-steps"}, ECR)
    assert found["image_builder"] == ("aws", {"code_build_project": "images"}, "eu-central-1")
    flavor, orchestrator, resource = found["orchestrator"]
    assert (flavor, resource) == ("sagemaker", "eu-central-1")
    assert orchestrator["execution_role"] == GOOD["execution_role"]
    assert orchestrator["bucket"] == "diascope-123"  # not one that SageMaker's library makes
    assert orchestrator["output_data_s3_uri"] == "s3://diascope-123/diascope/sagemaker"
    assert found["experiment_tracker"][1]["tracking_token"] == "none"


def test_a_private_registry_and_a_password_for_mlflow(tmp_path: Path) -> None:
    values = read_values(written(tmp_path, registry="registry.example:5000/team"), {})
    login = frozenset({"username", "password"})
    found = by_kind(values, mlflow=login, registry=login)
    flavor, registry, resource = found["container_registry"]
    assert (flavor, resource, registry["authentication_secret"]) == ("default", None, "aws-registry")
    tracker = found["experiment_tracker"][1]
    assert tracker["tracking_username"] == "{{aws-mlflow.username}}"
    assert tracker["tracking_password"] == "{{aws-mlflow.password}}"
    assert tracker["tracking_token"] is None
    assert found["image_builder"][:2] == ("local", {"use_subprocess_call": True})
    assert "authentication_secret" not in by_kind(values)["container_registry"][1]


def test_how_the_connector_logs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    role = "arn:aws:iam::123456789012:role/zenml"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def way(**values: str) -> tuple[str, dict[str, str]]:
        return authentication(read_values(written(tmp_path, **values), {}))

    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret", "region": "eu-central-1"}
    assert way() == ("implicit", {"region": "eu-central-1"})
    assert way(connector_role=role) == ("implicit", {"region": "eu-central-1", "role_arn": role})
    assert way(connector="environment") == ("secret-key", keys)
    assert way(connector="environment", connector_role=role) == ("iam-role", keys | {"role_arn": role})
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert way(connector="environment") == ("sts-token", keys | {"aws_session_token": "token"})
    with pytest.raises(InputError, match="cannot be assumed with temporary credentials"):
        way(connector="environment", connector_role=role)
    assert way(endpoint_url="http://minio:9000")[1]["endpoint_url"] == "http://minio:9000"


def test_the_environment_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="connector is environment, but there are no AWS credentials: set AWS_PROFILE"):
        authentication(read_values(written(tmp_path, connector="environment"), {}))


def test_a_zenml_server_that_lets_nobody_in_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stacks.aws import __main__ as command

    def refused(*_: object, **__: object) -> None:
        raise AuthorizationException("insufficient permissions")

    monkeypatch.setattr(command, "_register", refused)
    assert command.main([]) == command.FAILED
    assert capsys.readouterr().err == "ZenML failed: AuthorizationException: insufficient permissions; run again.\n"
