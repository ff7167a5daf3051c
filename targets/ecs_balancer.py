"""How do callers reach a service on ECS? (an application load balancer)"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diascope.aws import client, error_code, explained
from diascope.deployment_settings import EcsSettings
from diascope.errors import InputError
from targets.ecs_network import PORT, Network
from targets.naming import short_name
from targets.patience import TooLong, until
from targets.tags import as_list
from targets.target import TargetError

if TYPE_CHECKING:
    from boto3 import Session

LONGEST, PREFIX = 32, "ds-"
TLS = "ELBSecurityPolicy-TLS13-1-2-2021-06"  # TLS 1.2 and 1.3
BALANCER_ATTRIBUTES = {"routing.http.drop_invalid_header_fields.enabled": "true"}
GROUP_ATTRIBUTES = {
    "deregistration_delay.timeout_seconds": "15",  # no answer takes longer
    "load_balancing.algorithm.type": "least_outstanding_requests",  # large images take a multiple of small ones
}
HEALTH = {
    "HealthCheckProtocol": "HTTP",
    "HealthCheckPath": "/readyz",
    "HealthCheckIntervalSeconds": 10,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 3,
    "Matcher": {"HttpCode": "200"},
}
READY_SECONDS = 600.0


@dataclass(frozen=True)
class Found:
    """A load balancer as AWS has it."""

    arn: str
    address: str
    scheme: str


class Balancer:
    """The load balancer of a service, with its target group and listeners."""

    def __init__(self, session: "Session", service: str) -> None:
        self._elb = client(session, "elbv2")
        self._name = short_name(service, LONGEST, PREFIX)
        self._doing = f"Setting up the load balancer of {service!r}"

    def find(self) -> Found | None:
        """The load balancer, if it is there."""
        found = self._described("describe_load_balancers", "LoadBalancers", "LoadBalancerNotFound")
        return found and Found(found["LoadBalancerArn"], found["DNSName"], found["Scheme"])

    def tags(self) -> dict[str, str] | None:
        """Its tags, if it is there."""
        found = self.find()
        if found is None:
            return None
        with explained(self._doing):
            (told,) = self._elb.describe_tags(ResourceArns=[found.arn])["TagDescriptions"]
        return {each["Key"]: each["Value"] for each in told["Tags"]}

    def check(self, settings: EcsSettings) -> None:
        """Raise InputError where it is there and would have to be another one."""
        found = self.find()
        if found and found.scheme != _scheme(settings):
            raise InputError(
                f"The load balancer of the service is {found.scheme} and cannot become {_scheme(settings)}: remove the "
                "service first (--delete), or put deployment.ecs.allow back."
            )

    def ensure(self, network: Network, group: str, settings: EcsSettings, tags: dict[str, str]) -> tuple[Found, str]:
        """Make or update all of it; the load balancer, and the ARN of the target group."""
        targets = self._ensure_targets(network, tags)
        found = self.find() or self._create(network, group, settings, tags)
        with explained(self._doing):
            self._elb.modify_load_balancer_attributes(
                LoadBalancerArn=found.arn, Attributes=as_list(BALANCER_ATTRIBUTES)
            )
            self._elb.set_security_groups(LoadBalancerArn=found.arn, SecurityGroups=[group])
        self._listen(found.arn, targets, settings, tags)
        return found, targets

    def wait(self) -> None:
        """Return when it takes calls; raises TargetError."""

        def state() -> str:
            told = self._described("describe_load_balancers", "LoadBalancers", "LoadBalancerNotFound")
            return str(told["State"]["Code"]) if told else "gone"

        try:
            last = until(state, lambda code: code != "provisioning", READY_SECONDS)
        except TooLong:
            last = "provisioning"
        if last not in ("active", "active_impaired"):
            raise TargetError(
                f"The load balancer {self._name!r} is not ready after {READY_SECONDS:g} seconds ({last})."
            )

    def remove(self) -> list[str]:
        """Remove all of it; return what there was."""
        removed = []
        if found := self.find():
            with explained(self._doing):
                self._elb.delete_load_balancer(LoadBalancerArn=found.arn)  # its listeners go with it
            removed.append(f"load balancer {self._name}")
        if targets := self._targets():
            with explained(self._doing):
                self._elb.delete_target_group(TargetGroupArn=targets)
            removed.append(f"target group {self._name}")
        return removed

    def _create(self, network: Network, group: str, settings: EcsSettings, tags: dict[str, str]) -> Found:
        with explained(self._doing):
            self._elb.create_load_balancer(
                Name=self._name,
                Type="application",
                Scheme=_scheme(settings),
                Subnets=network.balancer_subnets,
                SecurityGroups=[group],
                IpAddressType="ipv4",
                Tags=as_list(tags),
            )
        found = self.find()
        assert found is not None
        return found

    def _targets(self) -> str | None:
        found = self._described("describe_target_groups", "TargetGroups", "TargetGroupNotFound")
        return found and str(found["TargetGroupArn"])

    def _ensure_targets(self, network: Network, tags: dict[str, str]) -> str:
        arn = self._targets()
        with explained(self._doing):
            if arn is None:
                made = self._elb.create_target_group(
                    Name=self._name,
                    Protocol="HTTP",
                    Port=PORT,
                    VpcId=network.vpc,
                    TargetType="ip",
                    Tags=as_list(tags),
                    **HEALTH,
                )
                arn = str(made["TargetGroups"][0]["TargetGroupArn"])
            self._elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=as_list(GROUP_ATTRIBUTES))
        return arn

    def _listen(self, balancer: str, targets: str, settings: EcsSettings, tags: dict[str, str]) -> None:
        """Listen as wanted, and nowhere else."""
        wanted = _listeners(targets, settings)
        with explained(self._doing):
            there = self._elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
            known = {each["Port"]: each["ListenerArn"] for each in there}
            for said in wanted:
                if arn := known.pop(said["Port"], None):
                    self._elb.modify_listener(ListenerArn=arn, **said)
                else:
                    self._elb.create_listener(LoadBalancerArn=balancer, Tags=as_list(tags), **said)
            for arn in known.values():
                self._elb.delete_listener(ListenerArn=arn)

    def _described(self, action: str, key: str, missing: str) -> Any:
        try:
            with explained(self._doing):
                return getattr(self._elb, action)(Names=[self._name])[key][0]
        except InputError as error:
            if error_code(error) not in (missing, f"{missing}Exception"):
                raise
            return None


def _scheme(settings: EcsSettings) -> str:
    return "internet-facing" if settings.allow else "internal"


def _listeners(targets: str, settings: EcsSettings) -> list[dict[str, Any]]:
    forward = [{"Type": "forward", "TargetGroupArn": targets}]
    if settings.certificate is None:
        return [{"Protocol": "HTTP", "Port": 80, "DefaultActions": forward}]
    to_https = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    return [
        {
            "Protocol": "HTTPS",
            "Port": 443,
            "SslPolicy": TLS,
            "Certificates": [{"CertificateArn": settings.certificate}],
            "DefaultActions": forward,
        },
        {"Protocol": "HTTP", "Port": 80, "DefaultActions": [{"Type": "redirect", "RedirectConfig": to_https}]},
    ]
