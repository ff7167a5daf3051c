"""With which AWS credentials does the active stack work?"""

from datetime import UTC
from typing import TYPE_CHECKING

from diascope import aws
from diascope.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import boto3

CONNECTOR_TYPE, RESOURCE_TYPE = "aws", "aws-generic"


def aws_session() -> "boto3.Session":
    """Return a session of the active stack's AWS service connector; where it has none, one of the environment.

    Raises InputError where the connector gives no credentials.
    """
    found = connector_id()
    return aws.session() if found is None else connector_session(found)


def connector_id() -> "UUID | None":
    """Return which AWS service connector the active stack has, if any."""
    from zenml.client import Client

    components = [each for found in Client().active_stack_model.components.values() for each in found]
    connectors = [component.connector for component in components if component.connector]
    return next((found.id for found in connectors if found.type == CONNECTOR_TYPE), None)


def connector_session(connector: "UUID") -> "boto3.Session":
    """Return a session of a registered service connector, whose credentials are renewed before they expire.

    Raises InputError where the connector gives none.
    """
    import boto3
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    first, expires = _connect(connector)
    if expires is None:
        return first
    renewed = get_session()
    renewed._credentials = RefreshableCredentials.create_from_metadata(
        metadata=_metadata(first, expires), refresh_using=lambda: _metadata(*_connect(connector)), method="zenml"
    )
    return boto3.Session(botocore_session=renewed, region_name=first.region_name)


def _metadata(session: "boto3.Session", expires: "datetime | None") -> dict[str, str | None]:
    """A connector's credentials as botocore takes them."""
    found = session.get_credentials()
    assert found is not None
    assert expires is not None  # only a connector whose credentials expire is asked again
    aware = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    frozen = found.get_frozen_credentials()
    return {
        "access_key": frozen.access_key,
        "secret_key": frozen.secret_key,
        "token": frozen.token,
        "expiry_time": aware.isoformat(),
    }


def _connect(connector: "UUID") -> "tuple[boto3.Session, datetime | None]":
    import boto3
    from zenml.client import Client

    client = Client()
    try:
        model = client.get_service_connector(connector, expand_secrets=False)
        region = str(model.configuration.non_secrets.get("region"))
        linked = client.get_service_connector_client(connector, resource_type=RESOURCE_TYPE, resource_id=region)
        session = linked.connect()
    except Exception as error:  # ZenML wraps whatever AWS said
        raise InputError(
            f"The AWS service connector of the stack gives no credentials ({_line(error)}): try "
            f"`zenml service-connector verify {connector}`, and `python -m stacks.aws` to register it again."
        ) from error
    assert isinstance(session, boto3.Session)
    return session, linked.expires_at


def connector_endpoint(connector: "UUID") -> str | None:
    """Return where a service connector finds S3 and ECR, where that is not at AWS's own addresses."""
    from zenml.client import Client

    model = Client().get_service_connector(connector, expand_secrets=False)
    found = model.configuration.non_secrets.get("endpoint_url")
    return str(found) if found else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]
