"""What is asked of AWS for a service on ECS, and what is left when it fails; moto answers, and tasks live in `Life`."""

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from moto import mock_aws

from diascope.deployment_settings import DeploymentSettings, EcsSettings
from diascope.errors import InputError
from targets import ecs_network, find_target, patience
from targets.ecs import EcsTarget
from targets.target import Service, Status, TargetError

REGION = "eu-central-1"
ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/diascope"
BAD = "registry.example:5000/lab/demo:bad"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0a1b"
NOT_FOUND = "CannotPullContainerError: pull image manifest has been retried 1 time(s): not found"
TAGS = {"diascope:service": "demo", "diascope:model": "Demo"}


class Session(boto3.Session):
    """Makes each client once for all tests, since that takes longer than what is asked of it."""

    def __init__(self) -> None:
        super().__init__("testing", "testing", region_name=REGION)
        self.made: dict[str, Any] = {}

    def client(self, name: str, **options: Any) -> Any:  # type: ignore[override]
        if name not in self.made:
            self.made[name] = super().client(name, **options)
        return self.made[name]


class Sessions:
    """One whose calls `Life` sees, and one to look at AWS with."""

    def __init__(self) -> None:
        self.seen, self.aside = Session(), Session()
        self.life: Life | None = None
        events = self.seen.events
        events.register("provide-client-params.*.*", self.pass_on("note"))
        events.register_first("before-send.*.*", self.pass_on("throttle"))
        events.register("after-call.ecs.DescribeServices", self.pass_on("live"))
        events.register("after-call.ecs.ListTasks", self.pass_on("ended"))
        events.register("after-call.ecs.DescribeTasks", self.pass_on("told"))

    def pass_on(self, method: str) -> Any:
        return lambda **said: getattr(self.life, method)(**said)


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    return Sessions()


class Life:
    """The part of ECS that moto has not: tasks that start or do not, and the circuit breaker."""

    def __init__(self, sessions: Sessions) -> None:
        sessions.life = self
        self.session, self.aside = sessions.seen, sessions.aside
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failing: dict[str, Exception] = {}  # operation, and what it raises
        self.throttled: dict[str, int] = {}  # operation, and how often it is refused
        self.held = 0  # times that something is still in a security group
        self.stuck = False  # tasks start and are never healthy
        self.good: dict[str, str] = {}  # service, and the last task definition that was stable

    def client(self, name: str) -> Any:
        return self.aside.client(name)

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, params))
        if self.held and model.name == "DeleteSecurityGroup":
            self.held -= 1
            raise error("DependencyViolation", model.name)
        if problem := self.failing.get(model.name):
            raise problem
        if model.name == "RegisterScalableTarget" and "Tags" in params and self.is_scaled(params["ResourceId"]):
            raise error("ValidationException", model.name, "The scalable target that you tried to tag already exists.")

    def is_scaled(self, resource: str) -> bool:
        there = self.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="ecs", ResourceIds=[resource]
        )
        return bool(there["ScalableTargets"])

    def throttle(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        if self.throttled.get(operation, 0) <= 0:
            return None
        self.throttled[operation] -= 1
        raw = io.BytesIO(json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode())
        raw.stream = lambda **_: iter([raw.getvalue()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 400, {"Content-Type": "application/x-amz-json-1.1"}, raw)

    def image(self, task: str) -> str:
        found = self.client("ecs").describe_task_definition(taskDefinition=task)["taskDefinition"]
        return str(found["containerDefinitions"][0]["image"])

    def live(self, parsed: dict[str, Any], **_: Any) -> None:
        for service in parsed.get("services", []):
            task, name = service["taskDefinition"], service["serviceName"]
            if service["status"] != "ACTIVE":
                continue
            state = "COMPLETED"
            if self.stuck and task != self.good.get(name):
                state = "IN_PROGRESS"
            elif self.image(task) == BAD:
                state = "FAILED"
                if name in self.good:  # the circuit breaker goes back
                    task, state = self.good[name], "COMPLETED"
                    self.client("ecs").update_service(cluster="diascope", service=name, taskDefinition=task)
            if state == "COMPLETED":
                self.good[name] = task
            service |= {"taskDefinition": task, "runningCount": service["desiredCount"] if state == "COMPLETED" else 0}
            service["deployments"] = [{"status": "PRIMARY", "taskDefinition": task, "rolloutState": state}]
            service["events"] = [{"message": f"(service {name}) has started 1 tasks: (task 1)."}]

    def ended(self, parsed: dict[str, Any], **_: Any) -> None:
        parsed["taskArns"] = [f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/diascope/{each}" for each in (1, 2)]

    def told(self, parsed: dict[str, Any], **_: Any) -> None:
        tasks = self.client("ecs").list_task_definitions(familyPrefix="diascope-demo")["taskDefinitionArns"]
        bad = [task for task in tasks if self.image(task) == BAD]
        stopped = "Scaling activity initiated by deployment"
        good = [{"taskDefinitionArn": task, "stoppedReason": stopped} for task in tasks if task not in bad]
        parsed["tasks"] = good + [{"taskDefinitionArn": task, "containers": [{"reason": NOT_FOUND}]} for task in bad]

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def left(self) -> dict[str, list[str]]:
        """Everything that is there under the names of services; empty where nothing is."""
        ecs, elb, ec2 = self.client("ecs"), self.client("elbv2"), self.client("ec2")
        groups = ec2.describe_security_groups()["SecurityGroups"]
        services = ecs.list_services(cluster="diascope")["serviceArns"] if ecs.list_clusters()["clusterArns"] else []
        found = ecs.describe_services(cluster="diascope", services=services)["services"] if services else []
        scaled = self.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
        there = {
            "services": [each["serviceName"] for each in found if each["status"] != "INACTIVE"],
            "tasks": [
                arn.rpartition("/")[2] for arn in ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
            ],
            "balancers": [each["LoadBalancerName"] for each in elb.describe_load_balancers()["LoadBalancers"]],
            "targets": [each["TargetGroupName"] for each in elb.describe_target_groups()["TargetGroups"]],
            "groups": sorted(each["GroupName"] for each in groups if each["GroupName"] != "default"),
            "logs": [each["logGroupName"] for each in self.client("logs").describe_log_groups()["logGroups"]],
            "scaled": [each["ResourceId"] for each in scaled["ScalableTargets"]],
        }
        return {name: held for name, held in there.items() if held}


@pytest.fixture
def life(sessions, monkeypatch) -> Iterator[Life]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(patience, "PAUSE", 0.0)
    monkeypatch.setattr(ecs_network, "PAUSE", 0.0)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    with mock_aws():
        made = Life(sessions)
        role(made, "diascope-ecs-execution")
        yield made


def role(life: Life, name: str, principal: str = "ecs-tasks.amazonaws.com") -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    life.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)


@pytest.fixture
def certificate(life) -> str:
    return str(life.client("acm").request_certificate(DomainName="ct.example.org")["CertificateArn"])


def target(life: Life, **settings: Any) -> EcsTarget:
    environment = settings.pop("environment", {})
    found = find_target("ecs", DeploymentSettings(ecs=EcsSettings(**settings), environment=environment), life.session)
    assert isinstance(found, EcsTarget)
    return found


def service(version: int = 1, image: str | None = None, *, name: str = "demo", model: str = "Demo") -> Service:
    return Service(name=name, version=version, model=model, image=image or f"registry.example:5000/lab/demo:{version}")


def error(code: str, operation: str, message: str = "said by AWS") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


WHOLE = {
    "services": ["demo"],
    "tasks": ["diascope-demo:1"],
    "balancers": ["ds-demo"],
    "targets": ["ds-demo"],
    "groups": ["diascope-demo-balancer", "diascope-demo-service"],
    "logs": ["/diascope/ecs/demo"],
    "scaled": ["service/diascope/demo"],
}


# What is asked for


def test_everything_is_made_and_removed(life):
    here = target(life)
    here.check("demo")
    assert here.status("demo").state == "absent"
    deployed = here.deploy(service())
    (balancer,) = life.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert (deployed.version, deployed.previous) == (1, None)
    assert deployed.url == f"http://{balancer['DNSName']}"
    assert deployed.resources["task definition"].endswith("task-definition/diascope-demo:1")
    assert here.status("demo") == Status(
        target="ecs", service="demo", state="serving", version=1, url=deployed.url, detail="2 of 2 tasks run"
    )
    assert life.left() == WHOLE
    assert sorted(here.delete("demo")) == [
        "autoscaling of demo",
        "load balancer ds-demo",
        "log group /diascope/ecs/demo",
        "security group diascope-demo-balancer",
        "security group diascope-demo-service",
        "service diascope/demo",
        "target group ds-demo",
        "task definition diascope-demo:1",
    ]
    assert life.left() == {}
    assert here.delete("demo") == []
    assert here.status("demo").state == "absent"


def test_the_container_is_described_as_narrowly_as_it_runs(life):
    role(life, "reader")
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:key"
    here = target(
        life,
        task_role="reader",
        api_key_secret=secret,
        cpu=2048,
        memory=4096,
        architecture="ARM64",
        tags={"team": "ct"},
        environment={"DIASCOPE_MAX_FILES": "5"},
    )
    here.deploy(service(3))
    (said,) = life.asked("RegisterTaskDefinition")
    (container,) = said.pop("containerDefinitions")
    assert said == {
        "family": "diascope-demo",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "2048",
        "memory": "4096",
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/diascope-ecs-execution",
        "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/reader",
        "tags": [
            {"key": key, "value": value} for key, value in ({"team": "ct"} | TAGS | {"diascope:version": "3"}).items()
        ],
    }
    labels = container.pop("dockerLabels")
    assert (labels["diascope:service"], labels["diascope:version"]) == ("demo", "3")
    assert container == {
        "name": "diascope",
        "image": "registry.example:5000/lab/demo:3",
        "essential": True,
        "memory": 4096,
        "user": "1034:1034",
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": False},
        "portMappings": [{"containerPort": 3000, "protocol": "tcp"}],
        "environment": [
            {"name": "DIASCOPE_MAX_FILES", "value": "5"},
            {"name": "DIASCOPE_MONITORING", "value": ""},
        ],
        "secrets": [{"name": "DIASCOPE_API_KEY", "valueFrom": secret}],
        "stopTimeout": 20,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/diascope/ecs/demo",
                "awslogs-region": REGION,
                "awslogs-stream-prefix": "service",
            },
        },
    }


def test_the_service_goes_over_without_a_gap_and_back_by_itself(life):
    target(life, replicas=3, max_replicas=9, public_address=False).deploy(service())
    (said,) = life.asked("CreateService")
    assert said["deploymentConfiguration"] == {
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    }
    group = life.client("ec2").describe_security_groups(GroupNames=["diascope-demo-service"])["SecurityGroups"][0]
    network = said["networkConfiguration"]["awsvpcConfiguration"]
    assert network["securityGroups"] == [group["GroupId"]]
    assert network["assignPublicIp"] == "DISABLED"
    assert len(network["subnets"]) == 3  # one in each zone
    (load_balancer,) = said["loadBalancers"]
    assert (load_balancer["containerName"], load_balancer["containerPort"]) == ("diascope", 3000)
    assert (said["launchType"], said["desiredCount"], said["healthCheckGracePeriodSeconds"]) == ("FARGATE", 3, 60)
    (scaled,) = life.asked("RegisterScalableTarget")
    assert scaled["Tags"] == TAGS
    assert (scaled["MinCapacity"], scaled["MaxCapacity"]) == (3, 9)
    (policy,) = life.asked("PutScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 70.0
    assert tracking["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}


def test_the_balancer_asks_whether_tasks_are_ready(life):
    target(life).deploy(service())
    (said,) = life.asked("CreateTargetGroup")
    assert (said["HealthCheckPath"], said["TargetType"], said["Port"], said["Protocol"]) == (
        "/readyz",
        "ip",
        3000,
        "HTTP",
    )
    (balancer,) = life.asked("CreateLoadBalancer")
    assert (balancer["Scheme"], balancer["Type"], len(balancer["Subnets"])) == ("internal", "application", 3)
    assert {each["Key"]: each["Value"] for each in balancer["Tags"]} == TAGS
    (listener,) = life.asked("CreateListener")
    assert (listener["Port"], listener["Protocol"]) == (80, "HTTP")
    (logs,) = life.asked("PutRetentionPolicy")
    assert logs["retentionInDays"] == 30


def rules(life: Life, kind: str, way: str) -> set[tuple[int, str]]:
    found = life.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": [kind]}])
    names = {
        each["GroupId"]: each["GroupName"] for each in life.client("ec2").describe_security_groups()["SecurityGroups"]
    }
    told = set()
    for rule in found["SecurityGroups"][0]["IpPermissions" if way == "in" else "IpPermissionsEgress"]:
        port = rule.get("FromPort", -1)
        told |= {(port, each["CidrIp"]) for each in rule["IpRanges"]}
        told |= {(port, names[each["GroupId"]]) for each in rule["UserIdGroupPairs"]}
    return told


def test_security_groups_let_through_what_is_needed_and_change_with_the_settings(life, certificate):
    given = {"certificate": certificate, "host": "ct.example.org"}
    target(life, allow=["203.0.113.0/24"], **given).deploy(service())
    callers = {(port, cidr) for port in (80, 443) for cidr in ("172.31.0.0/16", "203.0.113.0/24")}
    assert rules(life, "diascope-demo-balancer", "in") == callers
    assert rules(life, "diascope-demo-balancer", "out") == {(3000, "diascope-demo-service")}
    assert rules(life, "diascope-demo-service", "in") == {(3000, "diascope-demo-balancer")}
    assert rules(life, "diascope-demo-service", "out") == {(443, "0.0.0.0/0"), (5000, "0.0.0.0/0")}

    target(life, allow=["198.51.100.0/24"], **given).deploy(service())

    callers = {(port, cidr) for port in (80, 443) for cidr in ("172.31.0.0/16", "198.51.100.0/24")}
    assert rules(life, "diascope-demo-balancer", "in") == callers


def test_a_certificate_means_https_and_http_leads_there(life, certificate):
    here = target(life, allow=["0.0.0.0/0"], certificate=certificate, host="ct.example.org")
    assert here.deploy(service()).url == "https://ct.example.org"
    https, http = life.asked("CreateListener")
    assert (https["Port"], https["Protocol"], https["SslPolicy"]) == (
        443,
        "HTTPS",
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
    )
    assert https["Certificates"] == [{"CertificateArn": certificate}]
    assert http["DefaultActions"][0]["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    assert life.asked("CreateLoadBalancer")[0]["Scheme"] == "internet-facing"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"allow": ["0.0.0.0/0"]}, "images would travel in the clear"),
        ({"certificate": CERTIFICATE}, "certificate and host go together"),
        ({"cpu": 256, "memory": 4096}, "Fargate gives a cpu of 256 a memory of 512, 1024, 2048"),
        ({"replicas": 5, "max_replicas": 2}, "max_replicas is less than replicas"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(said, why):
    with pytest.raises(ValueError, match=why):
        EcsSettings(**said)


# Again


def test_a_second_run_changes_nothing_and_another_version_updates(life):
    here = target(life)
    first = here.deploy(service(1))
    again = here.deploy(service(1))
    assert (again.previous, again.resources) == (1, first.resources)
    assert life.left() == WHOLE
    second = here.deploy(service(2))
    assert (second.previous, here.status("demo").version) == (1, 2)
    assert "desiredCount" not in life.asked("UpdateService")[-1]  # autoscaling knows it
    third = here.deploy(service(3))
    assert life.left() == WHOLE | {"tasks": ["diascope-demo:2", "diascope-demo:3"]}  # the one before is kept
    assert third.resources["task definition before"].endswith(":2")


def test_other_settings_are_another_revision(life):
    target(life).deploy(service(1))
    deployed = target(life, memory=4096).deploy(service(1))
    assert deployed.resources["task definition"].endswith(":2")
    assert deployed.previous == 1


def test_roll_back_goes_to_the_version_before_or_leaves_nothing(life):
    here = target(life)
    first = here.deploy(service(1))
    here.roll_back(here.deploy(service(2)))
    assert here.status("demo").version == 1
    assert life.left() == WHOLE
    here.roll_back(here.deploy(service(1)))  # which changed nothing
    assert here.status("demo").version == 1
    here.roll_back(first)
    assert life.left() == {}


def test_a_service_can_be_made_again_after_it_was_removed(life):
    here = target(life)
    here.deploy(service(1))
    here.delete("demo")
    assert here.deploy(service(1)).previous is None
    assert here.status("demo").state == "serving"


# What fails


@pytest.mark.parametrize(
    "operation",
    [
        *("CreateLogGroup", "RegisterTaskDefinition", "CreateCluster", "CreateSecurityGroup"),
        *("AuthorizeSecurityGroupIngress", "CreateTargetGroup", "CreateLoadBalancer", "CreateListener"),
        *("CreateService", "RegisterScalableTarget", "PutScalingPolicy"),
    ],
)
def test_a_first_deployment_that_is_denied_anything_leaves_nothing(life, operation):
    life.failing[operation] = error(
        "AccessDeniedException", operation, f"is not authorized to perform: x:{operation} on"
    )
    with pytest.raises(InputError, match=rf"failed: access is denied to x:{operation}; allow it"):
        target(life).deploy(service())
    assert life.left() == {}
    life.failing.clear()
    assert target(life).deploy(service()).previous is None
    assert life.left() == WHOLE | {"tasks": [life.left()["tasks"][0]]}


@pytest.mark.parametrize("operation", ["RegisterTaskDefinition", "ModifyListener", "UpdateService", "PutScalingPolicy"])
def test_a_later_one_that_is_denied_anything_leaves_the_old_version_serving(life, operation):
    here = target(life)
    here.deploy(service(1))
    life.failing[operation] = error("AccessDenied", operation)
    if operation != "UpdateService":
        with pytest.raises(InputError, match=f"access is denied to {operation}"):
            here.deploy(service(2))
    else:  # nothing was changed, so nothing must be put back
        with pytest.raises(InputError, match="access is denied to UpdateService"):
            here.deploy(service(2))
    life.failing.clear()
    assert life.left() == WHOLE
    assert here.status("demo") == here.status("demo").model_copy(update={"state": "serving", "version": 1})


def test_a_first_image_that_cannot_be_pulled_leaves_nothing_and_says_why(life):
    with pytest.raises(
        TargetError, match=r"did not become stable \(FAILED\): CannotPullContainerError: .* not found\.$"
    ):
        target(life).deploy(service(1, BAD))
    assert life.left() == {}


def test_a_later_image_that_cannot_be_pulled_leaves_the_old_version_serving(life):
    here = target(life)
    here.deploy(service(1))
    with pytest.raises(TargetError, match=r"ECS has gone back to the version before\): CannotPullContainerError"):
        here.deploy(service(2, BAD))
    assert here.status("demo").version == 1
    assert life.left() == WHOLE


def test_tasks_that_never_become_healthy_end_after_the_time_and_the_old_version_serves(life, monkeypatch):
    here = target(life)
    here.deploy(service(1))
    life.stuck = True
    monkeypatch.setattr("targets.ecs_service.EcsService._seconds", 0.05)
    with pytest.raises(TargetError, match=r"did not become stable \(not stable after 900 seconds\)"):
        here.deploy(service(2))
    assert here.status("demo").version == 1
    assert life.left() == WHOLE


def test_first_tasks_that_never_become_healthy_leave_nothing(life, monkeypatch):
    life.stuck = True
    monkeypatch.setattr("targets.ecs_service.EcsService._seconds", 0.05)
    with pytest.raises(TargetError, match="not stable after 900 seconds"):
        target(life).deploy(service(1))
    assert life.left() == {}


def test_an_interruption_leaves_the_old_version_serving(life, monkeypatch):
    here = target(life)
    here.deploy(service(1))
    wait = "targets.ecs_service.EcsService.wait"
    waited = []

    def interrupted(self, task: str) -> None:
        waited.append(task)
        if len(waited) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(wait, interrupted)
    with pytest.raises(KeyboardInterrupt):
        here.deploy(service(2))
    assert here.status("demo").version == 1
    assert life.left() == WHOLE


def test_throttling_is_waited_out(life):
    life.throttled = {"CreateService": 3, "DescribeServices": 2}
    target(life).deploy(service())
    assert life.throttled == {"CreateService": 0, "DescribeServices": 0}


def test_throttling_that_does_not_end_is_one_sentence(life):
    life.throttled["RegisterTaskDefinition"] = 99
    with pytest.raises(InputError, match=r"asked too often; wait a minute and run again\.$"):
        target(life).deploy(service())
    assert life.left() == {}


def test_a_role_that_is_missing_or_trusts_others_is_refused_before_anything_is_built(life):
    with pytest.raises(InputError, match="There is no role 'nobody' in this account"):
        target(life, execution_role="nobody").check("demo")
    role(life, "others", "lambda.amazonaws.com")
    with pytest.raises(InputError, match=r"'others' does not trust ecs-tasks\.amazonaws\.com"):
        target(life, task_role="others").check("demo")
    assert {name.startswith(("Get", "Describe")) for name, _ in life.calls} == {True}


def test_an_image_that_is_not_in_the_registry_is_refused(life):
    life.client("ecr").create_repository(repositoryName="diascope")
    image = f"{REGISTRY}@sha256:{'0' * 64}"
    with pytest.raises(InputError, match=r"is not in the registry"):
        target(life).deploy(service(1, image))
    assert life.left() == {}


def test_no_default_network_is_said_with_what_to_do(life):
    ec2 = life.client("ec2")
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    with pytest.raises(InputError, match=f"There is no default VPC in {REGION}: name one with --set deployment"):
        target(life).check("demo")


def test_subnets_of_one_zone_or_another_vpc_are_refused(life):
    ec2 = life.client("ec2")
    (default,) = ec2.describe_vpcs()["Vpcs"]
    one = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    with pytest.raises(InputError, match=f"subnets in two zones, and those of {default['VpcId']} are in 1"):
        target(life, subnets=[one]).check("demo")
    other = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    elsewhere = ec2.create_subnet(VpcId=other, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(InputError, match=f"{elsewhere} is not in {default['VpcId']}"):
        target(life, subnets=[elsewhere]).check("demo")
    with pytest.raises(InputError, match="subnet-0123"):
        target(life, subnets=["subnet-0123"]).check("demo")


def test_an_internal_balancer_cannot_become_a_public_one(life):
    target(life).deploy(service())
    opened = target(life, allow=["0.0.0.0/0"], plain_http=True)
    for call in (lambda: opened.check("demo"), lambda: opened.deploy(service(2))):
        with pytest.raises(InputError, match="is internal and cannot become internet-facing: remove the service first"):
            call()
    assert target(life).status("demo").version == 1


def test_the_service_of_another_model_is_left_alone(life):
    target(life).deploy(service(1, name="chest-ct", model="chest-ct"))
    here, before = target(life), life.left()
    with pytest.raises(InputError, match="'chest-ct' in cluster 'diascope' of the model 'chest-ct': remove it, or"):
        here.deploy(service(1, name="chest_ct", model="chest_ct"))
    for call in (here.check, here.status, here.delete):
        with pytest.raises(InputError, match="of the model 'chest-ct'"):
            call("chest_ct")
    assert life.left() == before


def test_what_somebody_else_has_made_is_left_alone(life):
    ecs = life.client("ecs")
    ecs.create_cluster(clusterName="diascope")
    definition = [{"name": "other", "image": "other", "memory": 128}]
    ecs.register_task_definition(family="other", containerDefinitions=definition)
    ecs.create_service(cluster="diascope", serviceName="demo", taskDefinition="other", desiredCount=1)
    here = target(life)
    for call in (here.check, here.status, here.delete, lambda name: here.deploy(service(name=name))):
        with pytest.raises(InputError, match="'demo' in cluster 'diascope' made by somebody else"):
            call("demo")
    assert life.left()["services"] == ["demo"]
    assert "UpdateService" not in [name for name, _ in life.calls]


def test_interfaces_that_are_still_in_a_group_are_waited_for(life):
    here = target(life)
    here.deploy(service())
    life.held = 2
    here.delete("demo")
    assert (life.held, life.left()) == (0, {})


def test_what_an_interrupted_removal_has_left_is_said_and_removed(life):
    here = target(life)
    here.deploy(service())
    life.client("ecs").delete_service(cluster="diascope", service="demo", force=True)
    status = here.status("demo")
    assert (status.state, "run --delete" in status.detail) == ("failed", True)
    assert "load balancer ds-demo" in here.delete("demo")
    assert life.left() == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredTokenException", "the AWS credentials have expired"),
        ("UnrecognizedClientException", "AWS does not know these credentials"),
    ],
)
def test_credentials_that_are_no_good_are_one_sentence(life, code, said):
    life.failing = {name: error(code, name) for name in ("DescribeServices", "GetRole")}
    for call in (target(life).check, target(life).status, target(life).delete):
        if call == target(life).delete:
            life.failing["DescribeScalableTargets"] = error(code, "DescribeScalableTargets")
        with pytest.raises(InputError, match=said):
            call("demo")


# Asking it


def test_the_balancer_is_asked_under_its_own_address_and_the_certificates_name(life, certificate, monkeypatch):
    asked = []
    monkeypatch.setattr("targets.ecs.invoke", lambda url, image, **said: asked.append((url, image, said["host"])) or {})
    here = target(life, allow=["0.0.0.0/0"], certificate=certificate, host="ct.example.org")
    here.deploy(service())
    (balancer,) = life.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert here.ask("demo", b"x") == {}
    assert asked == [(f"https://{balancer['DNSName']}", b"x", "ct.example.org")]


def test_an_internal_balancer_that_does_not_answer_here_says_what_to_do(life, monkeypatch):
    def silent(url: str, image: bytes, **_: Any) -> None:
        raise TargetError(f"{url} does not answer (ConnectionError).")

    monkeypatch.setattr("targets.ecs.invoke", silent)
    here = target(life)
    here.deploy(service())
    with pytest.raises(InputError, match=r"from its VPC alone: deploy from there, .*deployment\.images=0"):
        here.ask("demo", b"x")
