"""What is a candidate fitted to, and what does every way of fitting it give?"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import Comparison
from diascope.config import CandidateConfig
from diascope.development import Development, Fold
from diascope.features import Backbone
from diascope.heads import Head

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Fit(ABC):
    """One candidate on one set of development images."""

    candidate: CandidateConfig
    backbone: Backbone
    inputs: np.ndarray  # features (n, d), or pixels (n, size, size, 3) of networks that are trained
    development: Development
    seed: int
    metric: str = "auroc"  # by which the better of two ways is kept
    fingerprint: str = ""  # of the dataset
    views: tuple[np.ndarray, ...] = ()  # features of further views of the images, each as `inputs`

    @abstractmethod
    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return logits of every held-out image, and the hyperparameters that do best there."""

    @abstractmethod
    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images with what was chosen."""

    def mean_over_views(self, logits: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Return what a function of features answers to some rows, averaged over the image and its further views."""
        parts = [logits(features[rows]) for features in (self.inputs, *self.views)]
        return np.mean(parts, axis=0) if self.views else parts[0]

    @property
    def labels(self) -> np.ndarray:
        """Classes of all development images (n,)."""
        return self.development.labels

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.development.class_names)

    @property
    def widths(self) -> list[int]:
        """How many features each block has."""
        return [block.stop - block.start for block in self.backbone.info.blocks]
