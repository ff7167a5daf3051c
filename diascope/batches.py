"""In which order, and how strongly, do images reach gradient descent? (imports Keras: import this module late)"""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from diascope.arrays import write_rows


class Batches(keras.utils.PyDataset):
    """Rows of arrays (which may be mapped from disk) in batches, shuffled for every epoch by its number and one seed.

    Parameters
    ----------
    weights: how much each of these rows counts, (len(rows),).
    """

    def __init__(
        self,
        inputs: np.ndarray,
        labels: np.ndarray,
        rows: np.ndarray,
        weights: np.ndarray,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._inputs, self._labels, self._rows = inputs, labels, rows
        self._weights = weights.astype(np.float32)
        self._batch, self._seed = batch_size, seed
        self.start(0)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = self._order[position * self._batch : (position + 1) * self._batch]
        chosen = chosen[np.argsort(self._rows[chosen], kind="stable")]  # as they lie on the disk
        rows = self._rows[chosen]
        return self._inputs[rows], self._labels[rows], self._weights[chosen]

    def start(self, epoch: int) -> None:
        """Shuffle as for the epoch before which so many were; Keras's own `on_epoch_end` does not say which ended."""
        self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))


def store_pixels(path: Path, images: Iterable[np.ndarray], n: int, size: int) -> np.ndarray:
    """Write decoded images once, so that epochs neither decode again nor hold all images in memory."""
    write_rows(path, images, (n, size, size, 3), np.uint8)
    return np.load(path, mmap_mode="r")
