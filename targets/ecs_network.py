"""Where in a VPC does a service on ECS stand, and who may reach it?"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diascope.aws import client, error_code, explained
from diascope.deployment_settings import EcsSettings
from diascope.errors import InputError
from targets.tags import as_list

if TYPE_CHECKING:
    from boto3 import Session

PORT = 3000  # of the service
ANYWHERE = "0.0.0.0/0"
# Who the other side of a rule can be, and what says which.
SIDES = {"IpRanges": "CidrIp", "Ipv6Ranges": "CidrIpv6", "PrefixListIds": "PrefixListId", "UserIdGroupPairs": "GroupId"}
HELD = "DependencyViolation"  # Amazon's own interfaces are still in the group
PATIENCE, PAUSE = 600.0, 5.0  # seconds until the interfaces of a deleted load balancer are gone


@dataclass(frozen=True)
class Network:
    """A VPC and the subnets that are used of it."""

    vpc: str
    cidr: str
    subnets: list[str]  # of the tasks
    balancer_subnets: list[str]


def find_network(session: "Session", settings: EcsSettings) -> Network:
    """Return where the service shall stand; raises InputError where that is not there or has too few zones."""
    ec2 = client(session, "ec2")
    with explained("Looking for the VPC"):
        default = [{"Name": "is-default", "Values": ["true"]}]
        said = {"VpcIds": [settings.vpc]} if settings.vpc else {"Filters": default}
        found = ec2.describe_vpcs(**said)["Vpcs"]
    if not found:
        raise InputError(
            f"There is no default VPC in {session.region_name}: name one with --set deployment.ecs.vpc=VPC and its "
            "subnets with deployment.ecs.subnets."
        )
    vpc = found[0]
    subnets = _subnets(ec2, vpc["VpcId"], settings.subnets, public=settings.public_address)
    balancers = subnets
    if settings.balancer_subnets or not settings.subnets:
        public = bool(settings.allow)
        balancers = _subnets(ec2, vpc["VpcId"], settings.balancer_subnets, public=public)
    zones = {each["AvailabilityZone"] for each in balancers}
    if len(zones) < 2:
        raise InputError(
            f"A load balancer needs subnets in two zones, and those of {vpc['VpcId']} are in {len(zones)}: name others "
            "with --set 'deployment.ecs.balancer_subnets=[SUBNET, SUBNET]'."
        )
    return Network(vpc["VpcId"], vpc["CidrBlock"], _ids(subnets), _ids(balancers))


def _subnets(ec2: Any, vpc: str, given: list[str], *, public: bool) -> list[dict[str, Any]]:
    """The subnets that were given, or one for each zone of the VPC."""
    with explained("Looking for the subnets"):
        said: dict[str, Any] = {"SubnetIds": given} if given else {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}
        found: list[dict[str, Any]] = ec2.describe_subnets(**said)["Subnets"]
    elsewhere = sorted(each["SubnetId"] for each in found if each["VpcId"] != vpc)
    if elsewhere:
        raise InputError(f"The subnet {elsewhere[0]} is not in {vpc}: set deployment.ecs.vpc, or name others.")
    if given:
        return found
    by_zone: dict[str, dict[str, Any]] = {}
    for each in sorted(found, key=lambda one: (one.get("MapPublicIpOnLaunch") != public, one["SubnetId"])):
        by_zone.setdefault(each["AvailabilityZone"], each)
    return [by_zone[zone] for zone in sorted(by_zone)]


def _ids(subnets: list[dict[str, Any]]) -> list[str]:
    return [each["SubnetId"] for each in subnets]


class Groups:
    """The two security groups of a service: of its load balancer, and of its tasks."""

    def __init__(self, session: "Session", name: str) -> None:
        self._ec2 = client(session, "ec2")
        self._names = {"balancer": f"diascope-{name}-balancer", "service": f"diascope-{name}-service"}
        self._doing = f"Setting up the security groups of {name!r}"

    def ensure(self, network: Network, settings: EcsSettings, registry_ports: set[int], tags: dict[str, str]) -> None:
        """Make them, or change what they let through."""
        balancer, service = (self._ensure(kind, network.vpc, tags) for kind in ("balancer", "service"))
        ports = [80, 443] if settings.certificate else [80]
        callers = [network.cidr, *settings.allow]
        self._let("ingress", balancer, [rule for port in ports for rule in _from_networks(port, callers)])
        self._let("egress", balancer, [_with_group(PORT, service)])
        self._let("ingress", service, [_with_group(PORT, balancer)])
        out = [rule for port in sorted(registry_ports) for rule in _from_networks(port, [ANYWHERE])]
        self._let("egress", service, out)

    def find(self, kind: str, vpc: str | None = None) -> str | None:
        """The id of a group, if it is there."""
        filters = [{"Name": "group-name", "Values": [self._names[kind]]}]
        filters += [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []
        with explained(self._doing):
            found = self._ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        return found[0]["GroupId"] if found else None

    def remove(self) -> list[str]:
        """Remove both, as soon as nothing is in them any more; return which there were."""
        removed = []
        for kind in ("service", "balancer"):
            if group := self.find(kind):
                self._let("ingress", group, [])  # they name each other
                self._let("egress", group, [])
        for kind in ("service", "balancer"):
            if group := self.find(kind):
                self._remove(group)
                removed.append(f"security group {self._names[kind]}")
        return removed

    def _ensure(self, kind: str, vpc: str, tags: dict[str, str]) -> str:
        if group := self.find(kind, vpc):
            return group
        said = {"ResourceType": "security-group", "Tags": as_list(tags)}
        with explained(self._doing):
            made = self._ec2.create_security_group(
                GroupName=self._names[kind],
                Description=f"Diascope: {kind}",
                VpcId=vpc,
                TagSpecifications=[said],
            )
        return str(made["GroupId"])

    def _let(self, way: str, group: str, wanted: list[dict[str, Any]]) -> None:
        """Let this through and nothing else; what is there already is not touched."""
        with explained(self._doing):
            (found,) = self._ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
            there = _single(found["IpPermissions" if way == "ingress" else "IpPermissionsEgress"])
            old = [each for each in there if each not in wanted]
            new = [each for each in wanted if each not in there]
            if new:
                getattr(self._ec2, f"authorize_security_group_{way}")(GroupId=group, IpPermissions=new)
            if old:
                getattr(self._ec2, f"revoke_security_group_{way}")(GroupId=group, IpPermissions=old)

    def _remove(self, group: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with explained(self._doing):
                    self._ec2.delete_security_group(GroupId=group)
                return
            except InputError as error:
                if error_code(error) != HELD or time.monotonic() > end:
                    raise
            time.sleep(PAUSE)


def _from_networks(port: int, networks: list[str]) -> list[dict[str, Any]]:
    return [_rule(port) | {"IpRanges": [{"CidrIp": each}]} for each in sorted(set(networks))]


def _with_group(port: int, group: str) -> dict[str, Any]:
    return _rule(port) | {"UserIdGroupPairs": [{"GroupId": group}]}


def _rule(port: int) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}


def _single(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules as AWS tells them, several in one, as one for each network or group, and of those what makes them."""
    return [
        {key: rule[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in rule} | {kind: [{key: each[key]}]}
        for rule in rules
        for kind, key in SIDES.items()
        for each in rule.get(kind, [])
    ]
