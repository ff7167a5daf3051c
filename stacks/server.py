"""Can steps that run elsewhere talk to the ZenML server?"""

import ipaddress
import os
from urllib.parse import urlsplit

from diascope.errors import InputError
from diascope.failures import in_a_line


def check_server() -> None:
    """Raise InputError where ZenML keeps its records on this machine alone, or its server does not answer."""
    from zenml.client import Client
    from zenml.exceptions import AuthorizationException

    try:
        local = Client().zen_store.is_local_store()
    except AuthorizationException as error:
        raise InputError(f"The ZenML server does not let us in ({in_a_line(error)}): `zenml login` again.") from error
    except RuntimeError as error:  # how ZenML says that it cannot connect
        raise InputError(
            f"The ZenML server does not answer ({in_a_line(error)}): start it, or choose another with `zenml login`."
        ) from error
    if local:
        raise InputError(
            "ZenML keeps its records on this machine, where steps that run elsewhere cannot reach them: connect to a "
            "server with `zenml login https://SERVER`."
        )


def check_reachable(what: str, url: str, endpoint_url: str | None = None) -> None:
    """Raise InputError where a URL is of this machine alone but is needed on AWS.

    Where AWS itself, at `endpoint_url` or AWS_ENDPOINT_URL, is a stand-in on this machine, that is good enough.
    """
    if is_loopback(url) and not is_loopback(endpoint_url or os.environ.get("AWS_ENDPOINT_URL", "")):
        raise InputError(
            f"{what} is at {url}, an address of this machine alone, which steps on AWS cannot reach: give it one that "
            "they can."
        )


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
