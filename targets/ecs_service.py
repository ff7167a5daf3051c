"""How does a service run on ECS, and how is it doing?"""

from typing import TYPE_CHECKING, Any

from diascope.aws import client, error_code, explained
from diascope.deployment_settings import EcsSettings
from diascope.errors import InputError
from targets import patience
from targets.ecs_network import PORT, Network
from targets.ecs_task import CONTAINER
from targets.target import TargetError

if TYPE_CHECKING:
    from boto3 import Session

GRACE_SECONDS = 60  # in which a task need not be healthy
DIMENSION = "ecs:service:DesiredCount"
POLICY = "diascope-cpu"
OUT_SECONDS, IN_SECONDS = 60, 300  # between two steps up, and down


class EcsService:
    """One service in a cluster."""

    def __init__(self, session: "Session", name: str, settings: EcsSettings) -> None:
        self._ecs = client(session, "ecs")
        self._scaling = client(session, "application-autoscaling")
        self.name = name
        self.settings = settings
        self._doing = f"Running the service {name!r} on ECS"
        self._where = {"cluster": settings.cluster, "service": name}
        self._scaled = {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{settings.cluster}/{name}",
            "ScalableDimension": DIMENSION,
        }

    def ensure_cluster(self, tags: dict[str, str]) -> None:
        """Make the cluster unless it is there; it costs nothing and stays."""
        with explained(self._doing):
            found = self._ecs.describe_clusters(clusters=[self.settings.cluster])["clusters"]
            if not any(each["status"] == "ACTIVE" for each in found):
                self._ecs.create_cluster(clusterName=self.settings.cluster, tags=_tags(tags))

    def find(self) -> dict[str, Any] | None:
        """The service as ECS has it; None where there is none any more."""
        try:
            with explained(self._doing):
                found = self._ecs.describe_services(
                    cluster=self.settings.cluster, services=[self.name], include=["TAGS"]
                )["services"]
        except InputError as error:
            if error_code(error) != "ClusterNotFoundException":
                raise
            return None
        return next((each for each in found if each["status"] != "INACTIVE"), None)

    def task(self) -> str | None:
        """The task definition that it runs, if it is there and not about to go."""
        found = self.find()
        return str(found["taskDefinition"]) if found and found["status"] == "ACTIVE" else None

    def tags(self) -> dict[str, str] | None:
        """Its tags, if it is there."""
        found = self.find()
        return found and {each["key"]: each["value"] for each in found.get("tags", [])}

    def run(self, task: str, network: Network, group: str, targets: str, tags: dict[str, str]) -> None:
        """Create the service with this task definition, or let it go over to it."""
        self._wait_until_drained()
        there = self.find()
        said = {
            "cluster": self.settings.cluster,
            "taskDefinition": task,
            "platformVersion": "LATEST",
            "healthCheckGracePeriodSeconds": GRACE_SECONDS,
            "networkConfiguration": {"awsvpcConfiguration": self._network(network, group)},
            "loadBalancers": [{"targetGroupArn": targets, "containerName": CONTAINER, "containerPort": PORT}],
            "deploymentConfiguration": {
                "minimumHealthyPercent": 100,  # an old task goes when a new one answers
                "maximumPercent": 200,
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            },
        }
        with explained(self._doing):
            if there:
                self._ecs.update_service(service=self.name, **said)  # how many there are, autoscaling knows
                return
            self._ecs.create_service(
                serviceName=self.name,
                desiredCount=self.settings.replicas,
                launchType="FARGATE",
                schedulingStrategy="REPLICA",
                propagateTags="SERVICE",
                enableECSManagedTags=True,
                tags=_tags(tags),
                **said,
            )

    def go_back(self, task: str) -> None:
        """Let the service go back to an earlier task definition, and wait for it."""
        with explained(self._doing):
            self._ecs.update_service(**self._where, taskDefinition=task)
        self.wait(task)

    def wait(self, task: str) -> None:
        """Return when every task is of this definition and healthy.

        Raises
        ------
        TargetError: the circuit breaker gave up, or the time is over; with what the tasks that ended say.
        """
        try:
            last = patience.until(lambda: self._rollout(task), lambda state: state != "IN_PROGRESS", self._seconds)
        except patience.TooLong:
            last = f"not stable after {self.settings.timeout} seconds"
        if last != "COMPLETED":
            raise TargetError(f"The service {self.name!r} did not become stable ({last}): {self.reason(task)}")

    @property
    def _seconds(self) -> float:
        return float(self.settings.timeout)

    def _rollout(self, task: str) -> str:
        found = self.find()
        if found is None:
            return "it is gone"
        primary = next((each for each in found["deployments"] if each["status"] == "PRIMARY"), None)
        if primary is None or primary["taskDefinition"] != task:
            return "ECS has gone back to the version before"
        return str(primary.get("rolloutState", "IN_PROGRESS"))

    def reason(self, task: str) -> str:
        """Why tasks of a definition end, by the last one that did; else the last thing that ECS says of the service."""
        with explained(self._doing):
            ended = self._ecs.list_tasks(cluster=self.settings.cluster, serviceName=self.name, desiredStatus="STOPPED")
            if arns := ended["taskArns"][:10]:
                told = self._ecs.describe_tasks(cluster=self.settings.cluster, tasks=arns)["tasks"]
                for each in sorted(told, key=lambda one: str(one.get("stoppedAt", "")), reverse=True):
                    if said := _ended(each) if each["taskDefinitionArn"] == task else "":
                        return _sentence(said)
        found = self.find()
        events = [each["message"] for each in found["events"]] if found else []
        return _sentence(events[0]) if events else "ECS does not say why."

    def scale(self, tags: dict[str, str]) -> None:
        """Let the number of tasks follow their load."""
        settings = self.settings
        tracking = {
            "TargetValue": float(settings.target_cpu),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
            "ScaleOutCooldown": OUT_SECONDS,
            "ScaleInCooldown": IN_SECONDS,
        }
        once = {} if self._is_scaled() else {"Tags": tags}  # AWS refuses them for one that is registered already
        with explained(self._doing):
            self._scaling.register_scalable_target(
                **self._scaled, MinCapacity=settings.replicas, MaxCapacity=settings.max_replicas, **once
            )
            self._scaling.put_scaling_policy(
                **self._scaled,
                PolicyName=POLICY,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=tracking,
            )

    def remove(self) -> list[str]:
        """Remove service and autoscaling, and wait until its tasks are gone; return what there was."""
        removed = []
        if self._is_scaled():
            with explained(self._doing):
                self._scaling.deregister_scalable_target(**self._scaled)  # policies and alarms go with it
            removed.append(f"autoscaling of {self.name}")
        if (there := self.find()) is not None:
            if there["status"] != "DRAINING":
                with explained(self._doing):
                    self._ecs.delete_service(**self._where, force=True)
                removed.append(f"service {self.settings.cluster}/{self.name}")
            self._wait_until_drained(deleted=True)
        return removed

    def _is_scaled(self) -> bool:
        with explained(self._doing):
            found = self._scaling.describe_scalable_targets(
                ServiceNamespace="ecs", ResourceIds=[self._scaled["ResourceId"]]
            )
        return bool(found["ScalableTargets"])

    def _network(self, network: Network, group: str) -> dict[str, Any]:
        public = "ENABLED" if self.settings.public_address else "DISABLED"
        return {"subnets": network.subnets, "securityGroups": [group], "assignPublicIp": public}

    def _wait_until_drained(self, *, deleted: bool = False) -> None:
        """A service of the same name can be made when the one before it is gone for good."""

        def drained(found: dict[str, Any] | None) -> bool:
            return found is None or (not deleted and found["status"] != "DRAINING")

        try:
            patience.until(self.find, drained, self._seconds)
        except patience.TooLong:
            raise TargetError(
                f"The service {self.name!r} is still being removed after {self.settings.timeout} seconds: run again."
            ) from None


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _ended(task: dict[str, Any]) -> str:
    said = [each["reason"] for each in task.get("containers", []) if each.get("reason")]
    return str(said[0] if said else task.get("stoppedReason", ""))


def _sentence(said: str) -> str:
    return " ".join(said.split()).rstrip(".") + "."
