"""What is SageMaker asked for?"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from diascope.deployment_settings import DeploymentSettings, SagemakerSettings
from diascope.errors import InputError
from targets.ecr import is_in_ecr
from targets.naming import short_name
from targets.tags import as_list, tags_of, tags_of_version
from targets.target import Service

VARIANT = "live"
MOST = 63  # characters of a name
DIGEST = 10  # characters of it that stand for the settings
STARTUP = 120  # seconds until /ping must answer; it takes two
ALARM_SECONDS = 300  # that alarms are watched before the instances before are given back
MADE = re.compile(rf"-v(\d+)-[0-9a-f]{{{DIGEST}}}$")


@dataclass(frozen=True)
class Plan:
    """Requests for a model and an endpoint configuration, whose names stand for their contents."""

    model: dict[str, Any]
    config: dict[str, Any]
    tags: list[dict[str, str]]  # of the endpoint

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return str(self.model["ModelName"])

    @property
    def config_name(self) -> str:
        """Name of the endpoint configuration."""
        return str(self.config["EndpointConfigName"])


def endpoint_name(service: str, settings: SagemakerSettings) -> str:
    """Return the endpoint's name: as the settings say, else the service's, in the characters that SageMaker takes."""
    return settings.endpoint or short_name(service, MOST)


def version_in(name: str) -> int | None:
    """Return the model version that a configuration's or a model's name tells, if we made it."""
    found = MADE.search(name)
    return int(found[1]) if found else None


def is_made_for(name: str, endpoint: str) -> bool:
    """Return whether a name is one that a model or a configuration of this endpoint gets."""
    found = MADE.search(name)
    return found is not None and name[: found.start()] == prefix_of(endpoint).removesuffix("-v")


def prefix_of(endpoint: str) -> str:
    """Return what the names of an endpoint's models and configurations begin with."""
    return endpoint[: MOST - DIGEST - 10].rstrip("-") + "-v"


def plan(service: Service, settings: DeploymentSettings, role: str) -> Plan:
    """Return what is asked for; the same service and settings give the same names.

    Raises InputError: the image is not in ECR and there is no VPC to take it through, or captures have no place.
    """
    own = settings.sagemaker
    tags = as_list(tags_of_version(service, own.tags))
    model = _model(service, settings, role)
    model_name = _named(service, own, model)
    config = _config(model_name, own)
    config_name = _named(service, own, config | {"endpoint": endpoint_name(service.name, own)})
    return Plan(
        model={"ModelName": model_name, **model, "Tags": tags},
        config={"EndpointConfigName": config_name, **config, "Tags": tags},
        tags=as_list(tags_of(service, own.tags)),
    )


def update_options(settings: SagemakerSettings, *, retain: bool) -> dict[str, Any]:
    """Return how an endpoint is updated; with `retain` it keeps the number of instances that it has now."""
    options: dict[str, Any] = {}
    if retain:
        options["RetainAllVariantProperties"] = True
        options["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DataCaptureConfig"}]
    if settings.alarms:
        traffic = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": ALARM_SECONDS}
        options["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in settings.alarms]},
        }
    return options


def _named(service: Service, settings: SagemakerSettings, content: dict[str, Any]) -> str:
    given = json.dumps([service.name, content], sort_keys=True).encode()
    prefix = prefix_of(endpoint_name(service.name, settings))
    return f"{prefix}{service.version}-{hashlib.sha256(given).hexdigest()[:DIGEST]}"


def _model(service: Service, settings: DeploymentSettings, role: str) -> dict[str, Any]:
    own = settings.sagemaker
    environment = {"DIASCOPE_MONITORING": "", **settings.environment}  # records on its disk would be gone with it
    container: dict[str, Any] = {"Image": service.image, "Mode": "SingleModel", "Environment": environment}
    if not is_in_ecr(service.image):
        if not own.subnets:
            raise InputError(
                f"SageMaker takes images from Amazon ECR, or from a registry in a VPC, and {service.image} is neither: "
                "use a stack whose registry is an ECR, or say deployment.sagemaker.subnets and security_groups."
            )
        container["ImageConfig"] = {"RepositoryAccessMode": "Vpc"}
    asked: dict[str, Any] = {"PrimaryContainer": container, "ExecutionRoleArn": role}
    if own.subnets:
        asked["VpcConfig"] = {"Subnets": own.subnets, "SecurityGroupIds": own.security_groups}
    if not own.network and not own.serverless:  # serverless endpoints know no isolation
        asked["EnableNetworkIsolation"] = True
    return asked


def _config(model: str, own: SagemakerSettings) -> dict[str, Any]:
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model}
    asked: dict[str, Any] = {"ProductionVariants": [variant]}
    if own.serverless:
        variant["ServerlessConfig"] = {"MemorySizeInMB": own.serverless_memory, "MaxConcurrency": own.max_concurrency}
        return asked
    variant |= {
        "InstanceType": own.instance_type,
        "InitialInstanceCount": own.instances,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": STARTUP,
    }
    if own.capture != "nothing":
        asked["DataCaptureConfig"] = _capture(own)
    if own.volume_key:
        asked["KmsKeyId"] = own.volume_key
    return asked


def capture_place(settings: SagemakerSettings) -> str | None:
    """Return where requests are captured, if they are; raises InputError where there is no place for them."""
    if settings.capture != "nothing" and settings.capture_to is None:
        raise InputError(
            "There is no place for captured requests: say deployment.sagemaker.capture_to, s3://bucket/prefix, "
            "or capture nothing (deployment.sagemaker.capture: nothing)."
        )
    return None if settings.capture == "nothing" else settings.capture_to


def _capture(own: SagemakerSettings) -> dict[str, Any]:
    modes = ["Output"] if own.capture == "answers" else ["Input", "Output"]
    asked: dict[str, Any] = {
        "EnableCapture": True,
        "InitialSamplingPercentage": own.capture_percent,
        "DestinationS3Uri": capture_place(own),
        "CaptureOptions": [{"CaptureMode": mode} for mode in modes],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    return asked | ({"KmsKeyId": own.capture_key} if own.capture_key else {})
