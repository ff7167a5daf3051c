"""Does the MLflow server answer, and does it let us in?"""

from dataclasses import dataclass, field

from diascope.errors import InputError

TIMEOUT = (5, 20)  # seconds to connect, and to be answered
REMEDY = "start it, or check its address, the network and the firewall"


@dataclass(frozen=True)
class TrackingLogin:
    """How one logs in to an MLflow server."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def check_tracking(uri: str, login: TrackingLogin, *, verify: bool = True) -> None:
    """Raise InputError where the server does not answer a search for experiments as MLflow does."""
    import requests

    headers = {"Authorization": f"Bearer {login.token}"} if login.token else {}
    auth = (login.username, login.password or "") if login.username else None
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.get(
            url, params={"max_results": 1}, headers=headers, auth=auth, timeout=TIMEOUT, verify=verify
        )
    except requests.RequestException as error:
        raise InputError(f"MLflow at {uri} cannot be reached ({type(error).__name__}): {REMEDY}.") from error
    if answer.status_code in (401, 403):
        raise InputError(
            f"MLflow at {uri} does not let us in ({answer.status_code}): set DIASCOPE_AWS_TRACKING_TOKEN, or "
            "DIASCOPE_AWS_TRACKING_USERNAME and _PASSWORD, and register the stack again with `make stack-aws`."
        )
    if answer.status_code != 200 or not _is_json(answer.text):
        raise InputError(f"{uri} answers {answer.status_code}, not as an MLflow server does: {REMEDY}.")


def _is_json(text: str) -> bool:
    import json

    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
