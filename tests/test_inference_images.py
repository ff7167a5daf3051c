"""Which files of a source are predicted, and what is read of each?"""

import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from local_server import folder_server
from test_images import dicom
from tiny import png, stripes

from diascope.config import ArchiveLimits
from diascope.errors import InputError
from diascope.images import ImageError, decode
from diascope.inference_images import Images, check_source, fingerprint, is_local, open_images

LIMITS, MOST = ArchiveLimits(), 10**6
FILES = {"b/two.png": png(stripes(1, 2)), "b/deep/er/one.png": png(stripes(0, 1)), "three.dcm": dicom(stripes(1, 3))}
NOT_DATA = {
    "b/labels.csv": b"file,label",
    "README": b"text",
    ".hidden.png": b"x",
    ".git/one.png": b"x",
    "Thumbs.db": b"x",
}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def content(images: Images) -> dict[str, bytes]:
    return {item.name: images.read(item, MOST) for item in images.items()}


def zipped(path: Path, files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_is_read_to_its_depths_without_what_is_no_data(tmp_path: Path) -> None:
    images = open_images(str(write(tmp_path / "in", FILES | NOT_DATA)), LIMITS)
    assert content(images) == FILES
    assert len(images) == 3
    assert [item.name for item in images.items()] == sorted(FILES)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_is_read_where_it_lies(tmp_path: Path, cache: Path, how: int) -> None:
    images = open_images(str(zipped(tmp_path / "in.zip", FILES | NOT_DATA, how)), LIMITS)
    assert content(images) == FILES
    assert not cache.exists()


def test_a_zip_is_read_by_many_threads_at_once(tmp_path: Path) -> None:
    files = {f"{i:03}.png": os.urandom(5000) for i in range(200)}
    images = open_images(str(zipped(tmp_path / "in.zip", files, zipfile.ZIP_STORED)), LIMITS)
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(item.name for item in images.items() if images.read(item, MOST) != files[item.name])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_damaged_file_in_a_zip_is_one_error_and_the_others_are_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", FILES, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(FILES["b/two.png"]) + 40] ^= 1
    path.write_bytes(bytes(data))
    images = open_images(str(path), LIMITS)
    found = {}
    for item in images.items():
        try:
            found[item.name] = images.read(item, MOST)
        except ImageError as error:
            assert "b/two.png is damaged in its archive" in str(error)  # noqa: PT017 (the others must not raise)
    assert found == {name: data for name, data in FILES.items() if name != "b/two.png"}


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damage_of_any_kind_is_of_its_file_alone(tmp_path: Path, how: int) -> None:
    path = zipped(tmp_path / "in.zip", {"ä.png": os.urandom(300), "good.png": b"x", "ü.png": b"y"}, how)
    data = bytearray(path.read_bytes())
    begin = data.index("ä.png".encode()) + len("ä.png".encode())
    data[begin + 20 : begin + 200] = bytes(180)
    name = data.index("ü.png".encode())
    data[name : name + 2] = b"\xff\xff"  # before the file itself; the archive's list still has it
    path.write_bytes(data)
    images = open_images(str(path), LIMITS)
    for item in images.items():
        if item.name == "good.png":
            assert images.read(item, MOST) == b"x"
        else:
            with pytest.raises(ImageError, match="is damaged in its archive"):
                images.read(item, MOST)


@pytest.mark.parametrize("members", [{"../evil.png": b"x"}, {"/evil.png": b"x"}])
def test_a_zip_with_names_that_leave_it_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="leaves its folder"):
        open_images(str(zipped(tmp_path / "in.zip", members)), LIMITS)


def test_a_cut_zip_is_one_sentence(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="damaged or incomplete archive"):
        open_images(str(path), LIMITS)


def test_a_tar_is_unpacked_into_the_cache(tmp_path: Path, cache: Path) -> None:
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert content(open_images(str(tmp_path / "in.tar.gz"), LIMITS)) == FILES
    assert cache.exists()


@pytest.mark.parametrize("name", ["scan.png", "scan.dcm", "IM000001"])
def test_a_file_that_is_no_archive_is_one_image(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: b"data", "beside.png": b"other"})
    assert content(open_images(str(tmp_path / name), LIMITS)) == {name: b"data"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("column", ["file", "path", "scan"])
def test_a_list_of_paths(tmp_path: Path, suffix: str, column: str) -> None:
    folder = write(tmp_path / "in", FILES)
    elsewhere = write(tmp_path / "elsewhere", {"a.png": b"absolute"}) / "a.png"
    table = pd.DataFrame({column: ["three.dcm", "b/two.png", str(elsewhere), "not/there.png", "three.dcm"]})
    path = folder / f"list{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    images = open_images(str(path), LIMITS)
    names = [item.name for item in images.items()]
    assert names == ["three.dcm", "b/two.png", str(elsewhere), "not/there.png"]  # as listed, each once
    read = {item.name: item for item in images.items()}
    assert images.read(read["b/two.png"], MOST) == FILES["b/two.png"]
    assert images.read(read[str(elsewhere)], MOST) == b"absolute"
    with pytest.raises(ImageError, match=r"not/there\.png cannot be read: No such file"):
        images.read(read["not/there.png"], MOST)


def test_a_list_without_paths_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'file' with the paths of images; its columns are a, b"):
        open_images(str(tmp_path / "list.csv"), LIMITS)
    (tmp_path / "list.csv").write_text("")
    with pytest.raises(InputError, match="is no table that can be read"):
        open_images(str(tmp_path / "list.csv"), LIMITS)
    (tmp_path / "list.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="is no table that can be read"):
        open_images(str(tmp_path / "list.parquet"), LIMITS)


def test_no_path_of_a_list_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('file\nNA\n"b, c.png"\n\nnull\n')
    assert [item.name for item in open_images(str(path), LIMITS).items()] == ["NA", "b, c.png", "null"]
    path.write_text("file\na, b.png\nc, d.png\n")
    with pytest.raises(InputError, match="more fields than its header: put a path with a comma in quotes"):
        open_images(str(path), LIMITS)
    (tmp_path / "a.png").write_bytes(b"x")
    path.write_text("a.png\nb.png\n")
    with pytest.raises(InputError, match=r"begins with the path 'a\.png': write a first line that says file"):
        open_images(str(path), LIMITS)


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"text", ".hidden.png": b"x"}])
def test_nothing_to_predict_is_one_sentence(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", files)
    with pytest.raises(InputError, match="There is nothing to predict in"):
        check_source(str(tmp_path / "in"))


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for missing in (str(tmp_path / "nowhere"), "x" * 5000):
        with pytest.raises(InputError, match="there is no such file or folder"):
            check_source(missing)
    nameless = tmp_path / os.fsdecode(b"caf\xe9")
    nameless.mkdir()
    with pytest.raises(InputError, match="this path is not UTF-8"):
        check_source(str(nameless))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="this is neither a file nor a folder"):
        check_source(str(tmp_path / "pipe"))
    check_source("https://127.0.0.1:9/not/asked.zip")  # before anything runs, nobody is asked


def test_what_is_no_file_or_too_large_is_an_error_of_that_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"large.png": b"x" * 9000})
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to("nowhere")
    images = open_images(str(folder), LIMITS)
    said = {}
    for item in images.items():
        with pytest.raises(ImageError) as raised:
            images.read(item, 1000)
        said[item.name] = str(raised.value)
    assert said == {
        "broken.png": "broken.png cannot be read: No such file or directory.",
        "large.png": "large.png has 9,000 bytes, more than an image may have.",
        "pipe.png": "pipe.png is no file.",
    }


@pytest.mark.parametrize("kind", ["folder", "list", "zip"])
def test_the_fingerprint_changes_with_a_file(tmp_path: Path, kind: str) -> None:
    folder = write(tmp_path / "in", FILES)
    (tmp_path / "list.csv").write_text("file\nin/three.dcm\n")

    def state() -> str:
        source = {"folder": folder, "list": tmp_path / "list.csv", "zip": tmp_path / "in.zip"}[kind]
        if kind == "zip":
            zipped(tmp_path / "in.zip", {"a.png": (folder / "three.dcm").read_bytes()})
            return open_images(str(source), LIMITS).fingerprint
        return fingerprint(str(source))

    before = state()
    assert state() == before
    (folder / "three.dcm").write_bytes(b"other")
    assert state() != before


def test_local_and_remote_are_told_apart() -> None:
    assert all(map(is_local, ("images", "/a/b.zip")))
    assert not any(map(is_local, ("s3://a/b", "https://a/b.zip", "gdrive://id", "kaggle:owner/name", "demo")))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    write(tmp_path / "served", {"scan.png": FILES["b/two.png"]})
    zipped(tmp_path / "served" / "in.zip", FILES)

    http = folder_server(tmp_path / "served")
    yield http.url
    http.close()


def test_links_to_an_archive_and_to_a_single_image(server: str) -> None:
    assert content(open_images(f"{server}/in.zip", LIMITS)) == FILES
    assert content(open_images(f"{server}/scan.png?size=full", LIMITS)) == {"scan.png": FILES["b/two.png"]}


def test_another_image_behind_a_link_is_noticed(server: str, tmp_path: Path) -> None:
    before = fingerprint(f"{server}/scan.png")
    assert fingerprint(f"{server}/scan.png") == before
    write(tmp_path / "served", {"scan.png": FILES["b/deep/er/one.png"]})
    assert fingerprint(f"{server}/scan.png") != before


@pytest.mark.parametrize("link", ["http://[", "http://[/a.png", "https://[/a.zip"])
def test_a_link_without_parts_is_one_sentence(link: str) -> None:
    for ask in (fingerprint, lambda link: open_images(link, LIMITS)):
        with pytest.raises(InputError, match="is no link that can be read"):
            ask(link)


@pytest.mark.usefixtures("in_aws")
def test_a_bucket_is_read_object_by_object(cache: Path) -> None:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="unlabelled")
    for name, data in (FILES | NOT_DATA).items():
        client.put_object(Bucket="unlabelled", Key=f"set/{name}", Body=data)
    images = open_images("s3://unlabelled/set", LIMITS)
    assert content(images) == FILES
    assert not cache.exists()
    assert content(open_images("s3://unlabelled/set/three.dcm", LIMITS)) == {"set/three.dcm": FILES["three.dcm"]}

    state = {item.name: item.state for item in images.items()}
    client.put_object(Bucket="unlabelled", Key="set/three.dcm", Body=b"other")
    assert {item.name: item.state for item in open_images("s3://unlabelled/set", LIMITS).items()} != state
    with pytest.raises(ImageError, match=r"three\.dcm changed or went away"):
        content(images)
    client.delete_object(Bucket="unlabelled", Key="set/b/two.png")
    with pytest.raises(InputError, match="There is nothing at s3://unlabelled/other"):
        open_images("s3://unlabelled/other", LIMITS)


def test_what_is_read_can_be_decoded(tmp_path: Path) -> None:
    read = content(open_images(str(write(tmp_path / "in", FILES)), LIMITS))
    assert {decode(data).size for data in read.values()} == {(48, 40)}
    assert np.asarray(decode(read["b/two.png"])).std() > 10
