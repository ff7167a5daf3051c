import math

import numpy as np
import pytest

from diascope.metrics import Estimate
from diascope.reports.features import principal_components
from diascope.reports.figures import brief, counted, estimate, figure, listed
from diascope.reports.page import breakable
from diascope.reports.plots import wilson
from diascope.reports.svg import Frame, element, nice_ticks, padded, shorten

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (Estimate(value=0.9016, low=0.87, high=0.9309), "0.902 (0.870 to 0.931)"),
        (Estimate(value=0.9), "0.900"),
        (Estimate(value=0.9, low=0.8), "0.900"),
        (Estimate(value=None), "not defined"),
        (Estimate(value=math.nan, low=0.1, high=0.2), "not defined"),
        (Estimate(value=0.5, low=math.nan, high=0.6), "0.500"),
        (Estimate(value=-0.0123, low=-0.03, high=0.01), f"{MINUS}0.012 ({MINUS}0.030 to 0.010)"),
        (Estimate(value=-0.0001, low=-0.0002, high=0.0), "0.000 (0.000 to 0.000)"),
        (None, "not defined"),
    ],
)
def test_estimate(given, shown):
    assert estimate(given) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "not defined"), (math.inf, "not defined"), (2.345, "2.3")])
def test_figure(value, shown):
    assert figure(value, 1) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (100.0, "100"),
        (3, "3"),
        (True, "yes"),
        (None, "not defined"),
        (math.nan, "not defined"),
        ([224, 288], "224, 288"),
        ([], "none"),
        ({"weight_decay": 0.1, "epochs": 12.0}, "weight decay 0.1, epochs 12"),
    ],
)
def test_brief(value, shown):
    assert brief(value) == shown


def test_words():
    assert [counted(n, "image") for n in (0, 1, 1000)] == ["0 images", "1 image", "1,000 images"]
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert breakable("large.cell<b>") == "large.<wbr>cell&lt;b&gt;"
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert shorten("abcde", 5) == "abcde"


def test_wilson_against_a_published_example():
    # Newcombe 1998, table I: 81 of 263, score method without continuity correction.
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, 0.95) == pytest.approx((0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (0.88, 0.9), (0, 1e-6), (150, 1920)])
def test_ticks_are_few_round_and_inside(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [math.nan], [-1.0, 1.0]])
def test_padded_ranges_are_never_empty(values):
    low, high = padded(values)
    assert low < high
    assert all(low <= value <= high for value in values if math.isfinite(value))


def test_frame_maps_corners():
    frame = Frame(10, 20, 100, 50, (0, 2), (-1, 1))
    assert frame.at((0, -1)) == (10, 70)
    assert frame.at((2, 1)) == (110, 20)


def test_elements_escape_text_and_attributes():
    made = element("text", "<b>&", class_='a" onload="x', stroke_width=1.25)
    assert made == '<text class="a&#34; onload=&#34;x" stroke-width="1.2">&lt;b&gt;&amp;</text>'


@pytest.mark.parametrize("shape", [(60, 8), (30, 200), (12, 1)])
def test_principal_components_are_those_of_the_singular_value_decomposition(shape):
    rng = np.random.default_rng(4)
    features = rng.normal(size=shape) * np.linspace(5, 0.1, shape[1]) + 3
    points, shares = principal_components(features.astype(np.float32))
    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = np.zeros((shape[0], 2))
    expected[:, : min(2, shape[1])] = (left * values)[:, :2]
    assert np.abs(points) == pytest.approx(np.abs(expected), abs=0.02 * np.abs(expected).max())
    assert shares == pytest.approx((expected**2).sum(axis=0) / (centred**2).sum(), rel=0.01, abs=1e-6)
    assert all(points[np.abs(points).argmax(axis=0), [0, 1]] >= 0)
