"""Is everything there that the AWS stack needs? Asked before anything is registered."""

from collections.abc import Mapping

from diascope import aws
from stacks import account
from stacks.aws.values import AwsValues
from stacks.push import check_docker, check_push
from stacks.server import check_reachable
from stacks.tracking import TrackingLogin, check_tracking


def check_values(values: AwsValues, secrets: Mapping[str, Mapping[str, str]]) -> None:
    """Raise InputError at the first thing that is missing, in the order in which a person would mend them."""
    if not values.endpoint_url:
        account.check_region(values.region)
    session = aws.session(values.region)
    owner = account.account_of(session)
    account.check_bucket(session, values.bucket, endpoint_url=values.endpoint_url)
    account.check_role(session, values.execution_role, owner)
    account.check_sagemaker(session)
    _check_images(values, secrets)
    check_tracking(values.tracking_uri, TrackingLogin(**secrets.get("mlflow", {})))
    _check_addresses(values)


def _check_images(values: AwsValues, secrets: Mapping[str, Mapping[str, str]]) -> None:
    session = aws.session(values.region)
    if values.is_ecr:
        account.check_repository(session, values.repository)
    if values.codebuild_project and values.image_builder == "codebuild":
        account.check_codebuild(session, values.codebuild_project)
        return
    check_docker()
    given = secrets.get("registry")
    login = (given["username"], given["password"]) if given else None
    check_push(values.registry, values.repository, account.registry_login(session) if values.is_ecr else login)


def _check_addresses(values: AwsValues) -> None:
    from zenml.client import Client

    for what, url in (("MLflow", values.tracking_uri), ("The ZenML server", Client().zen_store.url)):
        check_reachable(what, url, values.endpoint_url)
