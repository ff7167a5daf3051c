"""Archives of strangers: what is whole comes out whole, what is not or means harm is refused in one sentence."""

import io
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from diascope.archives import entry_path, extract
from diascope.config import ArchiveLimits
from diascope.errors import InputError

RANDOM = random.Random(0)
FILES = {"yes/a.png": b"first", "yes/b.png": RANDOM.randbytes(300_000), "no/ü c.png": b"", "no/deep/d.png": b"d" * 9000}
LIMITS = ArchiveLimits()


def make_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes] = FILES, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_tar_gz(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return make_tar(path, files, "w:gz")


def make_tar_xz(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return make_tar(path, files, "w:xz")


def make_tar_bz2(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return make_tar(path, files, "w:bz2")


MAKERS = [make_zip, make_tar, make_tar_gz, make_tar_bz2, make_tar_xz]
Maker = Callable[..., Path]


def unpack(archive: Path, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    target = archive.parent / "out" / "target"
    target.mkdir(parents=True)
    extract(archive, target, limits, "set.zip")
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def refused(archive: Path, message: str, limits: ArchiveLimits = LIMITS) -> None:
    with pytest.raises(InputError, match=message) as caught:
        unpack(archive, limits)
    sentence = str(caught.value)
    assert sentence.startswith("set.zip ")
    assert "\n" not in sentence
    outside = [path for path in archive.parent.rglob("*") if path.is_file() and "target" not in path.parts]
    assert outside == [archive]


@pytest.mark.parametrize("make", MAKERS)
def test_everything_comes_out_as_it_was(make: Maker, tmp_path: Path) -> None:
    assert unpack(make(tmp_path / "archive")) == FILES


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_what_operating_systems_add_is_left_out(make: Maker, tmp_path: Path) -> None:
    junk = ["__MACOSX/yes/._a.png", "yes/.DS_Store", "yes/Thumbs.db", "._x"]
    assert unpack(make(tmp_path / "a", {"yes/a.png": b"1", **dict.fromkeys(junk, b"junk")})) == {"yes/a.png": b"1"}


def test_empty_folders_are_kept_and_backslashes_separate(tmp_path: Path) -> None:
    assert unpack(make_zip(tmp_path / "a", {"yes/": b"", "no\\a.png": b"1"})) == {"no/a.png": b"1"}
    assert (tmp_path / "out" / "target" / "yes").is_dir()


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../evil.png", "yes/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png", "C:/evil.png"]
)
def test_no_entry_leaves_the_target(make: Maker, name: str, tmp_path: Path) -> None:
    refused(make(tmp_path / "a", {"yes/a.png": b"1", name: b"evil"}), "leaves its folder")


def test_a_nul_in_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="leaves its folder"):
        entry_path("a\0.png", "x")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo("yes/link")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    refused(tmp_path / "a", "a link or device")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("yes/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(link, "/etc")
    refused(tmp_path / "a", "a link or device")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_archive_is_never_taken_for_whole(make: Maker, share: float, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole").read_bytes()
    (tmp_path / "whole").unlink()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "cut", "damaged or incomplete|neither a zip nor a tar")


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_tar_cut_between_two_files_is_not_a_short_one(blocks: int, tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "a", {"yes/a.png": b"1", "yes/b.png": b"2"}).read_bytes()
    (tmp_path / "a").write_bytes(whole[: 512 * blocks])  # header, content, header
    refused(tmp_path / "a", "damaged or incomplete")


@pytest.mark.parametrize("make", [make_zip, make_tar_gz])
def test_a_damaged_byte_is_noticed(make: Maker, tmp_path: Path) -> None:
    data = bytearray(make(tmp_path / "a").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a").write_bytes(bytes(data))
    refused(tmp_path / "a", "damaged or incomplete")


def test_damaged_names_and_offsets_are_damage(tmp_path: Path) -> None:
    for damage in (damaged_name, damaged_offset):
        (tmp_path / damage.__name__).mkdir()
        with pytest.raises(InputError, match=r"set\.zip is a damaged or incomplete archive"):
            unpack(damage(make_zip(tmp_path / damage.__name__ / "a")))


def damaged_name(archive: Path) -> Path:
    """A zip, one of whose names is no longer UTF-8 where the member itself has it."""
    data = archive.read_bytes()
    archive.write_bytes(data.replace("ü".encode(), b"\xff\xff", 1))
    return archive


def damaged_offset(archive: Path) -> Path:
    """A zip whose list says that its members lie somewhere else."""
    data = bytearray(archive.read_bytes())
    end = data.rindex(b"PK\5\6")
    data[end + 16 : end + 20] = (int.from_bytes(data[end + 16 : end + 20], "little") + 10_000).to_bytes(4, "little")
    archive.write_bytes(data)
    return archive


def test_a_gzip_checksum_at_the_very_end_is_checked(tmp_path: Path) -> None:
    data = bytearray(make_tar_gz(tmp_path / "a").read_bytes())
    data[-8] ^= 0xFF
    (tmp_path / "a").write_bytes(bytes(data))
    refused(tmp_path / "a", "damaged or incomplete")


def test_a_password_is_named(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a", {"a.png": b"1"}).read_bytes())
    data[6] |= 1  # flags of the local header and of the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a").write_bytes(bytes(data))
    refused(tmp_path / "a", "protected by a password")


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a", {"a.png": b"1"}).read_bytes())
    data[8] = 99
    data[data.index(b"PK\1\2") + 10] = 99
    (tmp_path / "a").write_bytes(bytes(data))
    refused(tmp_path / "a", "compressed in a way that cannot be read")


@pytest.mark.parametrize("make", [make_zip, make_tar_gz])
def test_a_bomb_is_stopped_by_its_ratio(make: Maker, tmp_path: Path) -> None:
    refused(make(tmp_path / "a", {"a.png": bytes(30_000_000)}), "more than 200 times its size")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.png")) < 12_000_000


def test_the_ratio_is_counted_over_all_files(tmp_path: Path) -> None:
    many = {f"{i}.png": bytes(1_000_000) for i in range(9)}
    refused(make_zip(tmp_path / "a", many), "more than 20 times", ArchiveLimits(ratio=20))


def test_sizes_are_counted_and_not_believed(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a", {"a.png": bytes(30_000_000)}).read_bytes())
    for start in (22, data.index(b"PK\1\2") + 24):  # uncompressed size, in both headers
        data[start : start + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a").write_bytes(bytes(data))
    refused(tmp_path / "a", "damaged|more than 200 times")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_entries_and_bytes_are_bounded(make: Maker, tmp_path: Path) -> None:
    archive = make(tmp_path / "a", {f"{i}.png": RANDOM.randbytes(1000) for i in range(20)})
    refused(archive, "more than 19 files", ArchiveLimits(entries=19))
    shutil.rmtree(tmp_path / "out")
    refused(archive, "beyond 19,999 bytes", ArchiveLimits(bytes=19_999))


def test_a_bound_that_is_just_kept(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {f"{i}.png": RANDOM.randbytes(1000) for i in range(20)})
    assert len(unpack(archive, ArchiveLimits(entries=20, bytes=20_000))) == 20


def test_a_tar_header_cannot_fill_the_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 10**12
    (tmp_path / "a").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    refused(tmp_path / "a", "damaged or incomplete")


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a", {"yes": b"1", "yes/a.png": b"2"}), "a file and a folder of the same name")


@pytest.mark.parametrize("data", [b"", b"name,label\n", b"\x89PNG\r\n\x1a\n" + bytes(600)])
def test_other_files_are_no_archives(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    refused(tmp_path / "a", "neither a zip nor a tar archive")


def test_a_web_page_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\n<!DOCTYPE html><html>Sign in</html>")
    refused(tmp_path / "a", "a web page: give the link of the file itself")


@pytest.mark.parametrize("make", [make_zip, make_tar, make_tar_gz])
def test_an_archive_without_files_is_refused(make: Maker, tmp_path: Path) -> None:
    refused(make(tmp_path / "a", {}), "holds no files")


def test_progress_counts_unpacked_bytes(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    (tmp_path / "target").mkdir()
    archive = make_zip(tmp_path / "a")
    extract(archive, tmp_path / "target", LIMITS, "a", lambda *state: seen.append(state))
    assert seen[-1] == ("extracting", sum(map(len, FILES.values())), None)
