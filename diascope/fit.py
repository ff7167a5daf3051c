"""What is a candidate fitted to, and what does every way of fitting it give?"""

from abc import ABC, abstractmethod
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

    @abstractmethod
    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return logits of every held-out image, and the hyperparameters that do best there."""

    @abstractmethod
    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images with what was chosen."""

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
