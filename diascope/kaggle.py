"""What does Kaggle say of a dataset, and where does it give its archive?"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from diascope.downloads import ATTEMPTS, TIMEOUT, reason
from diascope.errors import InputError

if TYPE_CHECKING:
    import requests
    from kagglesdk.kaggle_client import KaggleClient

SCHEME = "kaggle:"
HANDLE = re.compile(r"kaggle:([A-Za-z0-9][\w-]*)/([A-Za-z0-9][\w.-]*)(?:/versions/([1-9]\d*))?")
BACKOFF = 1.0  # seconds before the second attempt, doubled for each further one
BUSY = (429, 500, 502, 503, 504)

R = TypeVar("R")


@dataclass(frozen=True)
class Handle:
    """A dataset on Kaggle, in a version or in its newest one."""

    owner: str
    name: str
    version: int | None

    def __str__(self) -> str:
        version = f"/versions/{self.version}" if self.version else ""
        return f"{SCHEME}{self.owner}/{self.name}{version}"


def is_kaggle(source: str) -> bool:
    """Whether the source names a dataset on Kaggle."""
    return source.startswith(SCHEME) and not source.startswith(f"{SCHEME}//")


def handle(source: str) -> Handle:
    """Return the dataset that `kaggle:OWNER/NAME` or `kaggle:OWNER/NAME/versions/N` means; raises InputError."""
    found = HANDLE.fullmatch(source)
    if found is None:
        raise InputError(
            f"{source!r} names no dataset on Kaggle: write kaggle:OWNER/NAME or kaggle:OWNER/NAME/versions/N, with "
            "owner and name as in the address of its page."
        )
    return Handle(found[1], found[2], int(found[3]) if found[3] else None)


def with_version(dataset: Handle) -> Handle:
    """Return the dataset in the version that it names, or else in the newest, for which Kaggle is asked.

    Raises InputError where Kaggle cannot be asked or does not tell.
    """
    if dataset.version is not None:
        return dataset
    from_kaggle = _ask(dataset, lambda client: client.datasets.dataset_api_client.get_dataset(_request("Get", dataset)))
    if not from_kaggle.current_version_number:
        raise InputError(f"{dataset} has no version on Kaggle that could be downloaded.")
    return Handle(dataset.owner, dataset.name, from_kaggle.current_version_number)


def archive_link(dataset: Handle) -> str:
    """Return the link, good for some hours, behind which a dataset's archive lies; raises InputError."""
    response: requests.Response = _ask(
        dataset, lambda client: client.datasets.dataset_api_client.download_dataset(_request("Download", dataset))
    )
    response.close()  # fetched by `downloads`, which counts bytes and goes on after an interrupt
    if not response.history:
        raise InputError(f"Kaggle answers otherwise than expected when asked for {dataset}: update kagglehub.")
    return response.url


def _ask(dataset: Handle, question: "Callable[[KaggleClient], R]") -> R:
    import requests

    try:
        with _client() as (client, known):
            try:
                return question(client)
            except requests.HTTPError as error:
                raise InputError(_refusal(dataset, _status(error), known)) from error
            except requests.RequestException as error:
                raise InputError(
                    f"Kaggle cannot be asked for {dataset}: {reason(error)}; check the connection, then run again."
                ) from error
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("kagglehub", "kagglesdk"):
            raise
        raise InputError(
            f"{dataset} is on Kaggle, and the package kagglehub is not installed: install the extra `kaggle` "
            "(make extras)."
        ) from error


@contextmanager
def _client() -> "Iterator[tuple[KaggleClient, bool]]":
    """Give Kaggle's own client, and whether it says who asks.

    Not the one that kagglehub makes: that prints to standard output where kagglehub is old.
    """
    from kagglehub.config import get_kaggle_credentials
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import get_env

    try:
        found = get_kaggle_credentials()
    except (ValueError, OSError) as error:
        raise InputError(f"The Kaggle credentials cannot be read: {reason(error)}.") from error
    said = {"username": found.username, "password": found.key, "api_token": found.api_key} if found else {}
    with KaggleClient(env=get_env(), user_agent="diascope", **said) as client:
        _make_impatient(client.http_client()._session)
        yield client, found is not None


def _make_impatient(session: "requests.Session") -> None:
    """Let requests end, which without this would wait for ever, and try again where the server is busy."""
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    class Impatient(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> "requests.Response":
            return super().send(*arguments, **options | {"timeout": TIMEOUT})

    retries = Retry(
        ATTEMPTS - 1,
        connect=1,
        allowed_methods=None,  # they only read, though they are POSTs
        status_forcelist=BUSY,
        backoff_factor=BACKOFF,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, Impatient(max_retries=retries))


def _request(kind: str, dataset: Handle) -> Any:
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest, ApiGetDatasetRequest

    request = ApiGetDatasetRequest() if kind == "Get" else ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.owner, dataset.name
    if isinstance(request, ApiDownloadDatasetRequest):
        request.dataset_version_number = dataset.version
    return request


def _status(error: "requests.HTTPError") -> int:
    """The status of an answer, which may stand in a body that came with 200."""
    response = error.response
    return response.status_code if response.status_code >= 400 else int(response.json()["code"])


def _refusal(dataset: Handle, status: int, known: bool) -> str:
    if status in (401, 403) and not known:
        return (
            f"Kaggle wants to know who asks for {dataset}: make an API token in the settings of your Kaggle account, "
            "and put it into KAGGLE_API_TOKEN or the file ~/.kaggle/access_token."
        )
    if status == 401:
        return (
            "Kaggle does not take your API token (KAGGLE_API_TOKEN, KAGGLE_KEY or a file in ~/.kaggle): it is wrong or "
            "has expired; make a new one."
        )
    if status == 403:
        return (
            f"Kaggle does not give you {dataset}: it is private, or wants its terms accepted on its page, or does not "
            "exist."
        )
    if status == 404:
        what = "owner, name and version" if dataset.version else "owner and name"
        return f"Kaggle has no {dataset}: check {what} against the address of its page."
    return f"Kaggle answers {status} when asked for {dataset}: try again later."
