"""What does ECS need to know to run the service's container?"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from diascope.aws import client, explained
from diascope.deployment_settings import DeploymentSettings
from targets.ecs_network import PORT
from targets.manifests import QUIET, USER
from targets.roles import role_arn
from targets.tags import SERVICE, VERSION
from targets.target import Service

if TYPE_CHECKING:
    from boto3 import Session

CONTAINER = "diascope"  # its name within the task
CONFIGURED = "diascope:configured"
TASKS = "ecs-tasks.amazonaws.com"
STOP_SECONDS = 20


class Tasks:
    """The task definitions of a service: a family with a revision for each that differs."""

    def __init__(self, session: "Session", name: str, settings: DeploymentSettings) -> None:
        self._ecs = client(session, "ecs")
        self._session = session
        self.settings = settings
        self.family = f"diascope-{name}"
        self.log_group = f"/diascope/ecs/{name}"
        self._doing = f"Describing the container of {name!r} to ECS"

    def check(self) -> None:
        """Raise InputError where a role is missing or does not let ECS use it."""
        self._roles()

    def request(self, service: Service) -> dict[str, Any]:
        """What is asked of `RegisterTaskDefinition`, without tags."""
        settings = self.settings.ecs
        environment = QUIET | self.settings.environment
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": service.image,
            "essential": True,
            "memory": settings.memory,  # also of the container, which reads its limit to know what it may hold
            "user": f"{USER}:{USER}",
            "readonlyRootFilesystem": True,
            "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": False},
            "portMappings": [{"containerPort": PORT, "protocol": "tcp"}],
            "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
            "stopTimeout": STOP_SECONDS,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self.log_group,
                    "awslogs-region": str(self._session.region_name),
                    "awslogs-stream-prefix": "service",
                },
            },
            "dockerLabels": {SERVICE: service.name, VERSION: str(service.version)},
        }
        if settings.api_key_secret:
            container["secrets"] = [{"name": "DIASCOPE_API_KEY", "valueFrom": settings.api_key_secret}]
        request = {
            "family": self.family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": str(settings.cpu),
            "memory": str(settings.memory),
            "runtimePlatform": {"cpuArchitecture": settings.architecture, "operatingSystemFamily": "LINUX"},
            **self._roles(),
        }
        said = json.dumps([request, container], sort_keys=True)
        container["dockerLabels"][CONFIGURED] = hashlib.sha256(said.encode()).hexdigest()
        return request | {"containerDefinitions": [container]}

    def register(self, request: dict[str, Any], tags: dict[str, str]) -> str:
        """Make a new revision and return its ARN."""
        said = [{"key": key, "value": value} for key, value in tags.items()]
        with explained(self._doing):
            made = self._ecs.register_task_definition(**request, tags=said)
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def labels(self, arn: str) -> dict[str, str]:
        """What a revision says of itself: service, version, and what it was configured with."""
        with explained(self._doing):
            found = self._ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        return dict(found["containerDefinitions"][0].get("dockerLabels", {}))

    def remove(self, *, but: tuple[str, ...] = ()) -> list[str]:
        """Take revisions out of use, all `but` some; return which there were."""
        with explained(self._doing):
            pages = self._ecs.get_paginator("list_task_definitions").paginate(familyPrefix=self.family, status="ACTIVE")
            found = [arn for page in pages for arn in page["taskDefinitionArns"]]
            ours = [arn for arn in found if arn.rpartition("/")[2].rpartition(":")[0] == self.family and arn not in but]
            for arn in ours:
                self._ecs.deregister_task_definition(taskDefinition=arn)
        return [f"task definition {arn.rpartition('/')[2]}" for arn in ours]

    def _roles(self) -> dict[str, str]:
        settings = self.settings.ecs
        roles = {"executionRoleArn": role_arn(self._session, settings.execution_role, TASKS)}
        if settings.task_role:
            roles["taskRoleArn"] = role_arn(self._session, settings.task_role, TASKS)
        return roles


class Logs:
    """The log group of a service."""

    def __init__(self, session: "Session", group: str) -> None:
        self._logs = client(session, "logs")
        self._group = group
        self._doing = f"Setting up the log group {group!r}"

    def ensure(self, days: int, tags: dict[str, str]) -> None:
        """Make it, and keep what is in it for so many days."""
        with explained(self._doing):
            if not self._is_there():
                self._logs.create_log_group(logGroupName=self._group, tags=tags)
            self._logs.put_retention_policy(logGroupName=self._group, retentionInDays=days)

    def remove(self) -> list[str]:
        """Remove it with what is in it; return whether it was there."""
        with explained(self._doing):
            if not self._is_there():
                return []
            self._logs.delete_log_group(logGroupName=self._group)
        return [f"log group {self._group}"]

    def _is_there(self) -> bool:
        found = self._logs.describe_log_groups(logGroupNamePrefix=self._group)["logGroups"]
        return any(each["logGroupName"] == self._group for each in found)
