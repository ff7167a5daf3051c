"""Datasets from a server that answers as Kaggle does: who may have what, and what comes of it when something fails."""

import builtins
import io
import json
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from local_server import ScriptedServer

from diascope import downloads, kaggle
from diascope.config import DatasetConfig
from diascope.errors import InputError
from diascope.kaggle import handle, is_kaggle
from diascope.preflight import check_inputs, local_inputs
from diascope.sources import fetch, fingerprint

kaggle_env = pytest.importorskip("kagglesdk.kaggle_env", reason="the extra `kaggle` is not installed")

SOURCE = "kaggle:owner/ct-scans"
FILES = {f"{label}/{i}.png": f"{label}{i}".encode() * 50 for label in ("yes", "no") for i in range(4)}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class Kaggle(ScriptedServer):
    """Knows versions 1 and 2 of one dataset; POST to its API, GET behind the link that the API redirects to."""

    def __init__(self) -> None:
        self.newest = 2
        self.archives = {1: zipped(FILES), 2: zipped(FILES | {"yes/new.png": b"new"})}
        self.token: str | None = None  # that it asks for
        self.status: int | None = None  # that it answers all API calls with
        self.told_in_body = False
        self.breaks: list[int | None] = []  # after how many bytes each of the next downloads stops
        self.asked: list[str] = []
        super().__init__()

    def post(self, request: BaseHTTPRequestHandler) -> None:
        asked = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.asked.append(request.path.rpartition("/")[2])
        given = request.headers.get("Authorization")
        version = asked.get("datasetVersionNumber", self.newest)
        if self.status:
            return self._refuse(request, self.status)
        if self.token and given is None:
            return self._refuse(request, 403)
        if self.token and given != f"Bearer {self.token}":
            return self._refuse(request, 401)
        if (asked["ownerSlug"], asked["datasetSlug"]) != ("owner", "ct-scans") or version not in self.archives:
            return self._refuse(request, 404)
        if self.asked[-1] == "GetDataset":
            return self._send(request, 200, json.dumps({"currentVersionNumber": self.newest}).encode())
        self._send(request, 302, b"", Location=f"{self.url}/storage/{version}?X-Goog-Signature=secret")

    def get(self, request: BaseHTTPRequestHandler) -> None:
        version = int(request.path.rpartition("/")[2].partition("?")[0])
        start, status = 0, 200
        headers = {"ETag": f'"{version}"', "Content-Type": "application/zip"}
        if wanted := request.headers.get("Range"):
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-/{len(self.archives[version])}"
        body = self.archives[version][start:]
        self._send(request, status, body, self.breaks.pop(0) if self.breaks else None, **headers)

    def _refuse(self, request: BaseHTTPRequestHandler, status: int) -> None:
        body = json.dumps({"code": status, "message": "Permission 'datasets.get' was denied"}).encode()
        self._send(request, 200 if self.told_in_body else status, body)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, stop: int | None = None, **headers: str
    ) -> None:
        request.send_response(status)
        for key, value in ({"Content-Type": "application/json"} | headers).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:stop])


@pytest.fixture(autouse=True)
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    running = Kaggle()
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, running.url)
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home" / ".kaggle"))
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "BACKOFF", 0.001)
    monkeypatch.setattr(kaggle, "BACKOFF", 0.001)
    yield running
    running.close()


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(source: str = SOURCE) -> str:
    with pytest.raises(InputError) as caught:
        fetch(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_newest_version_is_downloaded_once(served: Kaggle, tmp_path: Path) -> None:
    folder = fetch(SOURCE)
    assert content(folder) == FILES | {"yes/new.png": b"new"}
    assert folder.name.startswith("ct-scans-2-")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == [folder.name]
    assert fetch(SOURCE) == folder
    assert served.asked == ["GetDataset", "DownloadDataset", "GetDataset"]


def test_a_version_that_is_named_is_used_without_asking_again(served: Kaggle) -> None:
    folder = fetch(f"{SOURCE}/versions/1")
    assert content(folder) == FILES
    served.close()
    assert fetch(f"{SOURCE}/versions/1") == folder
    assert fingerprint(f"{SOURCE}/versions/1") != fingerprint(f"{SOURCE}/versions/2")


def test_a_new_version_is_a_new_source(served: Kaggle) -> None:
    served.newest = 1
    before, known = fetch(SOURCE), fingerprint(SOURCE)
    assert known == fingerprint(f"{SOURCE}/versions/1")
    served.newest = 2
    assert fingerprint(SOURCE) != known
    assert content(fetch(SOURCE)) != content(before)


def test_the_token_is_sent_to_kaggle(served: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    served.token = "mine"
    monkeypatch.setenv("KAGGLE_API_TOKEN", "mine")
    assert content(fetch(SOURCE))


def test_without_a_token_one_is_asked_for(served: Kaggle) -> None:
    served.token = "mine"
    assert "make an API token" in refused()
    assert "KAGGLE_API_TOKEN" in refused()


def test_a_token_that_is_not_taken(served: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    served.token = "mine"
    monkeypatch.setenv("KAGGLE_API_TOKEN", "another")
    assert "wrong or has expired" in refused()


@pytest.mark.parametrize("told_in_body", [False, True])
def test_a_private_dataset(told_in_body: bool, served: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "mine")
    served.status, served.told_in_body = 403, told_in_body
    assert "it is private" in refused()


def test_credentials_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text("{")
    assert "credentials cannot be read" in refused()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("kaggle:owner/other", "Kaggle has no kaggle:owner/other: check owner and name against"),
        (f"{SOURCE}/versions/9", f"Kaggle has no {SOURCE}/versions/9: check owner, name and version"),
        ("kaggle:owner", "names no dataset on Kaggle: write kaggle:OWNER/NAME"),
        ("kaggle:owner/ct-scans/versions/0", "names no dataset on Kaggle"),
        ("kaggle:owner/ct-scans/3", "names no dataset on Kaggle"),
    ],
)
def test_what_is_not_there_is_one_sentence(source: str, message: str, tmp_path: Path) -> None:
    assert message in refused(source)
    cache = tmp_path / "cache"
    assert not [path for path in cache.glob("*") if path.is_dir() and not path.name.endswith(".part")]


def test_busy_and_unreachable(served: Kaggle) -> None:
    served.status = 503
    assert "Kaggle answers 503" in refused()
    assert len(served.asked) == downloads.ATTEMPTS
    served.close()
    assert "the connection is refused" in refused()


def test_a_broken_download_goes_on_where_it_stopped(served: Kaggle) -> None:
    served.breaks = [None, 100, 250]  # the first answer is the API's own look at the link
    assert content(fetch(SOURCE)) == FILES | {"yes/new.png": b"new"}


def test_a_download_that_stays_broken_leaves_nothing_and_names_the_dataset(served: Kaggle, tmp_path: Path) -> None:
    served.breaks = [None, *[0] * 20]
    sentence = refused()
    assert sentence.startswith(f"{SOURCE} cannot be fetched: ")
    assert "secret" not in sentence
    assert not [path for path in (tmp_path / "cache").glob("ct-scans*") if path.suffix not in (".lock", ".part")]
    served.breaks = []
    assert content(fetch(SOURCE))


def test_an_archive_that_is_cut_short_is_refused(served: Kaggle) -> None:
    whole = served.archives[2]
    served.archives[2] = whole[: len(whole) // 2]
    assert "damaged or incomplete" in refused()
    served.archives[2] = whole
    assert content(fetch(SOURCE))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("kaggle") and "." in name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    assert "install the extra `kaggle`" in refused()


def test_names() -> None:
    assert str(handle("kaggle:a-b/c.d_e/versions/12")) == "kaggle:a-b/c.d_e/versions/12"
    assert handle("kaggle:a/b").version is None
    assert not is_kaggle("kaggle://a/b")
    assert not is_kaggle("/data/kaggle:a/b")


def test_a_wrong_name_is_found_before_anything_starts() -> None:
    from test_preflight import experiment

    with pytest.raises(InputError, match="names no dataset on Kaggle"):
        check_inputs(experiment("kaggle:owner"))
    check_inputs(experiment(SOURCE))
    assert local_inputs(experiment(SOURCE)) == {}
    assert DatasetConfig(source=SOURCE).source == SOURCE
