"""Which models and endpoint configurations belong to a service, and how do they come and go?"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from diascope.aws import error_code, explained
from diascope.errors import InputError
from targets.sagemaker_request import Plan, is_made_for, prefix_of
from targets.tags import SERVICE

GONE = "Could not find"  # SageMaker has one code for all that it does not take
EXISTS = "Cannot create already existing"


class Parts:
    """What the endpoint of one service is made from."""

    def __init__(self, client: Any, endpoint: str, service: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._service = service

    def make(self, wanted: Plan) -> None:
        """Make model and configuration, unless they are there: their names stand for what they are."""
        if not self._exists("describe_model", ModelName=wanted.model_name):
            with explained(f"Making the model {wanted.model_name!r}"), suppress_existing():
                self._client.create_model(**wanted.model)
        if not self._exists("describe_endpoint_config", EndpointConfigName=wanted.config_name):
            try:
                with explained(f"Making the endpoint configuration {wanted.config_name!r}"), suppress_existing():
                    self._client.create_endpoint_config(**wanted.config)
            except InputError as error:
                raise _shorter(error, wanted) from error

    def remove(self, config: str | None, model: str | None) -> None:
        """Remove a configuration and a model, as far as they are there."""
        if config and self._exists("describe_endpoint_config", EndpointConfigName=config):
            with explained(f"Removing the endpoint configuration {config!r}"):
                self._client.delete_endpoint_config(EndpointConfigName=config)
        if model and self._exists("describe_model", ModelName=model):
            with explained(f"Removing the model {model!r}"):
                self._client.delete_model(ModelName=model)

    def forget(self, keep: Collection[str] = ()) -> list[str]:
        """Remove the service's configurations and models but those that are kept; return what was removed."""
        models = {self.model(config) for config in keep}
        removed: list[str] = []
        for name in self._ours("list_endpoint_configs", "EndpointConfig"):
            if name not in keep:
                self.remove(name, None)
                removed.append(f"endpoint configuration {name}")
        for name in self._ours("list_models", "Model"):
            if name not in models:
                self.remove(None, name)
                removed.append(f"model {name}")
        return removed

    def model(self, config: str) -> str:
        """Return the model that a configuration serves; several may serve the same one."""
        return str(self._variant(config)["ModelName"])

    def instance_type(self, config: str) -> str | None:
        """Return what a configuration runs on, None where it is serverless."""
        kind = self._variant(config).get("InstanceType")
        return str(kind) if kind else None

    def _variant(self, config: str) -> dict[str, Any]:
        with explained(f"Looking at the endpoint configuration {config!r}"):
            found = self._client.describe_endpoint_config(EndpointConfigName=config)
        return dict(found["ProductionVariants"][0])

    def _ours(self, operation: str, kind: str) -> Iterator[str]:
        tag = {"Key": SERVICE, "Value": self._service}
        with explained(f"Listing what belongs to {self._service!r}"):
            pages = list(self._client.get_paginator(operation).paginate(NameContains=prefix_of(self._endpoint)))
            for each in [each for page in pages for each in page[f"{kind}s"]]:
                name = str(each[f"{kind}Name"])
                if (
                    is_made_for(name, self._endpoint)
                    and tag in self._client.list_tags(ResourceArn=each[f"{kind}Arn"])["Tags"]
                ):
                    yield name

    def _exists(self, operation: str, **named: str) -> bool:
        try:
            with explained(f"Looking for {next(iter(named.values()))!r}"):
                getattr(self._client, operation)(**named)
        except InputError as error:
            if error_code(error) == "ValidationException" and GONE in str(error.__cause__):
                return False
            raise
        return True


@contextmanager
def suppress_existing() -> Iterator[None]:
    """Pass over that something exists: a request whose answer was lost is sent again, and then finds its own work."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if EXISTS not in str(error):
            raise


def _shorter(error: InputError, wanted: Plan) -> InputError:
    """SageMaker answers a kind of instance that it does not know with the names of all others."""
    kind = wanted.config["ProductionVariants"][0].get("InstanceType")
    if f"'{kind}' at" not in str(error):
        return error
    return InputError(f"SageMaker has no {kind} for services: name another in deployment.sagemaker.instance_type.")
