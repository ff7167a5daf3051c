"""What is AWS Lambda asked for?"""

import base64
import os
import re
from typing import Any

from diascope.deployment_settings import DeploymentSettings, LambdaSettings
from diascope.errors import InputError
from targets.naming import short_name
from targets.target import Service

LIVE = "live"  # alias of the version that serves
KEY = "DIASCOPE_API_KEY"
MOST = 4_500_000  # bytes of an image: a request may have 6 MB, in base64
COMPARED = ("Role", "MemorySize", "Timeout", "Environment")


def function_name(service: str, settings: LambdaSettings) -> str:
    """Return the function's name: as the settings say, else the service's, in the characters that Lambda takes."""
    return settings.function or short_name(service, 64)


def alias_of(version: int) -> str:
    """Return the alias of a model version."""
    return f"v{version}"


def version_of(alias: str) -> int | None:
    """Return the model version that an alias is for."""
    return int(alias[1:]) if re.fullmatch(r"v\d+", alias) else None


def configuration(settings: DeploymentSettings, role: str) -> dict[str, Any]:
    """Return how the function runs; raises InputError where it would be open to everybody without a key."""
    own = settings.lambda_function
    variables = dict(settings.environment)
    if own.results:
        variables["DIASCOPE_RESULTS"] = own.results
    if own.auth == "NONE" and not variables.get(KEY):
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise InputError(
                f"deployment.lambda_function.auth is NONE, so that everybody may call the function: set {KEY} in the "
                "environment, the key that callers then have to send, or say AWS_IAM."
            )
        variables[KEY] = key
    return {
        "Role": role,
        "MemorySize": own.memory,
        "Timeout": own.event_timeout,
        "Environment": {"Variables": variables},
    }


def same(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Return whether a function's configuration, as Lambda tells it, is as wanted."""
    told = {**found, "Environment": {"Variables": found.get("Environment", {}).get("Variables", {})}}
    return all(told.get(key) == wanted[key] for key in COMPARED)


def described(service: Service) -> str:
    """Return what people read with a function and its versions."""
    return f"{service.model} version {service.version}. Research use only, not a medical device."[:256]


def event(method: str, path: str, key: str | None, body: bytes | None = None) -> dict[str, Any]:
    """Return a request as a function URL hands it over (payload format 2.0)."""
    headers = {"content-type": "application/octet-stream"} | ({"x-api-key": key} if key else {})
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": base64.b64encode(body or b"").decode(),
        "isBase64Encoded": True,
    }
