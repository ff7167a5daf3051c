"""How is one image answered over HTTP?"""

import os
import time
from typing import TYPE_CHECKING, Any

from targets.target import TargetError

if TYPE_CHECKING:
    from requests import Response, Session

SECONDS = 30.0  # that one answer may take
PAUSE = 1.0
PASSING = (429, 502, 503, 504)  # a replica that is not there yet, or a queue that is full


def invoke(
    url: str, image: bytes, *, direct: bool = False, patience: float = 20.0, host: str | None = None
) -> dict[str, Any]:
    """Return the JSON of `POST /invocations` at this address; the API key is the one in DIASCOPE_API_KEY, if any.

    `direct` passes over proxies. `host` is the name that the other side shows a certificate for, where it is not yet
    that of the address. For `patience` seconds it is tried again where nobody answers, or nobody can yet.

    Raises
    ------
    TargetError: nobody answers, or not as a classifier does.
    """
    import requests

    end = time.monotonic() + patience
    with requests.Session() as session:
        session.trust_env = not direct
        if host:
            _expect(session, host)
        while True:
            try:
                response = session.post(f"{url}/invocations", data=image, headers=_headers(host), timeout=SECONDS)
            except requests.exceptions.SSLError as error:
                raise TargetError(f"{url} shows no certificate that is good for {host or url}.") from error
            except (requests.ConnectionError, requests.Timeout) as error:
                problem = f"{url} does not answer ({type(error).__name__})."
            else:
                if response.status_code == 200:
                    return _content(url, response)
                problem = f"{url} answered an image with {response.status_code}: {_said(response)}"
                if response.status_code not in PASSING:
                    raise TargetError(problem)
            if time.monotonic() > end:
                raise TargetError(problem)
            time.sleep(PAUSE)


def _expect(session: "Session", host: str) -> None:
    """Hold the certificate to another name than that of the address."""
    from requests.adapters import HTTPAdapter

    class Named(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> Any:
            return super().init_poolmanager(*arguments, server_hostname=host, assert_hostname=host, **options)

    session.mount("https://", Named())


def _headers(host: str | None) -> dict[str, str]:
    key = os.environ.get("DIASCOPE_API_KEY")
    said = {"Content-Type": "application/octet-stream"} | ({"Host": host} if host else {})
    return said | ({"X-API-Key": key} if key else {})


def _content(url: str, response: "Response") -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not {"label", "probabilities", "model"} <= answer.keys():
        raise TargetError(f"{url} is another service: it does not answer as a classifier does.")
    return answer


def _said(response: "Response") -> str:
    """The service's own sentence, or the beginning of what a proxy says."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return " ".join(response.text.split())[:200] or "nothing more."
