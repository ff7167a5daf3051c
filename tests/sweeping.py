"""A candidate on drawn features whose settings are swept, for the tests and for processes that they kill."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiny import CLASSES, candidate, groups, imagined, row, scratch, write_dataset

from diascope.candidates import train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.features import FeatureSpec
from diascope.sweep import sweep_candidate
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import Seen
from diascope.sweep_results import Sweep, Trial
from diascope.trained_candidate import TrainedCandidate

SELECTION = SelectionConfig(folds=3)
SEED = 3
OVER = {
    "head": ["logistic", "ridge"],
    "weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
    "class_weights": ["none", "balanced"],
}


def config(**options: Any) -> SweepConfig:
    """A sweep over heads, where nothing else is said."""
    return SweepConfig.model_validate({"method": "random", "trials": 8, "over": OVER, **options})


@functools.cache
def images() -> Dataset:
    """60 images in groups of three, two classes, which are never looked at."""
    return write_dataset(
        scratch(), [row(f"train/{i:03}", CLASSES[i // 3 % 2], "train", b"", f"g{i // 3}") for i in range(60)]
    )


@functools.cache
def ground() -> tuple[TrainedCandidate, Seen]:
    """A candidate, compared, and what it saw."""
    labels = Development.of(images(), groups(images())).labels
    drawn = np.random.default_rng(0).normal(size=(60, 30)) + 0.7 * labels[:, None] * (np.arange(30) < 5)
    backbone, features = imagined(drawn, images())
    base = train_candidate(candidate(), backbone, images(), features, groups(images()), SELECTION, SEED, scratch())
    return base, Seen(backbone, features)


def run(
    said: SweepConfig,
    cache: Path,
    on_trial: Callable[[Trial, CandidateConfig], None] | None = None,
    selection: SelectionConfig = SELECTION,
    seed: int = SEED,
) -> tuple[TrainedCandidate, Sweep]:
    """Sweep the candidate's settings."""
    base, seen = ground()
    own = {FeatureSpec.of(base.candidate).key: seen}
    return sweep_candidate(
        said, base, own, images(), groups(images()), selection, seed, "", scratch(), None, on_trial, cache
    )
