"""Are blocks brought to length 1 as NumPy would, in few operations?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from diascope.block_lengths import NOTHING, SHORTEST, lengths, of_length_1, spread


def graph(function: Any, widths: Sequence[int], n_inputs: int, **options: float) -> Any:
    import keras

    given = keras.Input((n_inputs,))
    return keras.Model(given, function(given, widths, **options))


@pytest.mark.parametrize("widths", [[4], [3, 2, 2], [2, 2, 2], [1, 5, 5, 2, 5]])
def test_blocks_are_those_of_the_widths(widths: list[int]) -> None:
    x = np.random.default_rng(1).normal(size=(3, sum(widths))).astype(np.float32)
    blocks = np.split(x, np.cumsum(widths)[:-1], axis=1)
    norms = np.stack([np.linalg.norm(block, axis=1) for block in blocks], axis=1)
    np.testing.assert_allclose(graph(lengths, widths, x.shape[1])(x), norms, rtol=1e-5)
    ones = np.hstack([block / norms[:, [place]] for place, block in enumerate(blocks)])
    np.testing.assert_allclose(graph(of_length_1, widths, x.shape[1])(x), ones, rtol=1e-5)
    np.testing.assert_array_equal(graph(spread, widths, len(widths))(norms), np.repeat(norms, widths, axis=1))


def test_what_has_no_length_stays_zero_and_what_is_short_counts_if_it_should() -> None:
    x = np.array([[0, 0, 3e-9, 4e-9]], np.float32)
    np.testing.assert_allclose(graph(of_length_1, [2, 2], 4, least=NOTHING)(x), [[0, 0, 0.6, 0.8]], rtol=1e-5)
    np.testing.assert_allclose(graph(of_length_1, [2, 2], 4)(x), x / SHORTEST, rtol=1e-5)


def test_many_blocks_of_one_width_take_no_more_operations_than_two() -> None:
    few, many = (len(graph(of_length_1, [3] * n, 3 * n).operations) for n in (2, 100))
    assert few == many
