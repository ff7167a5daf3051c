"""Is every file of a folder as it was packaged? (`SHA256SUMS`, as `sha256sum --check` reads it)"""

from pathlib import Path

from diascope.classifier import sha256
from diascope.errors import InputError

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write the sums of all files in a flat folder beside them."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def verify_checksums(folder: Path) -> None:
    """Hold every file against its sum; a folder without sums passes.

    Raises
    ------
    InputError: a file is missing or was changed, or the sums cannot be read.
    """
    sums = folder / CHECKSUMS
    if not sums.is_file():
        return
    for line in sums.read_bytes().decode(errors="replace").splitlines():
        expected, separator, name = line.partition("  ")
        if not separator or not name or Path(name).name != name:
            raise InputError(f"{sums} was changed: it holds a line that is no checksum; store the model anew.")
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise InputError(f"{folder / name} is missing or was changed after the model was stored.")
