"""Is a changed byte of a packaged model noticed, and named?"""

import shutil
import subprocess
from pathlib import Path

import pytest

from diascope.checksums import CHECKSUMS, verify_checksums, write_checksums
from diascope.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metadata.json").write_text('{"threshold": 0.42}')
    (tmp_path / "model.bin").write_bytes(bytes(range(256)))
    write_checksums(tmp_path)
    return tmp_path


def test_an_unchanged_folder_passes_and_writing_again_changes_nothing(folder: Path) -> None:
    before = (folder / CHECKSUMS).read_bytes()
    verify_checksums(folder)
    write_checksums(folder)
    assert (folder / CHECKSUMS).read_bytes() == before


def test_a_threshold_that_was_changed_is_noticed(folder: Path) -> None:
    (folder / "metadata.json").write_text('{"threshold": 0.43}')
    with pytest.raises(InputError, match=r"metadata\.json is missing or was changed"):
        verify_checksums(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin is missing or was changed"):
        verify_checksums(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"one\n", b"0  ../model.bin\n", b"0  \n"])
def test_sums_that_are_none_are_refused(folder: Path, content: bytes) -> None:
    (folder / CHECKSUMS).write_bytes(content)
    with pytest.raises(InputError, match=CHECKSUMS):
        verify_checksums(folder)


def test_a_folder_without_sums_passes(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"anything")
    verify_checksums(tmp_path)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum command")
def test_the_usual_command_agrees(folder: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", CHECKSUMS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
