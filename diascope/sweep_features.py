"""What do trials see? Each network is built, and each kind of features extracted, once for however many trials."""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope import hub
from diascope.features import Backbone, Features, FeatureSpec, extract_features, write_backbone
from diascope.progress import Progress
from diascope.sources import storage_named
from diascope.sweep_config import SweepConfig
from diascope.sweep_space import values_of

if TYPE_CHECKING:
    from diascope.dataset import Dataset

ROOM = 8 * 1024**3  # bytes that networks and features of all sweeps may take in the cache


@dataclass(frozen=True)
class Seen:
    """A network with its poolings, and of a frozen one the features of the development images."""

    backbone: Backbone
    features: Features | None
    columns: np.ndarray | None = None  # which of the stored features are seen; None: all

    @cached_property
    def inputs(self) -> np.ndarray | None:
        """What a head is fitted to (n, d); always the same array."""
        return self._columns_of(self.features.array()) if self.features else None

    @cached_property
    def views(self) -> tuple[np.ndarray, ...]:
        """The same of each further view of the images."""
        return tuple(map(self._columns_of, self.features.views())) if self.features else ()

    def _columns_of(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(features if self.columns is None else features[:, self.columns])

    def store(self, root: Path) -> None:
        """Put all of it where a candidate has what is its own."""
        shutil.copytree(self.backbone.root, root / "backbone", copy_function=_link)
        if self.features:
            shutil.copytree(self.features.root, root / "features", copy_function=_link)
        if self.columns is not None:
            np.save(root / "columns.npy", self.columns)


class SeenFeatures:
    """Networks and features by what determines them: the pipeline's own, and those that a trial was the first to need.

    The latter lie in a folder that outlives the process, so that an interrupted sweep does not make them again. Those
    that were not used for longest are removed where all of them take more than `room` bytes.
    """

    def __init__(
        self, dataset: "Dataset", own: Mapping[str, Seen], root: Path, key: str, seed: int, room: int = ROOM
    ) -> None:
        """`own`: the pipeline's, by the key of their spec; `key`: what the images, the weights and the code are."""
        self._dataset, self._seen, self._root = dataset, dict(own), root
        self._key, self._seed, self._room = key, seed, room

    def of(self, spec: FeatureSpec, on_features: bool, progress: Progress | None = None) -> Seen:
        """Return what a candidate sees, features where it is fitted to them; raises InputError where the disk fails."""
        known = self._seen.get(spec.key)
        if known is None or (on_features and known.features is None):
            known = self._seen[spec.key] = self._made(spec, on_features, progress)
        return known

    def _made(self, spec: FeatureSpec, on_features: bool, progress: Progress | None) -> Seen:
        name = hashlib.sha256(f"{self._key}\0{spec.key}\0{self._seed}".encode()).hexdigest()[:32]
        folder = self._root / name
        with storage_named(self._root):
            backbone = Backbone(_whole(folder / "backbone", lambda to: write_backbone(spec, to, self._seed)))
            features = Features(self._extracted(folder, backbone, progress)) if on_features else None
            os.utime(folder)
            self._make_room(folder)
        return Seen(backbone, features)

    def _extracted(self, folder: Path, backbone: Backbone, progress: Progress | None) -> Path:
        splits = ("train", "validation")
        return _whole(folder / "features", lambda to: extract_features(self._dataset, backbone, splits, to, progress))

    def _make_room(self, kept: Path) -> None:
        folders = sorted(
            (path for path in self._root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
        )
        sizes = {folder: _size(folder) for folder in folders}
        for folder in folders:
            if sum(sizes.values()) > self._room and folder != kept:
                shutil.rmtree(folder, ignore_errors=True)  # another process may be faster
                self._seen = {key: seen for key, seen in self._seen.items() if folder not in seen.backbone.root.parents}
                del sizes[folder]


def files_of(config: SweepConfig) -> list[str]:
    """What of the user's the networks of a sweep are made of: files of weights, and folders with presets."""
    weights = {os.path.expanduser(path) for path in values_of(config, "weights").values()} - {"imagenet", "none"}
    folders = {hub.folder_of(name) for name in values_of(config, "backbone").values()}
    return sorted({*weights, *filter(None, folders)})


def _whole(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder that is there only when it is complete; one process at a time makes it."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            work = folder.with_name(folder.name + ".part")
            shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
            work.mkdir()
            make(work)
            work.replace(folder)
    return folder


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
