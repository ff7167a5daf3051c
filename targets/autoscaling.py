"""How does the number of an endpoint's instances follow its load?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diascope.aws import client, explained
from diascope.deployment_settings import SagemakerSettings

if TYPE_CHECKING:
    from boto3 import Session

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
POLICY = "diascope-invocations"
OUT_SECONDS, IN_SECONDS = 60, 300  # between two steps up, and down
TARGET_KEYS = ("MinCapacity", "MaxCapacity")  # the role is Amazon's own
POLICY_KEYS = ("PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration")


@dataclass(frozen=True)
class Registered:
    """What is registered for an endpoint, as it is registered anew."""

    target: dict[str, Any]
    policies: list[dict[str, Any]]


class Scaling:
    """The autoscaling of an endpoint's one variant."""

    def __init__(self, session: "Session", endpoint: str, variant: str) -> None:
        self._session = session
        self._variant = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
            "ScalableDimension": DIMENSION,
        }
        self._doing = f"Scaling the endpoint {endpoint!r}"

    def current(self) -> Registered | None:
        """Return what is registered, by whomever, if anything."""
        resource = self._variant["ResourceId"]
        with explained(self._doing):
            targets = self._client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])
            if not targets["ScalableTargets"]:
                return None
            policies = self._client.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)
        found = targets["ScalableTargets"][0]
        return Registered(
            {key: found[key] for key in TARGET_KEYS if key in found},
            [{key: each[key] for key in POLICY_KEYS if key in each} for each in policies["ScalingPolicies"]],
        )

    def set(self, settings: SagemakerSettings) -> None:
        """Register what the settings say, or nothing where the number is fixed."""
        if settings.serverless or settings.max_instances == settings.instances:
            self.remove()
            return
        tracking = {
            "TargetValue": float(settings.invocations_per_instance),
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            "ScaleOutCooldown": OUT_SECONDS,
            "ScaleInCooldown": IN_SECONDS,
        }
        policy = {
            "PolicyName": POLICY,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": tracking,
        }
        capacity = {"MinCapacity": settings.instances, "MaxCapacity": settings.max_instances}
        before = self.current()
        try:
            self.put_back(Registered(capacity, [policy]))
        except BaseException:
            if before:
                self.put_back(before)
            else:
                self.remove()
            raise

    def put_back(self, registered: Registered) -> None:
        """Register what was registered before."""
        with explained(self._doing):
            self._client.register_scalable_target(**self._variant, **registered.target)
            for policy in registered.policies:
                self._client.put_scaling_policy(**self._variant, **policy)

    def remove(self) -> bool:
        """Register nothing; policies and their alarms go with it. Return whether anything was registered."""
        registered = self.current() is not None
        if registered:
            with explained(self._doing):
                self._client.deregister_scalable_target(**self._variant)
        return registered

    @property
    def _client(self) -> Any:
        return client(self._session, "application-autoscaling")
