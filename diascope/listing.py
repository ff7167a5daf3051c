"""Which files are there, and which of them may be images?"""

import os
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from diascope.errors import InputError, quoted
from diascope.records import split_of

IGNORED = {"__macosx", "thumbs.db", "desktop.ini"}
TEXT = {".txt", ".csv", ".tsv", ".json", ".md", ".xml", ".yaml", ".yml", ".html", ".pdf", ".xlsx", ".xls", ".docx"}
TEXT |= {".rst", ".py", ".ipynb", ".log", ".rtf", ".doc", ".ini", ".toml", ".dvc", ".lock", ".parquet"}
TEXT_NAMES = {"readme", "license", "licence", "copying", "dicomdir"}
MASK_FOLDERS = {"mask", "masks", "segmentation", "segmentations", "ground_truth", "groundtruth"}
MASK_NAME = re.compile(r"^(.+?)[ _-]*(?:mask|segmentation|seg|gt)(?:[ _-]?\d+)?$", re.IGNORECASE)

Parts = tuple[str, ...]


@dataclass
class Listing:
    """Files below a folder as parts of their paths, what is no data already left out."""

    root: Path
    files: list[Parts] = field(default_factory=list)  # sorted
    empty: list[Parts] = field(default_factory=list)  # folders without anything in them
    notices: list[str] = field(default_factory=list)

    def children(self, prefix: Parts) -> list[str]:
        """Names of the folders directly below."""
        n = len(prefix)
        below = {parts[n] for parts in self.below(prefix) if len(parts) > n + 1}
        return sorted(below | {parts[n] for parts in self.empty if len(parts) > n and parts[:n] == prefix})

    def loose(self, prefix: Parts) -> list[Parts]:
        """Files directly in the folder."""
        return [parts for parts in self.below(prefix) if len(parts) == len(prefix) + 1]

    def below(self, prefix: Parts) -> list[Parts]:
        """Files anywhere below the folder."""
        if not prefix:
            return self.files
        after = (*prefix[:-1], prefix[-1] + "\0")
        return self.files[bisect_left(self.files, prefix) : bisect_left(self.files, after)]


def list_files(root: Path) -> Listing:
    """Every file below the folder but hidden ones, what systems leave behind, and obvious text."""
    listing, texts, visited = Listing(root), list[Parts](), set[str]()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_cannot_be_listed):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else sorted(name for name in folders if not _ignored(name))
        if real in visited:  # a link back up
            continue
        visited.add(real)
        here = Path(folder).relative_to(root).parts
        names = sorted(name for name in names if not _ignored(name))
        texts += [(*here, name) for name in names if _is_text(name)]
        listing.files += [(*here, name) for name in names if not _is_text(name)]
        if here and not folders and not names:
            listing.empty.append(here)
    listing.files.sort()
    if texts:
        listing.notices.append(
            f"{count_files(len(texts))} of text left out: {quoted('/'.join(parts) for parts in texts)}."
        )
    return listing


def _cannot_be_listed(error: OSError) -> None:
    raise InputError(f"the folder {str(error.filename)!r} cannot be read: {error.strerror}") from error


def is_utf8(name: str) -> bool:
    """Whether a name can be stored as text; those that a disk has need not be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.casefold() in IGNORED


def is_data(path: PurePosixPath) -> bool:
    """Whether a file is neither hidden, nor what systems leave behind, nor obvious text."""
    return not any(map(_ignored, path.parts)) and not _is_text(path.name)


def _is_text(name: str) -> bool:
    path = PurePosixPath(name.casefold())
    return path.suffix in TEXT or path.stem in TEXT_NAMES


def unwrapped(listing: Listing, prefix: Parts = ()) -> list[Parts]:
    """The way down through folders that hold nothing but one folder of folders."""
    children = listing.children(prefix)
    if len(children) != 1 or listing.loose(prefix) or split_of(children[0]):
        return [prefix]
    inner = (*prefix, children[0])
    return [prefix, *unwrapped(listing, inner)] if listing.children(inner) else [prefix]


def leave_out_masks(listing: Listing) -> None:
    """Segmentations beside the images that they were drawn on are no images of the class."""
    stems = {(*parts[:-1], PurePosixPath(parts[-1]).stem) for parts in listing.files}

    def is_mask(parts: Parts) -> bool:
        if len(parts) > 2 and any(part.casefold() in MASK_FOLDERS for part in parts[1:-1]):
            return True
        match = MASK_NAME.match(PurePosixPath(parts[-1]).stem)
        return match is not None and (*parts[:-1], match[1]) in stems

    masks = [parts for parts in listing.files if is_mask(parts)]
    if masks and len(masks) < len(listing.files):
        listing.files = [parts for parts in listing.files if not is_mask(parts)]
        names = quoted("/".join(parts) for parts in masks)
        listing.notices.append(f"{count_files(len(masks))} left out that look like segmentation masks: {names}.")


def count_files(n: int) -> str:
    """`1 file`, `2 files`."""
    return "1 file" if n == 1 else f"{n} files"
