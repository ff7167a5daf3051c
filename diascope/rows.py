"""Which images does a descent see, and how much does each of them count?"""

from dataclasses import dataclass

import numpy as np

from diascope.config import CandidateConfig
from diascope.development import Development
from diascope.weighting import weigh, weights_of


@dataclass(frozen=True)
class Rows:
    """Which images are fitted, which only decide when to stop, and how long to go on without them.

    fitted: numbers of images; one that counts twice may stand there twice. weights, stopping_weights: how much each of
    them counts; None: as its class does. epochs: how many, where they are known. reduced: the epochs after which the
    learning rate falls, likewise.
    """

    fitted: np.ndarray
    stopping: np.ndarray | None = None
    epochs: int | None = None
    reduced: tuple[int, ...] = ()
    weights: np.ndarray | None = None
    stopping_weights: np.ndarray | None = None


def weighed_rows(
    fitted: np.ndarray,
    stopping: np.ndarray | None,
    development: Development,
    config: CandidateConfig,
    seed: int,
    epochs: int | None = None,
    reduced: tuple[int, ...] = (),
) -> Rows:
    """Return the rows of a fit as a candidate's settings resample and weigh them."""
    drawn = weigh(fitted, development, config, seed)
    held = None if stopping is None else weights_of(stopping, development, config)[stopping]
    return Rows(drawn.rows, stopping, epochs, reduced, drawn.weights[drawn.rows], held)
