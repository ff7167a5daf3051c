"""How does a fit that was interrupted go on where it was?"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from diascope.results import CurvePoint
from diascope.sources import default_cache

KEPT = 14 * 24 * 3600  # seconds that what nobody took up again is kept for
ARRAYS = ("variables", "optimizer", "best")
LOG = logging.getLogger(__name__)


@dataclass
class State:
    """What the rest of a fit depends on, after some epochs."""

    epochs: int = 0  # that are behind
    variables: list[np.ndarray] = field(default_factory=list)  # of the network, those that a fit changes
    optimizer: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)  # the variables after the epoch with the least held-out loss
    curve: list[CurvePoint] = field(default_factory=list)
    best_epoch: int = 0
    reduced: list[int] = field(default_factory=list)  # epochs after which the learning rate was lowered
    finished: bool = False


class Checkpoint:
    """A file that holds the last epoch of one fit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> State | None:
        """Return the state, or None where there is none that can be read."""
        if not self.path.is_file():
            return None
        try:
            with np.load(self.path) as stored:
                known = json.loads(str(stored["state"]))
                arrays = {kind: [stored[f"{kind}_{i}"] for i in range(known.pop(kind))] for kind in ARRAYS}
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            LOG.warning("%s cannot be read (%s); this fit begins anew.", self.path, error)
            return None
        curve = [CurvePoint.model_validate(point) for point in known.pop("curve")]
        return State(**{**known, **arrays, "curve": curve})

    def write(self, state: State) -> None:
        """Put the state in the place of an earlier one; what is there is whole at any time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known: dict[str, Any] = {key: value for key, value in vars(state).items() if key not in ARRAYS}
        known["curve"] = [point.model_dump() for point in state.curve]
        known |= {kind: len(getattr(state, kind)) for kind in ARRAYS}
        arrays = {f"{kind}_{i}": array for kind in ARRAYS for i, array in enumerate(getattr(state, kind))}
        new = self.path.with_suffix(f".{os.getpid()}.part")
        with new.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(known)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


class Checkpoints:
    """The folder of a candidate's fits, named after all that determines them."""

    def __init__(self, *determined_by: Any) -> None:
        self.root = default_cache() / "fits" / digest(determined_by)

    def of(self, *fit: Any) -> Checkpoint:
        """Return the checkpoint of one of the fits, named after what it differs in."""
        return Checkpoint(self.root / f"{digest(fit)}.npz")

    def discard(self) -> None:
        """Remove them: their result is known."""
        shutil.rmtree(self.root, ignore_errors=True)


def discard_old(now: float | None = None) -> None:
    """Remove what fits left behind that were interrupted long ago and never taken up again."""
    fits = default_cache() / "fits"
    for folder in fits.iterdir() if fits.is_dir() else ():
        newest = max(path.stat().st_mtime for path in (folder, *folder.glob("*")))
        if (now or time.time()) - newest > KEPT:
            shutil.rmtree(folder, ignore_errors=True)


def digest(parts: Iterable[Any]) -> str:
    """Return a hash of arrays, texts, numbers, and lists and mappings of these."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype} {part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(json.dumps(part, sort_keys=True).encode())
        found.update(b"\0")
    return found.hexdigest()[:32]
