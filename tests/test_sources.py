"""Every kind of source becomes a folder, or one sentence; nothing half-written is ever taken for whole."""

import errno
import hashlib
import multiprocessing
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from local_server import folder_server

from diascope import archives, demo, downloads, sources
from diascope.config import ArchiveLimits
from diascope.errors import InputError
from diascope.sources import fetch, fingerprint

FILES = {f"{label}/{number}.png": f"{label}{number}".encode() * 50 for label in ("yes", "no") for number in range(5)}


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_zip(tmp_path / "served" / "Brain MRI (1).zip")


@pytest.fixture
def url(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(downloads, "BACKOFF", 0.001)
    server = folder_server(archive.parent)
    yield f"{server.url}/Brain%20MRI%20(1).zip"
    server.close()


def test_a_local_folder_is_read_where_it_is(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "yes").mkdir()
    assert fetch(str(tmp_path)) == tmp_path
    assert not cache.exists()


@pytest.mark.parametrize("name", ["nowhere", "nowhere.zip", "/no/such/folder", "x" * 5000])
def test_a_missing_path_is_named(name: str) -> None:
    for ask in (fetch, fingerprint):
        with pytest.raises(InputError, match=f"^There is no file or folder {name!r}"):
            ask(name)


@pytest.mark.parametrize("link", ["ftp://host/x.zip", "file:///etc/passwd", "https://", "kaggle://x/y", "http://[x/"])
def test_other_links_are_refused(link: str) -> None:
    with pytest.raises(InputError, match="can be read"):
        fetch(link)


def test_a_local_archive_is_unpacked_once(archive: Path, cache: Path) -> None:
    folder = fetch(str(archive))
    assert content(folder) == FILES
    assert folder.parent == cache
    assert folder.name.startswith("Brain-MRI-1-zip-")
    (folder / "seen").touch()
    assert (fetch(str(archive)) / "seen").exists()
    assert not list(cache.glob("*.part"))


def test_a_changed_archive_is_unpacked_anew(archive: Path) -> None:
    before = fetch(str(archive))
    make_zip(archive, {"yes/new.png": b"new"})
    assert content(fetch(str(archive))) == {"yes/new.png": b"new"}
    assert content(before) == FILES


def test_checksums_of_local_archives(archive: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"Brain MRI \(1\)\.zip has the SHA-256 .* not 0000"):
        fetch(str(archive), sha256="0" * 64)
    assert archive.exists()  # it is the user's
    assert content(fetch(str(archive), sha256=hashlib.sha256(archive.read_bytes()).hexdigest())) == FILES


def test_a_checksum_without_an_archive_is_refused(tmp_path: Path) -> None:
    for source in (str(tmp_path), "demo"):
        with pytest.raises(InputError, match=r"dataset\.sha256 is that of an archive"):
            fetch(source, sha256="0" * 64)


def test_a_file_that_is_no_archive(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "scan.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"scan\.png is neither a zip nor a tar"):
        fetch(str(tmp_path / "scan.png"))
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_a_link_is_fetched_once(url: str, archive: Path, cache: Path) -> None:
    seen: list[str] = []
    assert content(fetch(url, progress=lambda what, *_: seen.append(what))) == FILES
    assert seen[0] == "downloading"
    assert seen[-1] == "extracting"
    archive.unlink()
    assert content(fetch(url)) == FILES
    assert not list(cache.rglob("archive*"))


def test_a_truncated_zip_is_one_sentence_and_fetched_anew(url: str, archive: Path, cache: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"\.zip is a damaged or incomplete archive"):
        fetch(url)
    assert not list(cache.glob("*.part"))
    archive.write_bytes(whole)
    assert content(fetch(url)) == FILES


@pytest.mark.parametrize(
    ("files", "limits", "message"),
    [
        ({"../evil.png": b"x"}, ArchiveLimits(), "leaves its folder"),
        (FILES, ArchiveLimits(entries=3), "more than 3 files"),
        (FILES, ArchiveLimits(bytes=2000), "larger than 2,000 bytes"),
    ],
)
def test_harmful_archives_leave_nothing(
    files: dict[str, bytes], limits: ArchiveLimits, message: str, url: str, archive: Path, cache: Path
) -> None:
    make_zip(archive, files)
    with pytest.raises(InputError, match=message):
        fetch(url, limits=limits)
    assert not list(cache.rglob("*.png"))
    assert not [path for path in cache.iterdir() if path.suffix not in (".lock", ".part")]


def test_an_interrupt_while_unpacking(url: str, archive: Path, cache: Path) -> None:
    def interrupt(what: str, done: int, _: int | None) -> None:
        if what == "extracting" and done > 500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(url, progress=interrupt)
    assert not [path for path in cache.iterdir() if path.suffix not in (".lock", ".part")]
    left = next(cache.glob("*.part/files"))
    (left / "yes" / "stray.png").write_bytes(b"half")
    archive.unlink()  # the download was complete: the next run does without the server
    assert content(fetch(url)) == FILES


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(
    url: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_check_size", full)
        with pytest.raises(InputError, match=r"^The disk of '.*cache' is full: .*DIASCOPE_CACHE"):
            fetch(url)
        assert not list(cache.rglob("*.png"))
    with monkeypatch.context() as patch:
        patch.setattr(demo, "write_demo", full)
        with pytest.raises(InputError, match="is full"):
            fetch("demo")
    assert content(fetch(url)) == FILES


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*cannot be read or written: (Not a directory|File exists)"):
        fetch(str(archive), cache=tmp_path / "file")


def _fetch_into(queue: "multiprocessing.Queue[tuple[str, int]]", source: str, cache: str) -> None:
    queue.put((str(fetch(source, cache=Path(cache))), os.getpid()))


def test_two_processes_at_once(archive: Path, cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    workers = [context.Process(target=_fetch_into, args=(queue, str(archive), str(cache))) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({process for _, process in answers}) == 3
    assert len({folder for folder, _ in answers}) == 1
    assert content(Path(answers[0][0])) == FILES


def test_one_waits_while_another_fetches(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract, runs, inside = archives.extract, [], threading.Event()

    def slow(*arguments: object) -> None:
        runs.append(1)
        inside.set()
        threading.Event().wait(0.3)
        extract(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archives, "extract", slow)
    first = threading.Thread(target=fetch, args=(str(archive),))
    first.start()
    inside.wait(10)
    assert content(fetch(str(archive))) == FILES
    first.join()
    assert len(runs) == 1


def test_the_demo_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch("demo")
    assert (folder / "train" / "normal").is_dir()
    monkeypatch.delattr(demo, "write_demo")
    assert fetch("demo") == folder


def test_s3_prefixes_and_archives(archive: Path, in_aws: None) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket="sources")
    for name, data in FILES.items():
        client.put_object(Bucket="sources", Key=f"set/{name}", Body=data)
    client.upload_file(str(archive), "sources", "set.zip")
    before = fingerprint("s3://sources/set")
    assert content(fetch("s3://sources/set")) == FILES
    assert content(fetch("s3://sources/set.zip")) == FILES
    with pytest.raises(InputError, match="is that of an archive"):
        fetch("s3://sources/set", sha256="0" * 64)
    client.put_object(Bucket="sources", Key="set/yes/0.png", Body=b"new")
    assert fingerprint("s3://sources/set") != before
    assert content(fetch("s3://sources/set")) == {**FILES, "yes/0.png": b"new"}


def test_a_drive_link_is_fetched(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(source: str, target: Path, **_: object) -> None:
        shutil.copy(archive, target)

    monkeypatch.setattr(downloads, "download_drive", here)
    folder = fetch("https://drive.google.com/file/d/1abc/view?usp=sharing")
    assert content(folder) == FILES
    assert folder.name.startswith("drive-")


def test_a_folders_fingerprint_is_about_names_sizes_and_times(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "yes").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / "yes" / name).write_bytes(name.encode())
        os.utime(folder / "yes" / name, (1, 1))
    seen = [fingerprint(str(folder))]
    shutil.copytree(folder, tmp_path / "moved")
    assert fingerprint(str(tmp_path / "moved")) == seen[0] == fingerprint(str(folder))
    os.utime(folder / "yes" / "a.png", (1, 2))
    seen.append(fingerprint(str(folder)))
    (folder / "yes" / "a.png").write_bytes(b"longer than before")
    os.utime(folder / "yes" / "a.png", (1, 2))
    seen.append(fingerprint(str(folder)))
    (folder / "yes" / "a.png").rename(folder / "yes" / "c.png")
    seen.append(fingerprint(str(folder)))
    (folder / "yes" / "c.png").unlink()
    seen.append(fingerprint(str(folder)))
    assert len(set(seen)) == len(seen)


def test_a_folder_that_links_to_itself_has_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dead").symlink_to("nowhere")
    assert fingerprint(str(tmp_path)) == fingerprint(str(tmp_path))


def test_other_fingerprints(archive: Path) -> None:
    before = fingerprint(str(archive))
    os.utime(archive, (1, 1))
    assert fingerprint(str(archive)) != before
    links = [("https://host/a.zip", None), ("https://host/b.zip", None), ("https://host/a.zip", "0" * 64)]
    drive = [(f"https://drive.google.com/{form}", None) for form in ("file/d/1abc/view", "uc?id=2abc")]
    seen = [fingerprint(source, sha256) for source, sha256 in [*links, *drive, ("demo", None)]]
    assert len(set(seen)) == len(seen)
    assert fingerprint("demo") == seen[-1]


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert sources.default_cache() == tmp_path / "cache"
    monkeypatch.delenv("DIASCOPE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.default_cache() == tmp_path / ".cache" / "diascope"
