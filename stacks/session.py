"""With which AWS credentials does the active stack work?"""

from typing import TYPE_CHECKING

from diascope import aws
from diascope.errors import InputError

if TYPE_CHECKING:
    from uuid import UUID

    import boto3

CONNECTOR_TYPE, RESOURCE_TYPE = "aws", "aws-generic"


def aws_session() -> "boto3.Session":
    """Return a session of the active stack's AWS service connector; where it has none, one of the environment.

    The session of a connector that assumes a role expires, usually after an hour: ask anew for long work.
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
    """Return a session of a registered service connector; raises InputError where it gives none."""
    import boto3
    from zenml.client import Client

    client = Client()
    try:
        model = client.get_service_connector(connector, expand_secrets=False)
        region = str(model.configuration.non_secrets.get("region"))
        session = client.get_service_connector_client(
            connector, resource_type=RESOURCE_TYPE, resource_id=region
        ).connect()
    except Exception as error:  # ZenML wraps whatever AWS said
        raise InputError(
            f"The AWS service connector of the stack gives no credentials ({_line(error)}): try "
            f"`zenml service-connector verify {connector}`, and `python -m stacks.aws` to register it again."
        ) from error
    assert isinstance(session, boto3.Session)
    return session


def connector_endpoint(connector: "UUID") -> str | None:
    """Return where a service connector finds S3 and ECR, where that is not at AWS's own addresses."""
    from zenml.client import Client

    model = Client().get_service_connector(connector, expand_secrets=False)
    found = model.configuration.non_secrets.get("endpoint_url")
    return str(found) if found else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300]
