"""What does the AWS stack need to know?"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from diascope import documents
from diascope.errors import InputError
from diascope.problems import Problem, check_schema

VALUES_FILE = Path(__file__).resolve().parent / "values.yaml"
PREFIX = "DIASCOPE_AWS_"
ECR = r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?"
ROLE = r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$"
# Read from the environment alone, so that no key stands in a file; ZenML keeps them as secrets.
SECRETS = {
    "tracking_username": "mlflow",
    "tracking_password": "mlflow",
    "tracking_token": "mlflow",
    "registry_username": "registry",
    "registry_password": "registry",
}


class AwsValues(BaseModel):
    """The values of one AWS stack; no credentials are among them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stack: str = Field(default="aws", pattern=r"^[a-z][a-z0-9-]{0,30}$")  # its sibling is <stack>-local
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")  # of the artifact store
    registry: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*(:\d+)?(/[a-z0-9._/-]+)?$")  # ECR or another, without https://
    repository: str = Field(default="diascope-steps", pattern=r"^[a-z0-9][a-z0-9._/-]*$")  # of the step images
    execution_role: str = Field(pattern=ROLE)  # what the steps on SageMaker run as
    connector: Literal["implicit", "environment"] = "implicit"  # whose credentials the service connector uses
    connector_role: str | None = Field(default=None, pattern=ROLE)  # which it then assumes
    tracking_uri: str = Field(pattern=r"^https?://[^\s/]+\S*$")  # of the MLflow server
    image_builder: Literal["local", "codebuild"] = "local"
    codebuild_project: str | None = Field(default=None, min_length=1)
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://\S+$")  # where AWS is not at its own addresses

    @property
    def is_ecr(self) -> bool:
        """Whether the registry is one of AWS."""
        return re.fullmatch(ECR, self.registry) is not None


def read_values(path: Path = VALUES_FILE, environment: Mapping[str, str] | None = None) -> AwsValues:
    """Read the file, where there is one, and what DIASCOPE_AWS_<KEY> in the environment says instead.

    Raises InputError with a line for everything that is missing or wrong, and where it was said.
    """
    said = os.environ if environment is None else environment
    document, problems = documents.read(path) if path.exists() or path != VALUES_FILE else ({}, [])
    document = {} if document is None else document
    if not isinstance(document, dict):
        raise InputError(f"{path} should hold a mapping of keys to values: see values.example.yaml beside it.")
    overrides = {key: said[PREFIX + key.upper()] for key in AwsValues.model_fields if said.get(PREFIX + key.upper())}
    found = [*problems, *check_schema(AwsValues, document | overrides)]
    if found:
        raise InputError("\n".join(_line(problem, path, overrides) for problem in found))
    values = AwsValues.model_validate(document | overrides)
    _check(values)
    return values


def _check(values: AwsValues) -> None:
    if values.image_builder == "codebuild" and values.codebuild_project is None:
        raise InputError("image_builder is codebuild: say in codebuild_project which project builds.")
    found = re.match(ECR, values.registry)
    if found and found[0] != values.registry:
        raise InputError(f"registry should end with {found[0]}: what follows it belongs into repository.")
    if found and found["region"] != values.region:
        raise InputError(
            f"The registry is in {found['region']} and region says {values.region}: both must be the same."
        )


def read_secrets(environment: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Read the credentials of MLflow and of a registry, by what they are for: `{"mlflow": {"token": "…"}}`."""
    said = os.environ if environment is None else environment
    secrets: dict[str, dict[str, str]] = {}
    for key, purpose in SECRETS.items():
        if value := said.get(PREFIX + key.upper()):
            secrets.setdefault(purpose, {})[key.partition("_")[2]] = value
    for purpose, found in secrets.items():
        if ("username" in found) != ("password" in found) or ("token" in found and len(found) > 1):
            prefix = PREFIX + ("TRACKING" if purpose == "mlflow" else "REGISTRY")
            raise InputError(f"Set {prefix}_USERNAME and {prefix}_PASSWORD, both{_or_token(purpose, prefix)}.")
    return secrets


def _or_token(purpose: str, prefix: str) -> str:
    return f", or {prefix}_TOKEN alone" if purpose == "mlflow" else ""


def _line(problem: Problem, path: Path, overrides: Mapping[str, Any]) -> str:
    key = ".".join(map(str, problem.path))
    where = PREFIX + key.upper() if key in overrides else f"{path.name}: {key}" if key else path.name
    hint = f" (or {PREFIX}{key.upper()})" if key in AwsValues.model_fields and key not in overrides else ""
    return f"{where}{hint}: {problem.text}"
