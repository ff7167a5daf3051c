"""Can the active stack run a pipeline? Asked before anything is built or paid for."""

from typing import TYPE_CHECKING, Any, cast

from stacks import account
from stacks.push import check_docker, check_push
from stacks.server import check_reachable, check_server
from stacks.session import aws_session, connector_endpoint, connector_session
from stacks.tracking import TrackingLogin, check_tracking

if TYPE_CHECKING:
    import boto3
    from zenml.stack import Stack

SAGEMAKER = "sagemaker"


def check_stack() -> None:
    """Raise InputError where something that the active stack names does not answer, is missing or refuses us.

    Local components are not asked; where there are none but them, this costs nothing.
    """
    from zenml.client import Client

    model = Client().active_stack_model
    flavors = {kind.value: found[0].flavor_name for kind, found in model.components.items()}
    remote = flavors["orchestrator"] == SAGEMAKER
    if remote:
        check_server()
    if set(flavors.values()) <= {"local", "default"} and "container_registry" not in flavors:
        return
    stack = Client().active_stack
    if flavors["artifact_store"] == "s3":
        check_store(stack)
    if remote:
        _check_sagemaker(stack)
    _check_tracker(stack, remote)
    if flavors["orchestrator"] != "local":
        _check_images(stack)


def check_store(stack: "Stack") -> None:
    """Raise InputError where the artifact store's bucket cannot be written to."""
    session, endpoint_url = store_session(stack)
    account.check_bucket(session, cast(Any, stack.artifact_store).config.bucket, endpoint_url=endpoint_url)


def store_session(stack: "Stack") -> "tuple[boto3.Session, str | None]":
    """Return a session with the credentials of an S3 artifact store, and its endpoint where that is not AWS's."""
    import boto3

    store = cast(Any, stack.artifact_store)
    if store.connector is not None:
        return connector_session(store.connector), connector_endpoint(store.connector)
    key, secret, token, region = store.get_credentials()
    options = store.config.client_kwargs or {}
    session = boto3.Session(
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region or options.get("region_name"),
    )
    return session, options.get("endpoint_url")


def _check_sagemaker(stack: "Stack") -> None:
    from zenml.client import Client

    session = aws_session()
    role = cast(Any, stack.orchestrator).config.execution_role
    account.check_role(session, role, account.account_of(session))
    account.check_sagemaker(session)
    check_reachable("The ZenML server", Client().zen_store.url)


def _check_tracker(stack: "Stack", remote: bool) -> None:
    tracker = cast(Any, stack.experiment_tracker)
    if tracker is None or tracker.flavor != "mlflow" or not (tracker.config.tracking_uri or "").startswith("http"):
        return
    config = tracker.config
    login = TrackingLogin(config.tracking_username, config.tracking_password, config.tracking_token)
    check_tracking(config.tracking_uri, login, verify=not config.tracking_insecure_tls)
    if remote:
        check_reachable("MLflow", config.tracking_uri)


def _check_images(stack: "Stack") -> None:
    """Steps that run elsewhere do so in an image, which is built here or there and pushed to the registry."""
    builder = stack.image_builder
    if builder is None or not builder.is_building_locally:
        return
    check_docker()
    if stack.container_registry is not None:
        check_registry(stack, cast(Any, stack.container_registry.config).default_repository or "zenml")


def check_registry(stack: "Stack", repository: str) -> None:
    """Raise InputError where the stack's registry has no such repository, or does not let us push to it."""
    registry = cast(Any, stack.container_registry)
    config, login = registry.config, registry.credentials
    if registry.flavor == "aws":
        session = aws_session()
        account.check_repository(session, repository)
        login = account.registry_login(session)
    check_push(config.uri, repository, login)
