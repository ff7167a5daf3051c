"""Functions of AWS Lambda: what is asked of AWS, and what is left where AWS does not do it."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from amazon import ACCOUNT, REGION, ROLE, Amazon, amazon, streamed
from moto.awslambda.models import lambda_backends

from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets import find_target, patience
from targets.lambda_function import LambdaTarget
from targets.target import Deployed, Service, TargetError

NAME = "diascope-demo"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
PING = {"statusCode": 200, "body": ""}
ANSWER = {"label": "a", "probabilities": {"a": 1.0}, "model": {"name": NAME, "version": "1"}}


class Functions:
    """What moto lacks: functions of images that answer, and that take time."""

    def __init__(self, aws: Amazon) -> None:
        self.aws = aws
        self.reply: Any = PING
        self._count = 0
        aws.answers |= {"Invoke": self._invoked, "PublishVersion": self._published}

    def _invoked(self, _: dict[str, Any]) -> dict[str, Any]:
        failed = {"FunctionError": "Unhandled"} if "errorMessage" in self.reply else {}
        return {"StatusCode": 200, "Payload": streamed(self.reply), **failed}

    def _published(self, asked: dict[str, Any]) -> dict[str, Any]:
        """As moto does it, but with numbers that are given once, and an image of its own."""
        backend = lambda_backends[ACCOUNT][REGION]._lambdas
        latest, versions = (backend._functions[asked["FunctionName"]][key] for key in ("latest", "versions"))
        if versions and not latest.code_or_config_updated:
            return versions[-1].get_configuration()
        latest.code_or_config_updated = False
        self._count += 1
        made = copy.copy(latest)
        made.code = dict(latest.code)
        made.set_version(self._count)
        versions.append(made)
        backend._arns[made.function_arn] = made
        return made.get_configuration()

    @property
    def all(self) -> list[str]:
        return list(lambda_backends[ACCOUNT][REGION]._lambdas._functions)

    @property
    def aliases(self) -> dict[str, str]:
        pages = self.aws.own.client("lambda").list_aliases(FunctionName=NAME)
        return {each["Name"]: each["FunctionVersion"] for each in pages["Aliases"]}

    def versions(self) -> dict[str, str]:
        """Image of each published version."""
        client = self.aws.own.client("lambda")
        found = client.list_versions_by_function(FunctionName=NAME)["Versions"]
        numbers = [each["Version"] for each in found if each["Version"] != "$LATEST"]
        return {number: self.code(number) for number in numbers}

    def code(self, qualifier: str) -> str:
        found = self.aws.own.client("lambda").get_function(FunctionName=NAME, Qualifier=qualifier)
        return found["Code"]["ImageUri"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    monkeypatch.delenv("DIASCOPE_API_KEY", raising=False)
    with amazon() as made:
        yield made


@pytest.fixture
def functions(aws: Amazon) -> Functions:
    return Functions(aws)


def target(aws: Amazon, **settings: Any) -> LambdaTarget:
    environment = settings.pop("environment", {})
    given = DeploymentSettings.model_validate({"lambda_function": settings, "environment": environment})
    found = find_target("lambda", given, aws.session)
    assert isinstance(found, LambdaTarget)
    return found


def service(aws: Amazon, version: int = 1) -> Service:
    return Service(name=NAME, version=version, model="Diascope demo", image=aws.image(str(version)))


def deploy(aws: Amazon, version: int = 1, **settings: Any) -> Deployed:
    return target(aws, **settings).deploy(service(aws, version))


# What is asked for


def test_the_first_deployment_makes_a_function_that_answers_before_it_serves(aws, functions):
    given = service(aws)
    results = "s3://bucket/answers"
    deployed = target(aws, memory=3008, event_timeout=90, results=results, tags={"ward": "7"}).deploy(given)
    (made,) = aws.calls("CreateFunction")
    about = "Diascope demo version 1. Research use only, not a medical device."
    assert made == {
        "FunctionName": NAME,
        "PackageType": "Image",
        "Code": {"ImageUri": given.image},
        "Tags": {
            "ward": "7",
            "diascope:service": NAME,
            "diascope:model": "Diascope demo",
        },
        "Architectures": ["x86_64"],
        "Role": ROLE_ARN,
        "MemorySize": 3008,
        "Timeout": 90,
        "Environment": {"Variables": {"DIASCOPE_RESULTS": results}},
        "Description": about,
    }
    order = ["CreateFunction", "PublishVersion", "Invoke", "CreateAlias", "CreateAlias"]
    assert aws.names()[:5] == order
    (tried,) = aws.calls("Invoke")
    assert tried["Qualifier"] == "1"  # the version itself: nobody is led to it yet
    event = json.loads(tried["Payload"])
    assert (event["version"], event["rawPath"], event["requestContext"]["http"]["method"]) == ("2.0", "/ping", "GET")
    assert functions.aliases == {"v1": "1", "live": "1"}
    assert (deployed.version, deployed.previous) == (1, None)
    assert deployed.resources == {"function": NAME, "number": "1", "region": REGION}


def test_the_url_is_for_those_who_may_unless_told_otherwise(aws, functions, monkeypatch):
    deployed = deploy(aws)
    (url,) = aws.calls("CreateFunctionUrlConfig")
    assert url == {"FunctionName": NAME, "Qualifier": "live", "AuthType": "AWS_IAM"}
    assert aws.calls("AddPermission") == []
    assert deployed.url.startswith("https://")
    assert target(aws).status(NAME).url == deployed.url
    monkeypatch.setenv("DIASCOPE_API_KEY", "secret")
    again = deploy(aws, auth="NONE")
    assert again.url == deployed.url
    granted = [(each["Action"], each["Principal"], each["Qualifier"]) for each in aws.calls("AddPermission")]
    assert granted == [("lambda:InvokeFunctionUrl", "*", "live"), ("lambda:InvokeFunction", "*", "live")]
    assert [each.get("FunctionUrlAuthType") for each in aws.calls("AddPermission")] == ["NONE", None]
    assert [each.get("InvokedViaFunctionUrl") for each in aws.calls("AddPermission")] == [None, True]
    (change,) = aws.calls("UpdateFunctionConfiguration")
    assert change["Environment"] == {"Variables": {"DIASCOPE_API_KEY": "secret"}}
    assert aws.calls("UpdateFunctionUrlConfig")[-1]["AuthType"] == "NONE"


def test_what_everybody_could_call_is_closed_again(aws, functions, monkeypatch):
    monkeypatch.setenv("DIASCOPE_API_KEY", "secret")
    deploy(aws, auth="NONE")
    before = len(aws.asked)
    deploy(aws)
    names = [name for name, _ in aws.asked[before:] if name in ("RemovePermission", "UpdateFunctionUrlConfig")]
    assert names == ["RemovePermission", "RemovePermission", "UpdateFunctionUrlConfig"]
    assert aws.calls("UpdateFunctionConfiguration")[-1]["Environment"] == {"Variables": {}}


def test_nothing_is_open_to_everybody_without_a_key(aws, functions):
    for act in (lambda found: found.check(NAME), lambda found: found.deploy(service(aws))):
        with pytest.raises(InputError, match="set DIASCOPE_API_KEY in the environment"):
            act(target(aws, auth="NONE"))
    assert functions.all == []


def test_concurrency_is_reserved_and_given_back(aws, functions):
    deploy(aws, concurrency=5)
    assert aws.calls("PutFunctionConcurrency") == [{"FunctionName": NAME, "ReservedConcurrentExecutions": 5}]
    deploy(aws)
    assert aws.calls("DeleteFunctionConcurrency") == [{"FunctionName": NAME}]


def test_an_image_is_answered_by_the_event_of_a_function_url(aws, functions, monkeypatch):
    monkeypatch.setenv("DIASCOPE_API_KEY", "secret")
    deploy(aws, auth="NONE")
    functions.reply = {"statusCode": 200, "body": json.dumps(ANSWER), "isBase64Encoded": False}
    assert target(aws).ask(NAME, b"\x00image") == ANSWER
    asked = aws.calls("Invoke")[-1]
    assert (asked["FunctionName"], asked["Qualifier"]) == (NAME, "live")
    event = json.loads(asked["Payload"])
    assert (event["rawPath"], event["requestContext"]["http"]["method"]) == ("/invocations", "POST")
    assert event["headers"] == {"content-type": "application/octet-stream", "x-api-key": "secret"}
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\x00image", True)


def test_what_is_not_answered_is_told(aws, functions):
    with pytest.raises(InputError, match="deploy it first"):
        target(aws).ask(NAME, b"image")
    deploy(aws)
    functions.reply = {"statusCode": 415, "body": '{"error": "image is not an image."}'}
    with pytest.raises(TargetError, match="did not answer an image: image is not an image"):
        target(aws).ask(NAME, b"image")
    functions.reply = {"errorMessage": "2026-11-21 Task timed out after 60.00 seconds"}
    with pytest.raises(TargetError, match=r"did not answer: .*Task timed out after 60\.00 seconds"):
        target(aws).ask(NAME, b"image")
    with pytest.raises(InputError, match=r"takes images of 4\.5 MB in a request, and this one has 5\.0 MB"):
        target(aws).ask(NAME, b"0" * 5_000_000)


# Once more


def test_the_same_again_changes_nothing(aws, functions):
    first, before = deploy(aws), len(aws.asked)
    second = deploy(aws)
    changed = {name for name, _ in aws.asked[before:] if not name.startswith(("Get", "List", "Describe"))}
    assert changed <= {"UpdateAlias", "RemovePermission", "DeleteFunctionConcurrency"}
    assert second.resources == first.resources | {"previous_number": "1"}
    assert (second.previous, second.url) == (1, first.url)
    target(aws).roll_back(second)
    assert functions.aliases == {"v1": "1", "live": "1"}


def test_a_new_version_takes_over_once_it_has_answered(aws, functions):
    deploy(aws)
    before = len(aws.names())
    second = deploy(aws, 2)
    order = ["UpdateFunctionCode", "PublishVersion", "Invoke", "CreateAlias", "UpdateAlias"]
    assert aws.names()[before : before + 5] == order
    (moved,) = aws.calls("UpdateAlias")
    assert (moved["Name"], moved["FunctionVersion"]) == ("live", "2")
    assert functions.aliases == {"v1": "1", "v2": "2", "live": "2"}
    assert functions.versions() == {"1": aws.image("1"), "2": aws.image("2")}
    assert second.previous == 1
    status = target(aws).status(NAME)
    assert (status.state, status.version) == ("serving", 2)
    assert status.detail == "Version 2 of the function runs with 2048 MB."


def test_other_settings_of_the_same_model_are_a_new_version_of_the_function(aws, functions):
    deploy(aws)
    again = deploy(aws, memory=1024)
    assert (again.previous, again.resources["previous_number"]) == (1, "1")
    assert functions.aliases == {"v1": "2", "live": "2"}
    target(aws).roll_back(again)
    assert functions.aliases == {"v1": "1", "live": "1"}


def test_the_last_few_versions_are_kept(aws, functions):
    for version in range(1, 6):
        deploy(aws, version, keep=2)
    assert functions.aliases == {"v4": "4", "v5": "5", "live": "5"}
    assert functions.versions() == {"4": aws.image("4"), "5": aws.image("5")}


def test_a_version_that_serves_is_kept_however_old_it_is(aws, functions):
    for version in (5, 6, 7, 1):
        deploy(aws, version, keep=2)
    assert functions.aliases["live"] == functions.aliases["v1"]
    assert target(aws).status(NAME).version == 1


def test_going_back_brings_the_version_before(aws, functions):
    deploy(aws)
    target(aws).roll_back(deploy(aws, 2))
    assert functions.aliases == {"v1": "1", "live": "1"}
    assert functions.versions() == {"1": aws.image("1")}
    assert functions.code("$LATEST") == aws.image("1")


def test_going_back_from_the_first_removes_the_function(aws, functions):
    target(aws).roll_back(deploy(aws))
    assert functions.all == []


# Where it fails


def test_a_first_version_that_does_not_answer_is_removed(aws, functions):
    functions.reply = {"errorMessage": "model.bin is missing or was changed; store the model anew."}
    with pytest.raises(TargetError, match=r"did not answer: model\.bin is missing or was changed"):
        deploy(aws)
    assert functions.all == []


def test_a_version_that_does_not_answer_never_serves(aws, functions):
    deploy(aws)
    functions.reply = {"statusCode": 500, "body": ""}
    with pytest.raises(TargetError, match="answers 500 to /ping"):
        deploy(aws, 2, memory=4096)
    assert functions.aliases == {"v1": "1", "live": "1"}
    assert functions.versions() == {"1": aws.image("1")}
    assert functions.code("$LATEST") == aws.image("1")
    functions.reply = PING
    deploy(aws, 2)
    assert target(aws).status(NAME).version == 2


@pytest.mark.parametrize(
    "operation", ["PublishVersion", "CreateAlias", "CreateFunctionUrlConfig", "DeleteFunctionConcurrency"]
)
def test_a_first_deployment_that_is_refused_leaves_nothing(aws, functions, operation):
    aws.fail(operation, "TooManyRequestsException", "Rate exceeded", status=429)
    with pytest.raises(InputError, match="asked too often; wait a minute and run again"):
        deploy(aws)
    assert functions.all == []
    assert deploy(aws).previous is None


@pytest.mark.parametrize(
    "operation", ["UpdateFunctionCode", "PublishVersion", "UpdateAlias", "DeleteFunctionConcurrency"]
)
def test_an_update_that_is_refused_leaves_the_old_version(aws, functions, operation):
    deploy(aws)
    aws.fail(operation, "TooManyRequestsException", "Rate exceeded", status=429)
    with pytest.raises(InputError, match="asked too often"):
        deploy(aws, 2)
    assert functions.aliases == {"v1": "1", "live": "1"}
    assert functions.versions() == {"1": aws.image("1")}
    assert functions.code("$LATEST") == aws.image("1")


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            "AccessDeniedException",
            "Lambda does not have permission to access the ECR image. Check the ECR permissions.",
            "allow lambda.amazonaws.com ecr:BatchGetImage",
        ),
        (
            "InvalidParameterValueException",
            "The image manifest, config or layer media type for the source image x is not supported.",
            "BUILDX_NO_DEFAULT_ATTESTATIONS=1",
        ),
        (
            "InvalidParameterValueException",
            "Source image x does not exist. Provide a valid source image.",
            "is not in the registry: it was not pushed",
        ),
        (
            "ResourceConflictException",
            "The operation cannot be performed at this time. An update is in progress for resource: x",
            "somebody else is changing the function; wait, and run again",
        ),
    ],
)
def test_a_refusal_is_one_sentence_with_the_remedy(aws, functions, code, message, expected):
    aws.fail("CreateFunction", code, message)
    with pytest.raises(InputError) as caught:
        deploy(aws)
    assert expected in str(caught.value)
    assert functions.all == []


def test_a_role_that_was_just_made_is_waited_for(aws, functions):
    message = "The role defined for the function cannot be assumed by Lambda."
    aws.fail("CreateFunction", "InvalidParameterValueException", message, times=3)
    deploy(aws)
    assert len(aws.calls("CreateFunction")) == 4


def test_a_role_that_lambda_never_takes_on_is_told(aws, functions, monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 100.0)
    message = "The role defined for the function cannot be assumed by Lambda."
    aws.fail("CreateFunction", "InvalidParameterValueException", message, times=5)
    with pytest.raises(InputError, match=r"cannot be assumed by Lambda\.$"):
        deploy(aws)


def test_a_function_that_cannot_run_is_told_and_removed(aws, functions):
    def broken(asked: dict[str, Any]) -> None:
        lambda_backends[ACCOUNT][REGION]._lambdas._functions[NAME]["latest"].state = "Failed"

    aws.answers["GetFunction"] = lambda asked: broken(asked) if aws.calls("CreateFunction") and functions.all else None
    with pytest.raises(TargetError, match="cannot run: Lambda does not say why"):
        deploy(aws)
    assert functions.all == []


def test_a_function_that_is_never_ready_is_removed(aws, functions, monkeypatch):
    def slow(asked: dict[str, Any]) -> None:
        if functions.all:
            lambda_backends[ACCOUNT][REGION]._lambdas._functions[NAME]["latest"].state = "Pending"

    aws.answers["GetFunction"] = slow
    monkeypatch.setattr(patience, "PAUSE", 100.0)
    with pytest.raises(TargetError, match="not ready after 30 seconds"):
        deploy(aws, timeout=30)
    assert functions.all == []


def test_a_missing_role_and_one_for_others_are_named_before_anything_is_made(aws, functions):
    aws.role("other", "sagemaker.amazonaws.com")
    with pytest.raises(InputError, match="There is no role 'absent'"):
        target(aws, role="absent").check(NAME)
    with pytest.raises(InputError, match=r"does not trust lambda\.amazonaws\.com"):
        deploy(aws, role="other")
    assert aws.names() == []


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.example:5000/diascope:1", "Lambda takes images from Amazon ECR alone"),
        (f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/diascope:1", "cannot take an image from us-east-1"),
        (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/diascope:absent", "it was not pushed, or removed; deploy anew"),
        (f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/absent:1", "it was not pushed, or removed; deploy anew"),
    ],
)
def test_an_image_that_lambda_cannot_take_is_named_before_anything_is_made(aws, functions, image, expected):
    with pytest.raises(InputError, match=expected):
        target(aws).deploy(service(aws).model_copy(update={"image": image}))
    assert aws.names() == []


def test_a_function_of_somebody_else_is_left_alone(aws, functions):
    code = {"ImageUri": aws.image()}
    aws.own.client("lambda").create_function(FunctionName=NAME, PackageType="Image", Code=code, Role=ROLE_ARN)
    for act in ("check", "delete"):
        with pytest.raises(InputError, match=r"did not make .* another one in deployment\.lambda_function\.function"):
            getattr(target(aws), act)(NAME)
    with pytest.raises(InputError, match="did not make"):
        deploy(aws)
    status = target(aws).status(NAME)
    assert (status.state, "it is not Diascope's" in status.detail) == ("absent", True)
    assert deploy(aws, function="another").resources["function"] == "another"
    assert set(functions.all) == {NAME, "another"}


def test_tags_that_may_not_be_seen_are_told(aws, functions):
    deploy(aws)
    error = {"ErrorCode": "AccessDeniedException", "Message": "not authorized to perform: lambda:ListTags"}
    aws.answers["GetFunction"] = lambda _: {"Configuration": {}, "Code": {}, "TagsError": error}
    with pytest.raises(InputError, match="allow lambda:ListTags to the credentials in use"):
        target(aws).check(NAME)


def test_one_that_somebody_else_makes_at_the_same_time_is_left_alone(aws, functions):
    def overtaken(asked: dict[str, Any]) -> None:
        code = {"ImageUri": aws.image()}
        aws.own.client("lambda").create_function(FunctionName=NAME, PackageType="Image", Code=code, Role=ROLE_ARN)
        aws.answers.pop("CreateFunction")

    aws.answers["CreateFunction"] = overtaken
    with pytest.raises(InputError, match="exist"):
        deploy(aws)
    assert functions.all == [NAME]


# Status and removal


def test_what_an_interrupted_first_deployment_left_is_made_anew(aws, functions):
    def interrupted(_: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    aws.answers |= {"PublishVersion": interrupted, "DeleteFunction": interrupted}
    with pytest.raises(KeyboardInterrupt):
        deploy(aws)
    status = target(aws).status(NAME)
    assert (status.state, status.detail) == ("creating", "Its first deployment has not ended; run it again.")
    del aws.answers["DeleteFunction"]
    Functions(aws)
    assert deploy(aws, 2).previous is None
    assert target(aws).status(NAME).version == 2


def test_what_could_not_be_tidied_is_told_beside_the_reason(aws, functions):
    deploy(aws)
    functions.reply = {"statusCode": 500, "body": ""}
    aws.fail("DeleteFunction", "TooManyRequestsException", "Rate exceeded", status=429)
    with pytest.raises(TargetError, match=r"answers 500 to /ping\. The version before goes on serving, but: Removing"):
        deploy(aws, 2)
    assert functions.aliases == {"v1": "1", "live": "1"}


def test_a_missing_bucket_for_results_is_named_before_anything_is_built(aws, functions):
    with pytest.raises(InputError, match="Looking for the bucket 'absent' failed: there is no such bucket"):
        target(aws, results="s3://absent/out").check(NAME)


def test_nothing_is_told_of_what_is_not_there(aws, functions):
    status = target(aws).status(NAME)
    assert (status.state, status.version, status.url) == ("absent", None, None)
    assert target(aws).delete(NAME) == []


@pytest.mark.parametrize(
    ("told", "state", "detail"),
    [("Failed", "failed", "runs with"), ("Pending", "creating", "runs with"), ("Inactive", "serving", "for weeks")],
)
def test_the_state_is_what_lambda_says(aws, functions, told, state, detail):
    deploy(aws)
    lambda_backends[ACCOUNT][REGION]._lambdas._functions[NAME]["versions"][0].state = told
    status = target(aws).status(NAME)
    assert (status.state, detail in status.detail) == (state, True)


def test_everything_goes(aws, functions):
    deploy(aws)
    deploy(aws, 2)
    assert target(aws).delete(NAME) == [f"function {NAME}", "alias live", "alias v1", "alias v2"]
    assert functions.all == []
    assert target(aws).delete(NAME) == []
