"""Which trials has a sweep made already? Kept beside the downloads, so that an interrupted one goes on."""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from diascope.comparison import Comparison
from diascope.results import CurvePoint
from diascope.sweep_results import Trial

ARRAYS = ("rows", "logits", "distances")
# Of which other versions may give other pixels, folds or numbers.
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pillow", "tensorflow", "keras", "keras-hub", "openvino", "optuna")


class Journal:
    """A folder with `trials.jsonl`, one finished trial a line, and `NUMBER.npz` with its out-of-fold logits.

    A line is there only when its logits are. What a killed process has left half-written does not count.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._lines = root / "trials.jsonl"
        self.trials = self._read()

    def add(self, trial: Trial, comparison: Comparison | None = None) -> None:
        """Keep a finished trial; one that failed has no comparison."""
        if comparison is not None:
            target = self._file(trial.number)
            partial = target.with_suffix(f".{os.getpid()}.partial")
            known = vars(comparison) | {"curve": [point.model_dump() for point in comparison.curve]}
            words = json.dumps({name: value for name, value in known.items() if name not in ARRAYS})
            with partial.open("wb") as file:
                np.savez(file, words=words, **{name: known[name] for name in ARRAYS})
            partial.replace(target)
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(trial.model_dump_json() + "\n")
        self.trials[trial.number] = trial

    def comparison(self, number: int) -> Comparison:
        """What came of a trial that did not fail."""
        with np.load(self._file(number)) as stored:
            known = json.loads(str(stored["words"])) | {name: stored[name] for name in ARRAYS}
        return Comparison(**known | {"curve": [CurvePoint.model_validate(point) for point in known["curve"]]})

    def logits(self, number: int) -> np.ndarray:
        """Out-of-fold logits (m, n_classes) of a trial that did not fail."""
        with np.load(self._file(number)) as stored:
            return stored["logits"]

    def _file(self, number: int) -> Path:
        return self.root / f"{number:05}.npz"

    def _read(self) -> dict[int, Trial]:
        """The trials up to the first line that is damaged; what follows is cut off."""
        content = self._lines.read_bytes() if self._lines.exists() else b""
        found: dict[int, Trial] = {}
        end = 0
        for line in content.splitlines(keepends=True):
            trial = self._parsed(line)
            if trial is None:
                break
            found[trial.number] = trial
            end += len(line)
        if end < len(content):
            os.truncate(self._lines, end)
        return found

    def _parsed(self, line: bytes) -> Trial | None:
        try:
            trial = Trial.model_validate_json(line) if line.endswith(b"\n") else None
        except ValidationError:
            return None
        there = trial is None or trial.failed or self._file(trial.number).is_file()
        return trial if there else None


def key_of(facts: Mapping[str, Any]) -> str:
    """A hash of everything that the trials depend on: the given facts, this library's code, and what it stands on."""
    known = dict(facts) | {"code": code_digest(), "libraries": {name: _version(name) for name in LIBRARIES}}
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def code_digest() -> str:
    """A hash of this library's source; its pages do not count."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
