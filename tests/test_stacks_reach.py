"""Registry, MLflow, bucket and role as a stack finds them, each of them wrong in one way."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest

from diascope import aws
from diascope.errors import InputError
from stacks import account, push
from stacks.push import check_push
from stacks.server import check_reachable
from stacks.tracking import TrackingLogin, check_tracking

Answer = tuple[int, dict[str, str], str]
ALLOW = {"Effect": "Allow", "Action": "sts:AssumeRole"}
TRUST = {"Version": "2012-10-17", "Statement": [ALLOW | {"Principal": {"Service": "sagemaker.amazonaws.com"}}]}
REGION = "eu-central-1"


@contextmanager
def answering(answer: Callable[[str, str, dict[str, str]], Answer]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server on this machine: its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, headers, body = answer(self.command, self.path, dict(self.headers))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_docker_login(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def registry(status: int) -> Callable[[str, str, dict[str, str]], Answer]:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        if path == "/v2/":
            return 200, {}, "{}"
        return (status, {"Location": "/v2/team/steps/blobs/uploads/7?x=1"}, "") if method == "POST" else (204, {}, "")

    return answer


def test_a_push_is_begun_and_cancelled() -> None:
    with answering(registry(202)) as (address, asked):
        check_push(f"{address}/team", "steps")
    assert asked == ["GET /v2/", "POST /v2/team/steps/blobs/uploads/", "DELETE /v2/team/steps/blobs/uploads/7?x=1"]


@pytest.mark.parametrize(
    ("status", "login", "said"),
    [
        (401, None, r"refuses to let us push to team/steps without a password: use credentials that may push"),
        (403, ("robot", "x"), r"refuses to let us push to team/steps as 'robot'.*docker login 127\.0\.0\.1"),
        (404, None, "has no repository team/steps: create it"),
        (500, None, "does not take images: it answers 500"),
    ],
)
def test_a_registry_that_refuses(status: int, login: tuple[str, str] | None, said: str) -> None:
    with answering(registry(status)) as (address, _), pytest.raises(InputError, match=said):
        check_push(f"{address}/team", "steps", login)


@pytest.mark.parametrize(("password", "allowed"), [("right", True), ("wrong", False)])
def test_a_registry_that_wants_a_token(password: str, allowed: bool) -> None:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        if path.startswith("/token"):
            assert "scope=repository%3Asteps%3Apush%2Cpull" in path
            good = headers.get("Authorization") == basic(("robot", "right"))
            return (200, {}, '{"token": "abc"}') if good else (401, {}, "{}")
        if headers.get("Authorization") == "Bearer abc":
            return 202, {}, ""
        realm = f'Bearer realm="http://{headers["Host"]}/token",service="r",scope="repository:steps:push,pull"'
        return 401, {"WWW-Authenticate": realm}, "{}"

    with answering(answer) as (address, asked):
        if allowed:
            check_push(address, "steps", ("robot", password))
        else:
            with pytest.raises(InputError, match="refuses to let us push to steps as 'robot'"):
                check_push(address, "steps", ("robot", password))
    assert any(each.startswith("GET /token") for each in asked)


def test_the_login_that_docker_keeps_is_used(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        return (202 if headers.get("Authorization") == basic(("me", "pw")) else 401), {}, ""

    with answering(answer) as (address, _):
        auth = base64.b64encode(b"me:pw").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
        check_push(address, "steps")
        (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {address: "is-not-installed"}}))
        with pytest.raises(InputError, match=f"Docker's credentials for {address} cannot be read"):
            check_push(address, "steps")


def test_a_service_that_has_no_repository_is_known_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from zenml.client import Client

    from diascope.deployment import Release
    from pipelines import deployment_run

    release = Release(name="Lab CT", version=1, created="2026-01-01", stage="production", decision=None)
    for status, below, path in ((202, "steps", "/v2/team/steps/lab-ct/"), (404, None, "/v2/team/lab-ct/")):
        with answering(registry(status)) as (address, asked):
            config = SimpleNamespace(uri=f"{address}/team", default_repository=below)
            taking = SimpleNamespace(flavor="default", config=config, credentials=("me", "secret"))
            stack = SimpleNamespace(container_registry=taking)
            monkeypatch.setattr(Client, "active_stack", property(lambda _, stack=stack: stack))
            if status == 202:
                deployment_run.check_push(release)
            else:
                with pytest.raises(InputError, match=r"has no repository team/lab-ct: create it"):
                    deployment_run.check_push(release)
        assert any(path in str(each) for each in asked)
    monkeypatch.setattr(Client, "active_stack", property(lambda _: SimpleNamespace(container_registry=None)))
    deployment_run.check_push(release)  # nothing is pushed, and nothing asked


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"^The registry 127\.0\.0\.1:9 cannot be reached \(ConnectionError\)"):
        check_push("127.0.0.1:9", "steps")


def test_no_docker_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diascope.docker.find_engine", lambda: None)
    with pytest.raises(InputError, match=r"No Docker engine answers, .*: start one, or let CodeBuild build"):
        push.check_docker()


def test_mlflow_answers_a_search_with_the_right_token() -> None:
    def answer(method: str, path: str, headers: dict[str, str]) -> Answer:
        assert path == "/mlflow/api/2.0/mlflow/experiments/search?max_results=1"
        return (200 if headers.get("Authorization") == "Bearer good" else 401), {}, '{"experiments": []}'

    with answering(answer) as (address, _):
        check_tracking(f"http://{address}/mlflow/", TrackingLogin(token="good"))
        for login in (TrackingLogin(token="bad"), TrackingLogin("me", "pw"), TrackingLogin()):
            with pytest.raises(InputError, match=r"does not let us in \(401\): set DIASCOPE_AWS_TRACKING_TOKEN"):
                check_tracking(f"http://{address}/mlflow", login)


@pytest.mark.parametrize(("status", "body"), [(503, "{}"), (200, "<html>a page</html>"), (404, "{}")])
def test_what_is_no_mlflow(status: int, body: str) -> None:
    with (
        answering(lambda *_: (status, {}, body)) as (address, _),
        pytest.raises(InputError, match=f"answers {status}, not as an MLflow server does"),
    ):
        check_tracking(f"http://{address}", TrackingLogin())


def test_mlflow_is_not_there() -> None:
    with pytest.raises(
        InputError, match=r"^MLflow at http://127\.0\.0\.1:9 cannot be reached \(ConnectionError\): start"
    ):
        check_tracking("http://127.0.0.1:9", TrackingLogin())


def test_passwords_do_not_show() -> None:
    assert "secret" not in repr(TrackingLogin("me", "secret", "secret"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost/x", "https://[::1]", "http://a.localhost"])
def test_an_address_of_this_machine_is_no_good_on_aws(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(InputError, match=r"^MLflow is at .*, an address of this machine alone"):
        check_reachable("MLflow", url)
    with pytest.raises(InputError, match="address of this machine alone"):
        check_reachable("MLflow", url, "https://s3.example.org")
    check_reachable("MLflow", url, "http://127.0.0.1:5000")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:5000")
    check_reachable("MLflow", url)


def test_an_address_of_elsewhere_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for url in ("https://mlflow.example.org", "http://10.0.0.3:5000"):
        check_reachable("MLflow", url)


@pytest.fixture
def session(in_aws: None, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    yield boto3.Session()
    import requests

    requests.post(f"{aws_endpoint}/moto-api/reset", timeout=10)


def make_bucket(session: boto3.Session, name: str, region: str) -> Any:
    client = session.client("s3", region_name=region)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    return client


def test_a_bucket_is_written_to_and_left_as_it_was(session: boto3.Session) -> None:
    client = make_bucket(session, "artifacts", REGION)
    account.check_bucket(session, "artifacts")
    assert "Contents" not in client.list_objects_v2(Bucket="artifacts")


def test_no_such_bucket_or_one_elsewhere(session: boto3.Session) -> None:
    with pytest.raises(InputError, match=r"^Opening the bucket 'artifacts' failed: there is no such bucket; check its"):
        account.check_bucket(session, "artifacts")
    make_bucket(session, "artifacts", "eu-west-1")
    with pytest.raises(InputError, match=r"^The bucket 'artifacts' is in eu-west-1, but the stack is in eu-central-1"):
        account.check_bucket(session, "artifacts")


def test_a_bucket_that_can_be_read_alone(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    client = make_bucket(session, "artifacts", REGION)

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")

    monkeypatch.setattr(client, "put_object", refuse)
    monkeypatch.setattr(aws, "client", lambda *_, **__: client)
    with pytest.raises(InputError, match=r"^Writing to the bucket 'artifacts' failed: access is denied to PutObject"):
        account.check_bucket(session, "artifacts")


def test_the_role_must_be_there_ours_and_sagemakers(session: boto3.Session, capsys) -> None:
    owner = account.account_of(session)
    role = f"arn:aws:iam::{owner}:role/service/diascope"
    with pytest.raises(InputError, match=f"^There is no role {role}: create it with `terraform apply`"):
        account.check_role(session, role, owner)
    iam = session.client("iam")
    iam.create_role(RoleName="diascope", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    with pytest.raises(InputError, match=r"^SageMaker may not assume the role .*trust policy"):
        account.check_role(session, role, owner)
    iam.update_assume_role_policy(RoleName="diascope", PolicyDocument=json.dumps(TRUST))
    account.check_role(session, role, owner)
    with pytest.raises(InputError, match="is of account 999999999999, but the credentials are of account"):
        account.check_role(session, "arn:aws:iam::999999999999:role/diascope", owner)
    with pytest.raises(InputError, match="'diascope' is no ARN"):
        account.check_role(session, "diascope", owner)
    assert capsys.readouterr().err == ""


def test_a_role_that_may_not_be_looked_at_is_said_and_no_error(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from botocore.exceptions import ClientError

    iam = session.client("iam")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetRole")

    monkeypatch.setattr(iam, "get_role", refuse)
    monkeypatch.setattr(aws, "client", lambda *_, **__: iam)
    account.check_role(session, "arn:aws:iam::123456789012:role/diascope", "123456789012")
    assert "cannot be checked: iam:GetRole is not allowed" in capsys.readouterr().err


def test_repository_project_and_pipelines(session: boto3.Session) -> None:
    with pytest.raises(InputError, match=r"no ECR repository 'steps' in eu-central-1: .*--repository-name steps"):
        account.check_repository(session, "steps")
    session.client("ecr").create_repository(repositoryName="steps")
    account.check_repository(session, "steps")
    user, password = account.registry_login(session)
    assert (user, bool(password)) == ("AWS", True)
    with pytest.raises(InputError, match="no CodeBuild project 'images': create it, or say image_builder: local"):
        account.check_codebuild(session, "images")
    account.check_sagemaker(session)


def test_regions() -> None:
    account.check_region("eu-central-1")
    account.check_region("cn-north-1")
    with pytest.raises(InputError, match="There is no AWS region 'eu-centrall-1'; the nearest is 'eu-central-1'"):
        account.check_region("eu-centrall-1")
