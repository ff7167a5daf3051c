"""How long is each block of a feature vector? (in a Keras graph, with few operations however many blocks there are)

A network with 24 layers at two sizes and three poolings has 144 blocks. An operation each would cost more than the
network; neighbouring blocks of one width are therefore rows of one matrix.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

SHORTEST = 1e-6  # a standardised block that is shorter than this is all zero
NOTHING = 1e-12  # the same of a block as the network gives it: untrained ones give very small numbers


def lengths(features: "keras.KerasTensor", widths: Sequence[int], least: float = SHORTEST) -> "keras.KerasTensor":
    """Return the Euclidean length of each block (n, n_blocks) of features (n, d), at least `least`."""
    from keras import ops

    runs = _runs(widths)
    parts = _split(features, [n * width for n, width in runs])
    rows = [ops.reshape(part, (-1, n, width)) for part, (n, width) in zip(parts, runs, strict=True)]
    return ops.maximum(_joined([ops.sqrt(ops.sum(ops.square(each), axis=-1)) for each in rows]), least)


def spread(values: "keras.KerasTensor", widths: Sequence[int]) -> "keras.KerasTensor":
    """Return the value of each block (n, n_blocks) at every feature of it (n, d)."""
    from keras import ops

    runs = _runs(widths)
    parts = _split(values, [n for n, _ in runs])
    tiled = [ops.tile(ops.expand_dims(part, -1), (1, 1, width)) for part, (_, width) in zip(parts, runs, strict=True)]
    return _joined([ops.reshape(each, (-1, n * width)) for each, (n, width) in zip(tiled, runs, strict=True)])


def of_length_1(features: "keras.KerasTensor", widths: Sequence[int], least: float = SHORTEST) -> "keras.KerasTensor":
    """Return features (n, d) of which every block has length 1, or less where it is shorter than `least`."""
    return features * spread(1 / lengths(features, widths, least), widths)


def _runs(widths: Sequence[int]) -> list[tuple[int, int]]:
    """How many neighbours have which width."""
    return [(len(list(same)), width) for width, same in itertools.groupby(widths)]


def _split(values: "keras.KerasTensor", widths: Sequence[int]) -> "list[keras.KerasTensor]":
    from keras import ops

    ends = np.cumsum(widths)[:-1].tolist()
    return list(ops.split(values, ends, axis=-1)) if ends else [values]


def _joined(parts: "list[keras.KerasTensor]") -> "keras.KerasTensor":
    from keras import ops

    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
