"""Can images be built here, and may they be pushed? Asked of the registry itself, before anything is built."""

import re
from typing import TYPE_CHECKING

from diascope.errors import InputError

if TYPE_CHECKING:
    import requests

Login = tuple[str, str]
TIMEOUT = (5, 30)  # seconds to connect, and to be answered
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
LOOPBACK = re.compile(r"^(127\.|localhost\b|\[?::1)")


def check_docker() -> None:
    """Raise InputError where no Docker engine answers to build images with."""
    from diascope.docker import find_engine

    if find_engine() is None:
        raise InputError(
            "No Docker engine answers, and the stack builds its images here: start one, or let CodeBuild build them "
            "(image_builder: codebuild)."
        )


def check_push(registry: str, repository: str, login: Login | None = None) -> None:
    """Raise InputError where the registry cannot be reached or does not let us push.

    An upload is begun and cancelled, which is the first thing that `docker push` does. Without `login` the
    credentials that Docker keeps for the registry are used, where it has any.
    """
    import requests

    host, _, path = registry.partition("/")
    name = "/".join(filter(None, (path, repository)))
    login = login or _docker_login(host)
    with requests.Session() as session:
        session.auth = login
        base = _base(session, host)
        try:
            answer = _begin(session, f"{base}/v2/{name}/blobs/uploads/", login)
            _check(answer, registry, name, login)
            if location := answer.headers.get("Location"):
                session.delete(requests.compat.urljoin(f"{base}/", location), timeout=TIMEOUT)
        except requests.RequestException as error:
            raise InputError(_unreachable(host, error)) from error


def _check(answer: "requests.Response", registry: str, name: str, login: Login | None) -> None:
    if answer.status_code == 202:
        return
    if answer.status_code in (401, 403):
        who = f"as {login[0]!r}" if login else "without a password"
        raise InputError(
            f"The registry {registry} refuses to let us push to {name} {who}: use credentials that may push "
            f"(`docker login {registry.partition('/')[0]}`, or the registry's authentication secret in ZenML)."
        )
    if answer.status_code == 404:
        raise InputError(f"The registry {registry} has no repository {name}: create it, or name another.")
    raise InputError(f"The registry {registry} does not take images: it answers {answer.status_code} to a push.")


def _begin(session: "requests.Session", url: str, login: Login | None) -> "requests.Response":
    """Begin an upload; a registry that wants a token names the place to get it from."""
    answer = session.post(url, timeout=TIMEOUT)
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != 401 or not challenge.lower().startswith("bearer"):
        return answer
    said = dict(CHALLENGE.findall(challenge))
    asked = {key: said[key] for key in ("service", "scope") if key in said}
    token = session.get(said.get("realm", ""), params=asked, auth=login, timeout=TIMEOUT)
    if token.status_code != 200:
        return answer
    found = token.json()
    session.auth = None
    session.headers["Authorization"] = f"Bearer {found.get('token') or found.get('access_token')}"
    return session.post(url, timeout=TIMEOUT)


def _base(session: "requests.Session", host: str) -> str:
    """The registry's address; like Docker's engine, registries on this machine are asked without TLS."""
    import requests

    schemes = ("http", "https") if LOOPBACK.match(host) else ("https", "http")  # the last for insecure registries
    problems = []
    for scheme in schemes:
        try:
            session.get(f"{scheme}://{host}/v2/", timeout=TIMEOUT)
        except requests.RequestException as error:
            problems.append(error)
        else:
            return f"{scheme}://{host}"
    raise InputError(_unreachable(host, problems[0])) from problems[0]


def _unreachable(host: str, error: Exception) -> str:
    return f"The registry {host} cannot be reached ({type(error).__name__}): check its address and the network."


def _docker_login(host: str) -> Login | None:
    from docker.auth import load_config
    from docker.errors import DockerException

    try:
        found = load_config().resolve_authconfig(host)
    except DockerException as error:  # a credential helper that is not installed, a file that is no JSON
        raise InputError(f"Docker's credentials for {host} cannot be read: {error}.") from error
    said = {key.lower(): value for key, value in (found or {}).items()}  # helpers say it with capitals
    return (said["username"], said["password"]) if said.get("username") else None
