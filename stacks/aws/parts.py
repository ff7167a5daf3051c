"""What do the AWS stacks consist of?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diascope import aws
from diascope.errors import InputError
from stacks.aws.values import AwsValues

NO_PASSWORD = "none"  # ZenML wants one way of logging in to a remote MLflow, also where the server asks for none
ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True)
class Part:
    """A stack component."""

    kind: str
    flavor: str
    configuration: dict[str, Any]
    resource: str | None = None  # what the service connector gives access to; None: it is not used

    def name(self, stack: str) -> str:
        """Its name says its flavor, which an existing component cannot change."""
        return f"{stack}-{self.flavor}"


def parts(values: AwsValues, secrets: Mapping[str, frozenset[str]]) -> list[Part]:
    """Return the components of the stack; `secrets` are the keys of the ZenML secrets that there are for it."""
    return [
        Part("artifact_store", "s3", {"path": f"s3://{values.bucket}"}, f"s3://{values.bucket}"),
        _registry(values, secrets),
        _image_builder(values),
        Part("experiment_tracker", "mlflow", {"tracking_uri": values.tracking_uri} | _login(values.stack, secrets)),
        Part("model_registry", "mlflow", {}),
        Part(ORCHESTRATOR, "sagemaker", _sagemaker(values), values.region),
    ]


def authentication(values: AwsValues) -> tuple[str, dict[str, str]]:
    """Return how the service connector authenticates, and its configuration.

    `implicit` uses what the ZenML server itself runs as; `environment` takes over the credentials of this process,
    which ZenML then keeps among its secrets. Raises InputError where there are none, or they cannot assume the role.
    """
    plain = {"region": values.region} | ({"endpoint_url": values.endpoint_url} if values.endpoint_url else {})
    role = {"role_arn": values.connector_role} if values.connector_role else {}
    if values.connector == "implicit":
        return "implicit", plain | role
    found = aws.session(values.region).get_credentials()
    if found is None:
        raise InputError(f"connector is environment, but there are no AWS credentials: {aws.CREDENTIALS}.")
    keys = found.get_frozen_credentials()
    plain |= {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key}
    if not keys.token:
        return ("iam-role" if role else "secret-key"), plain | role
    if role:
        raise InputError(
            "connector_role cannot be assumed with temporary credentials of the environment: say connector: implicit, "
            "or leave connector_role out and use credentials of that role."
        )
    return "sts-token", plain | {"aws_session_token": keys.token}


def secret_name(stack: str, purpose: str) -> str:
    """Return the name of the ZenML secret with the credentials of `mlflow` or of the `registry`."""
    return f"{stack}-{purpose}"


def _registry(values: AwsValues, secrets: Mapping[str, frozenset[str]]) -> Part:
    said = {"uri": values.registry, "default_repository": values.repository}
    if values.is_ecr:
        return Part("container_registry", "aws", said, values.registry)
    login = {"authentication_secret": secret_name(values.stack, "registry")} if "registry" in secrets else {}
    return Part("container_registry", "default", said | login)


def _image_builder(values: AwsValues) -> Part:
    if values.image_builder == "codebuild":
        return Part("image_builder", "aws", {"code_build_project": values.codebuild_project}, values.region)
    return Part("image_builder", "local", {"use_subprocess_call": True})  # the client knows BuildKit, the library not


def _login(stack: str, secrets: Mapping[str, frozenset[str]]) -> dict[str, str | None]:
    keys = secrets.get("mlflow", frozenset())
    name = secret_name(stack, "mlflow")
    login: dict[str, str | None] = {f"tracking_{key}": None for key in ("username", "password", "token")}
    if not keys:
        return login | {"tracking_token": NO_PASSWORD}
    return login | {f"tracking_{key}": f"{{{{{name}.{key}}}}}" for key in keys}


def _sagemaker(values: AwsValues) -> dict[str, Any]:
    return {
        "execution_role": values.execution_role,
        "region": values.region,
        "bucket": values.bucket,  # without it, SageMaker's library makes one of its own
        "output_data_s3_uri": f"s3://{values.bucket}/diascope/sagemaker",  # else the jobs' leavings lie at the top
    }
