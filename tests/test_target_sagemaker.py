"""Endpoints of SageMaker: what is asked of AWS, and what is left where AWS does not do it."""

import json
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from amazon import ACCOUNT, REGION, ROLE, Amazon, amazon, streamed
from moto.sagemaker.models import sagemaker_backends

from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets import find_target, patience
from targets.sagemaker import SagemakerTarget
from targets.target import Service, TargetError

NAME = "diascope-demo"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
TAGS = [
    {"Key": "diascope:service", "Value": NAME},
    {"Key": "diascope:model", "Value": "Diascope demo"},
]
OF_VERSION = {"Key": "diascope:version", "Value": "1"}
RESOURCE = f"endpoint/{NAME}/variant/live"
ANSWER = {"label": "a", "probabilities": {"a": 1.0}, "model": {"name": NAME, "version": "1"}}


class Endpoints:
    """What moto lacks: endpoints take time, fail, and are updated."""

    def __init__(self, aws: Amazon) -> None:
        self.aws = aws
        self.states: deque[tuple[str, str | None]] = deque()
        aws.answers |= {"DescribeEndpoint": self._looked_at, "UpdateEndpoint": self._updated}

    def go(self, *states: str | tuple[str, str]) -> None:
        """What the next looks at the endpoint see, one after the other; the last one stays."""
        self.states.extend((each, None) if isinstance(each, str) else each for each in states)

    @property
    def all(self) -> dict[str, Any]:
        return sagemaker_backends[ACCOUNT][REGION].endpoints

    @property
    def configs(self) -> list[str]:
        return list(sagemaker_backends[ACCOUNT][REGION].endpoint_configs)

    @property
    def models(self) -> list[str]:
        return list(sagemaker_backends[ACCOUNT][REGION]._models)

    def _looked_at(self, asked: dict[str, Any]) -> None:
        found = self.all.get(asked["EndpointName"])
        if found is None or not self.states:
            return
        state, reason = self.states.popleft()
        if state == "TakenBack":
            state, found.endpoint_config_name = "InService", found.before
        found.endpoint_status, found.failure_reason = state, reason

    def _updated(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self.all[asked["EndpointName"]]
        assert asked["EndpointConfigName"] in self.configs
        found.before, found.endpoint_config_name = found.endpoint_config_name, asked["EndpointConfigName"]
        found.endpoint_status, found.failure_reason = "InService", None
        return {"EndpointArn": found.arn}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    with amazon() as made:
        yield made


@pytest.fixture
def endpoints(aws: Amazon) -> Endpoints:
    return Endpoints(aws)


def target(aws: Amazon, **settings: Any) -> SagemakerTarget:
    environment = settings.pop("environment", {})
    given = DeploymentSettings.model_validate({"sagemaker": settings, "environment": environment})
    found = find_target("sagemaker", given, aws.session)
    assert isinstance(found, SagemakerTarget)
    return found


def service(aws: Amazon, version: int = 1) -> Service:
    return Service(name=NAME, version=version, model="Diascope demo", image=aws.image(str(version)))


def scaling(aws: Amazon) -> list[tuple[int, int]]:
    found = aws.own.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    return [(each["MinCapacity"], each["MaxCapacity"]) for each in found["ScalableTargets"]]


# What is asked for


def test_the_first_deployment_makes_model_configuration_endpoint_and_scaling(aws, endpoints):
    endpoints.go("Creating", "Creating", "InService")
    given = service(aws)
    deployed = target(aws, environment={"DIASCOPE_MAX_FILES": "3"}).deploy(given)
    (model,), (config,), (made,) = (aws.calls(f"Create{kind}") for kind in ("Model", "EndpointConfig", "Endpoint"))
    assert model == {
        "ModelName": model["ModelName"],
        "PrimaryContainer": {
            "Image": given.image,
            "Mode": "SingleModel",
            "Environment": {"DIASCOPE_MONITORING": "", "DIASCOPE_MAX_FILES": "3"},
        },
        "ExecutionRoleArn": ROLE_ARN,
        "EnableNetworkIsolation": True,
        "Tags": [*TAGS, OF_VERSION],
    }
    assert config == {
        "EndpointConfigName": config["EndpointConfigName"],
        "ProductionVariants": [
            {
                "VariantName": "live",
                "ModelName": model["ModelName"],
                "InstanceType": "ml.c5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0,
                "ContainerStartupHealthCheckTimeoutInSeconds": 120,
            }
        ],
        "Tags": [*TAGS, OF_VERSION],
    }
    assert made == {"EndpointName": NAME, "EndpointConfigName": config["EndpointConfigName"], "Tags": TAGS}
    assert model["ModelName"].startswith(f"{NAME}-v1-")
    assert (deployed.target, deployed.version, deployed.previous) == ("sagemaker", 1, None)
    assert deployed.url == f"https://runtime.sagemaker.{REGION}.amazonaws.com/endpoints/{NAME}/invocations"
    assert deployed.resources["model"] == model["ModelName"]


def test_the_number_of_instances_follows_the_load(aws, endpoints):
    target(aws, instances=2, max_instances=4, invocations_per_instance=90).deploy(service(aws))
    where = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": RESOURCE,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    assert aws.calls("RegisterScalableTarget") == [{**where, "MinCapacity": 2, "MaxCapacity": 4}]
    (policy,) = aws.calls("PutScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 90
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }
    target(aws, instances=2, max_instances=2).deploy(service(aws))
    assert scaling(aws) == []


@pytest.mark.parametrize(("capture", "modes"), [("answers", ["Output"]), ("everything", ["Input", "Output"])])
def test_requests_are_captured_where_that_is_said(aws, endpoints, capture, modes):
    given = {"capture": capture, "capture_to": "s3://bucket/captured", "capture_percent": 20, "capture_key": "key"}
    target(aws, **given).deploy(service(aws))
    (config,) = aws.calls("CreateEndpointConfig")
    assert config["DataCaptureConfig"] == {
        "EnableCapture": True,
        "InitialSamplingPercentage": 20,
        "DestinationS3Uri": "s3://bucket/captured",
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        "KmsKeyId": "key",
    }


def test_captures_need_a_place(aws, endpoints):
    with pytest.raises(InputError, match=r"say deployment\.sagemaker\.capture_to, s3://bucket/prefix"):
        target(aws, capture="everything").deploy(service(aws))
    assert aws.names() == []


def test_a_serverless_endpoint_has_no_instances(aws, endpoints):
    target(aws, serverless=True, serverless_memory=3072, max_concurrency=7).deploy(service(aws))
    (model,), (config,) = aws.calls("CreateModel"), aws.calls("CreateEndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 7}
    assert not variant.keys() & {"InstanceType", "InitialInstanceCount"}
    assert "EnableNetworkIsolation" not in model  # which serverless endpoints refuse
    assert aws.calls("RegisterScalableTarget") == []
    assert target(aws, serverless=True).status(NAME).detail == "It is serverless."


def test_an_image_of_another_registry_comes_through_a_vpc_or_not_at_all(aws, endpoints):
    elsewhere = service(aws).model_copy(update={"image": "registry.example:5000/diascope:1"})
    with pytest.raises(InputError, match=r"registry\.example:5000/diascope:1 is neither"):
        target(aws).deploy(elsewhere)
    target(aws, subnets=["subnet-1"], security_groups=["sg-1"]).deploy(elsewhere)
    (model,) = aws.calls("CreateModel")
    assert model["PrimaryContainer"]["ImageConfig"] == {"RepositoryAccessMode": "Vpc"}
    assert model["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


def test_an_image_is_answered_by_invoke_endpoint(aws, endpoints):
    aws.answers["InvokeEndpoint"] = lambda _: {"Body": streamed(ANSWER)}
    assert target(aws).ask(NAME, b"image") == ANSWER
    assert aws.calls("InvokeEndpoint") == [
        {"EndpointName": NAME, "ContentType": "application/octet-stream", "Body": b"image"}
    ]


def test_what_the_container_says_is_passed_on(aws, endpoints):
    said = json.dumps({"error": "image is empty."})
    aws.fail(
        "InvokeEndpoint", "ModelError", "Received client error (400)", OriginalMessage=said, OriginalStatusCode=400
    )
    with pytest.raises(TargetError, match=r"did not answer an image: image is empty\.$"):
        target(aws).ask(NAME, b"")
    aws.answers["InvokeEndpoint"] = lambda _: {"Body": streamed(b"<html>")}
    with pytest.raises(TargetError, match="is another service"):
        target(aws).ask(NAME, b"image")


def test_captures_go_below_the_artifact_store_of_the_stack(aws, monkeypatch):
    import zenml.client
    from zenml.enums import StackComponentType

    from steps import places

    def client(path: str) -> Any:
        store = SimpleNamespace(configuration={"path": path})
        stack = SimpleNamespace(components={StackComponentType.ARTIFACT_STORE: [store]})
        return lambda: SimpleNamespace(active_stack_model=stack)

    captures = DeploymentSettings.model_validate({"sagemaker": {"capture": "everything"}})
    monkeypatch.setattr(zenml.client, "Client", client("s3://bucket/store/"))
    assert places._with_capture_place(captures).sagemaker.capture_to == "s3://bucket/store/diascope/captured"
    assert places._with_capture_place(DeploymentSettings()).sagemaker.capture_to is None
    monkeypatch.setattr(zenml.client, "Client", client("/local"))
    assert places._with_capture_place(captures).sagemaker.capture_to is None


# Once more


def test_the_same_again_changes_nothing(aws, endpoints):
    first = target(aws).deploy(service(aws))
    before = len(aws.names())
    second = target(aws).deploy(service(aws))
    assert aws.names()[before:] == ["RegisterScalableTarget", "PutScalingPolicy"]
    assert second.resources == first.resources | {"previous_config": first.resources["endpoint_config"]}
    assert second.previous == 1
    target(aws).roll_back(second)  # nothing has changed, so there is nothing to go back to
    assert endpoints.all[NAME].endpoint_config_name == first.resources["endpoint_config"]


def test_a_new_version_takes_the_place_of_the_old_one_and_the_one_before_stays_for_going_back(aws, endpoints):
    made = [target(aws).deploy(service(aws, version)) for version in (1, 2, 3)]
    configs = [each.resources["endpoint_config"] for each in made]
    assert [each["EndpointConfigName"] for each in aws.calls("UpdateEndpoint")] == configs[1:]
    assert endpoints.configs == configs[1:]
    assert endpoints.models == [each.resources["model"] for each in made[1:]]
    assert [each.previous for each in made] == [None, 1, 2]
    status = target(aws).status(NAME)
    assert (status.state, status.version, status.detail) == ("serving", 3, "It runs on ml.c5.large.")


def test_instances_that_were_added_stay_through_an_update(aws, endpoints):
    target(aws).deploy(service(aws))
    target(aws).deploy(service(aws, 2))
    (update,) = aws.calls("UpdateEndpoint")
    assert update["RetainAllVariantProperties"] is True
    assert update["ExcludeRetainedVariantProperties"] == [{"VariantPropertyType": "DataCaptureConfig"}]
    assert aws.calls("DeregisterScalableTarget") == []


def test_without_autoscaling_the_number_is_the_new_one(aws, endpoints):
    target(aws, max_instances=1).deploy(service(aws))
    target(aws, instances=3, max_instances=3).deploy(service(aws))
    (update,) = aws.calls("UpdateEndpoint")
    assert "RetainAllVariantProperties" not in update


def test_other_instances_are_taken_out_of_autoscaling_and_put_back(aws, endpoints):
    target(aws).deploy(service(aws))
    target(aws, instance_type="ml.c5.xlarge", max_instances=3).deploy(service(aws))
    names = [name for name in aws.names() if "Scal" in name or name == "UpdateEndpoint"]
    again = ["RegisterScalableTarget", "PutScalingPolicy"]
    assert names == [*again, "DeregisterScalableTarget", "UpdateEndpoint", *again]
    assert scaling(aws) == [(1, 3)]


def test_alarms_take_an_update_back(aws, endpoints):
    target(aws).deploy(service(aws))
    target(aws, alarms=["errors"]).deploy(service(aws, 2))
    (update,) = aws.calls("UpdateEndpoint")
    assert update["DeploymentConfig"] == {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }


def test_what_is_still_on_its_way_is_waited_for(aws, endpoints):
    target(aws).deploy(service(aws))
    endpoints.go("Updating", "SystemUpdating", "InService", "Updating", "InService")
    target(aws).deploy(service(aws, 2))
    assert target(aws).status(NAME).version == 2


def test_the_same_again_keeps_the_version_before(aws, endpoints):
    first = target(aws).deploy(service(aws))
    for _ in range(2):
        target(aws).deploy(service(aws, 2))
    assert first.resources["endpoint_config"] in endpoints.configs


def test_a_version_from_before_comes_again(aws, endpoints):
    first = target(aws).deploy(service(aws))
    target(aws).deploy(service(aws, 2))
    again = target(aws).deploy(service(aws))
    assert again.resources["endpoint_config"] == first.resources["endpoint_config"]
    assert (len(aws.calls("CreateModel")), again.previous) == (2, 2)


def test_going_back_brings_the_version_before(aws, endpoints):
    first = target(aws).deploy(service(aws))
    second = target(aws).deploy(service(aws, 2))
    target(aws).roll_back(second)
    assert endpoints.configs == [first.resources["endpoint_config"]]
    assert endpoints.models == [first.resources["model"]]
    assert target(aws).status(NAME).version == 1


def test_going_back_from_the_first_removes_everything(aws, endpoints):
    target(aws).roll_back(target(aws).deploy(service(aws)))
    assert (endpoints.all, endpoints.configs, endpoints.models, scaling(aws)) == ({}, [], [], [])


# Where it fails


def test_a_first_endpoint_that_fails_is_removed_with_all_it_had(aws, endpoints):
    endpoints.go("Creating", ("Failed", "The primary container did not pass the ping health check."))
    with pytest.raises(TargetError) as caught:
        target(aws).deploy(service(aws))
    assert str(caught.value) == (
        f"The endpoint '{NAME}' could not be made: The primary container did not pass the ping health check."
    )
    assert (endpoints.all, endpoints.configs, endpoints.models) == ({}, [], [])


def test_an_endpoint_that_is_never_ready_is_removed(aws, endpoints, monkeypatch):
    endpoints.go(*["Creating"] * 3)
    monkeypatch.setattr(patience, "PAUSE", 100.0)
    with pytest.raises(TargetError, match=rf"'{NAME}' does not serve after 60 seconds"):
        target(aws, timeout=60).deploy(service(aws))
    assert (endpoints.all, endpoints.configs, endpoints.models) == ({}, [], [])


def test_an_endpoint_that_cannot_be_removed_is_named(aws, endpoints):
    endpoints.go(("Failed", "no capacity"))
    aws.fail("DeleteEndpoint", "ValidationException", "Cannot delete an endpoint in Creating")
    with pytest.raises(TargetError, match="costs money: run again with --delete"):
        target(aws).deploy(service(aws))


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_what_was_made_before_a_refusal_is_removed(aws, endpoints, operation):
    aws.fail(operation, "ResourceLimitExceeded", "The account-level service limit 'ml.c5.large' is 0 Instances")
    with pytest.raises(InputError, match=r"ask for more under Service Quotas in the AWS console \(.*is 0 Instances\)"):
        target(aws).deploy(service(aws))
    assert (endpoints.all, endpoints.configs, endpoints.models) == ({}, [], [])
    target(aws).deploy(service(aws))  # running again works
    assert target(aws).status(NAME).state == "serving"


def test_a_refused_update_leaves_the_old_version_and_nothing_new(aws, endpoints):
    first = target(aws).deploy(service(aws))
    aws.fail("UpdateEndpoint", "ThrottlingException", "Rate exceeded")
    with pytest.raises(InputError, match="asked too often; wait a minute and run again"):
        target(aws).deploy(service(aws, 2))
    assert endpoints.configs == [first.resources["endpoint_config"]]
    assert endpoints.models == [first.resources["model"]]
    assert target(aws).status(NAME).version == 1


def test_other_instances_that_fail_leave_the_model_that_goes_on_serving(aws, endpoints):
    first = target(aws).deploy(service(aws))
    aws.fail("UpdateEndpoint", "ResourceLimitExceeded", "The account-level service limit is 0 Instances")
    with pytest.raises(InputError, match="ask for more"):
        target(aws, instance_type="ml.c5.xlarge").deploy(service(aws))
    assert endpoints.configs == [first.resources["endpoint_config"]]
    assert endpoints.models == [first.resources["model"]]  # its name stands for image and settings, not for instances


def test_an_update_that_sagemaker_takes_back_is_told_and_tidied(aws, endpoints):
    first = target(aws).deploy(service(aws))
    endpoints.go(
        "InService", "InService", "InService", "InService", "Updating", ("TakenBack", "Alarm errors went off.")
    )
    with pytest.raises(TargetError, match=r"goes on serving version 1: Alarm errors went off\.$"):
        target(aws).deploy(service(aws, 2))
    assert endpoints.all[NAME].endpoint_config_name == first.resources["endpoint_config"]
    assert endpoints.configs == [first.resources["endpoint_config"]]


def test_an_endpoint_that_fails_in_an_update_is_brought_back(aws, endpoints):
    first = target(aws).deploy(service(aws))
    endpoints.go("InService", "InService", "InService", "InService", ("Failed", "no image"))
    aws.answers["UpdateEndpoint"] = iter_once(aws, aws.answers["UpdateEndpoint"])
    with pytest.raises(TargetError, match="goes on serving version 1: no image"):
        target(aws).deploy(service(aws, 2))
    assert endpoints.all[NAME].endpoint_config_name == first.resources["endpoint_config"]
    assert target(aws).status(NAME).state == "serving"
    assert {"Key": "diascope:service", "Value": NAME} in endpoints.all[NAME].tags
    assert endpoints.configs == [first.resources["endpoint_config"]]


def iter_once(aws: Amazon, answer: Any) -> Any:
    """Let the first update go through; SageMaker takes no other one on an endpoint that failed."""

    def once(asked: dict[str, Any]) -> dict[str, Any]:
        aws.fail("UpdateEndpoint", "ValidationException", "Cannot update a failed endpoint")
        return answer(asked)

    return once


def test_scaling_that_is_refused_takes_the_deployment_back(aws, endpoints):
    target(aws).deploy(service(aws))
    aws.fail(
        "PutScalingPolicy",
        "AccessDeniedException",
        "not authorized to perform: application-autoscaling:PutScalingPolicy",
    )
    with pytest.raises(InputError, match="access is denied to application-autoscaling:PutScalingPolicy"):
        target(aws, max_instances=5).deploy(service(aws, 2))
    assert target(aws).status(NAME).version == 1
    assert scaling(aws) == [(1, 2)]


def test_other_instances_that_fail_leave_autoscaling_as_it_was(aws, endpoints):
    target(aws).deploy(service(aws))
    aws.fail("UpdateEndpoint", "ValidationException", "no such instances")
    with pytest.raises(InputError, match="no such instances"):
        target(aws, instance_type="ml.c5.xlarge", max_instances=5).deploy(service(aws))
    assert scaling(aws) == [(1, 2)]
    policies = aws.own.client("application-autoscaling").describe_scaling_policies(ServiceNamespace="sagemaker")
    assert [each["PolicyName"] for each in policies["ScalingPolicies"]] == ["diascope-invocations"]


def test_an_unknown_kind_of_instance_is_named(aws, endpoints):
    with pytest.raises(InputError, match=r"^SageMaker has no ml\.c9z\.large for services: name another"):
        target(aws, instance_type="ml.c9z.large").deploy(service(aws))
    assert endpoints.models == []


def test_an_endpoint_that_has_failed_is_made_anew(aws, endpoints):
    target(aws).deploy(service(aws))
    endpoints.all[NAME].endpoint_status = "Failed"
    deployed = target(aws).deploy(service(aws, 2))
    assert deployed.previous is None
    assert target(aws).status(NAME).version == 2


def test_an_update_that_takes_too_long_is_left_to_sagemaker(aws, endpoints, monkeypatch):
    target(aws).deploy(service(aws))
    endpoints.go("InService", "InService", "InService", "InService", "Updating", "Updating")
    monkeypatch.setattr(patience, "PAUSE", 100.0)
    with pytest.raises(TargetError, match="still updating after 60 seconds and SageMaker goes on with it"):
        target(aws, timeout=60).deploy(service(aws, 2))
    assert len(endpoints.configs) == 2  # SageMaker needs the new one


def test_an_update_that_is_interrupted_is_left_to_sagemaker(aws, endpoints):
    target(aws).deploy(service(aws))
    updated = aws.answers["UpdateEndpoint"]

    def interrupted(asked: dict[str, Any]) -> dict[str, Any]:
        updated(asked)
        endpoints.all[NAME].endpoint_status = "Updating"
        raise KeyboardInterrupt

    aws.answers["UpdateEndpoint"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        target(aws).deploy(service(aws, 2))
    assert len(endpoints.configs) == 2
    assert endpoints.all[NAME].endpoint_config_name in endpoints.configs


def test_an_interrupted_first_deployment_leaves_nothing_that_costs(aws, endpoints):
    looks = aws.answers["DescribeEndpoint"]

    def interrupted(asked: dict[str, Any]) -> None:
        if endpoints.all:
            aws.answers["DescribeEndpoint"] = looks
            raise KeyboardInterrupt

    aws.answers |= {"DescribeEndpoint": interrupted, "ListTags": lambda _: {"Tags": TAGS}}
    with pytest.raises(KeyboardInterrupt):
        target(aws).deploy(service(aws))
    assert (endpoints.all, endpoints.configs, endpoints.models) == ({}, [], [])


@pytest.mark.parametrize("kind", ["Model", "EndpointConfig", "Endpoint"])
def test_a_request_that_is_sent_twice_finds_its_own_work(aws, endpoints, kind):
    client, made = aws.own.client("sagemaker"), f"Create{kind}"
    send = {"Model": client.create_model, "EndpointConfig": client.create_endpoint_config}.get(
        kind, client.create_endpoint
    )

    def lost(asked: dict[str, Any]) -> None:
        send(**asked)
        aws.fail(made, "ValidationException", f"Cannot create already existing {kind} x")
        del aws.answers[made]

    aws.answers[made] = lambda asked: lost(asked) or endpoints_error(aws, made)
    target(aws).deploy(service(aws))
    assert target(aws).status(NAME).state == "serving"


def endpoints_error(aws: Amazon, operation: str) -> None:
    """As after an answer that was lost: the second attempt is refused."""
    from botocore.exceptions import ClientError

    fault = aws.take(operation)
    raise ClientError(fault, operation)


def test_a_missing_bucket_is_named_before_anything_is_built(aws, endpoints):
    given = {"capture": "everything", "capture_to": "s3://absent/captured"}
    with pytest.raises(InputError, match="Looking for the bucket 'absent' failed: there is no such bucket"):
        target(aws, **given).check(NAME)
    aws.fail("HeadBucket", "403", "Forbidden", status=403)
    target(aws, **given).check(NAME)  # whoever deploys need not be allowed to look
    with pytest.raises(InputError, match="There is no place for captured requests"):
        target(aws, capture="answers").check(NAME)


def test_a_missing_role_is_named_before_anything_is_made(aws, endpoints):
    for act in (lambda found: found.check(NAME), lambda found: found.deploy(service(aws))):
        with pytest.raises(InputError, match=r"There is no role 'absent' in this account: make it with Terraform"):
            act(target(aws, role="absent"))
    assert aws.names() == []


def test_a_role_that_does_not_trust_sagemaker_is_named(aws, endpoints):
    arn = aws.role("other", "ec2.amazonaws.com")
    with pytest.raises(InputError, match=r"The role 'other' does not trust sagemaker\.amazonaws\.com"):
        target(aws, role=arn).check(NAME)


def test_a_role_is_taken_by_its_arn(aws, endpoints):
    target(aws, role=ROLE_ARN).check(NAME)
    with pytest.raises(InputError, match="is not in this account"):
        target(aws, role=ROLE_ARN.replace(ACCOUNT, "999999999999")).check(NAME)


def test_an_image_that_is_not_there_is_named_before_anything_is_made(aws, endpoints):
    absent = service(aws).model_copy(update={"image": service(aws).image[:-8] + "0" * 8})
    with pytest.raises(InputError, match="is not in the registry: it was not pushed, or removed; deploy anew"):
        target(aws).deploy(absent)
    assert aws.calls("CreateModel") == []


def test_an_endpoint_of_somebody_else_is_left_alone(aws, endpoints):
    client = aws.own.client("sagemaker")
    client.create_model(ModelName="theirs", ExecutionRoleArn=ROLE_ARN)
    variant = {"VariantName": "x", "ModelName": "theirs", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="theirs", ProductionVariants=[variant])
    client.create_endpoint(EndpointName=NAME, EndpointConfigName="theirs", Tags=[])
    for act in ("check", "delete"):
        with pytest.raises(InputError, match=r"did not make .* name another one in deployment\.sagemaker\.endpoint"):
            getattr(target(aws), act)(NAME)
    with pytest.raises(InputError, match="did not make"):
        target(aws).deploy(service(aws))
    status = target(aws).status(NAME)
    assert (status.state, "it is not Diascope's" in status.detail) == ("absent", True)
    assert endpoints.all[NAME].endpoint_config_name == "theirs"
    assert target(aws, endpoint="another").deploy(service(aws)).resources["endpoint"] == "another"


def test_one_that_somebody_else_makes_at_the_same_time_is_left_alone(aws, endpoints):
    client = aws.own.client("sagemaker")

    def overtaken(asked: dict[str, Any]) -> None:
        client.create_endpoint(EndpointName=NAME, EndpointConfigName=asked["EndpointConfigName"], Tags=[])
        aws.fail("CreateEndpoint", "ValidationException", "Cannot create already existing endpoint x")
        endpoints_error(aws, "CreateEndpoint")

    aws.answers["CreateEndpoint"] = overtaken
    with pytest.raises(InputError, match="did not make"):
        target(aws).deploy(service(aws))
    assert list(endpoints.all) == [NAME]
    assert aws.calls("DeleteEndpoint") == []


def test_an_endpoint_does_not_change_its_kind(aws, endpoints):
    target(aws).deploy(service(aws))
    with pytest.raises(InputError, match=r"on ml\.c5\.large, and SageMaker takes no way back"):
        target(aws, serverless=True).deploy(service(aws, 2))
    assert len(endpoints.configs) == 1


# Status and removal


@pytest.mark.parametrize(
    ("told", "state"),
    [("Creating", "creating"), ("Updating", "updating"), ("Deleting", "deleting"), ("InService", "serving")],
)
def test_the_state_is_what_sagemaker_says(aws, endpoints, told, state):
    target(aws).deploy(service(aws))
    endpoints.all[NAME].endpoint_status = told
    assert target(aws).status(NAME).state == state


def test_a_failure_is_told_with_its_reason(aws, endpoints):
    target(aws).deploy(service(aws))
    endpoints.all[NAME].endpoint_status, endpoints.all[NAME].failure_reason = "Failed", "no capacity."
    status = target(aws).status(NAME)
    assert (status.state, status.version, status.detail) == ("failed", 1, "no capacity.")


def test_nothing_is_told_of_what_is_not_there(aws, endpoints):
    status = target(aws).status(NAME)
    assert (status.state, status.version, status.url) == ("absent", None, None)
    assert status.detail == f"There is no endpoint '{NAME}' in {REGION}."
    assert target(aws).delete(NAME) == []


def test_everything_goes_and_nothing_else_does(aws, endpoints):
    other = Service(name=f"{NAME}-v2", version=1, model="x", image=aws.image())
    target(aws).deploy(other)
    for version in (1, 2):
        target(aws).deploy(service(aws, version))
    removed = target(aws).delete(NAME)
    assert [each.split()[0] for each in removed] == ["autoscaling", "endpoint", *["endpoint"] * 2, *["model"] * 2]
    assert list(endpoints.all) == [f"{NAME}-v2"]
    assert len(endpoints.configs) == len(endpoints.models) == 1
    assert target(aws).delete(NAME) == []


def test_another_endpoint_of_the_same_service_is_another(aws, endpoints):
    other = target(aws, endpoint=f"{NAME}-v2").deploy(service(aws))
    target(aws).deploy(service(aws))
    target(aws).delete(NAME)
    assert endpoints.configs == [other.resources["endpoint_config"]]
    assert endpoints.models == [other.resources["model"]]


def test_long_names_stay_apart(aws, endpoints):
    names = ["diascope-" + "x" * 80 + end for end in "ab"]
    made = [target(aws).deploy(service(aws).model_copy(update={"name": name})) for name in names]
    assert len({each.resources["endpoint"] for each in made}) == 2
    assert all(len(value) <= 63 for each in made for key, value in each.resources.items())
    target(aws).delete(names[0])
    assert list(endpoints.all) == [made[1].resources["endpoint"]]
    assert endpoints.models == [made[1].resources["model"]]
