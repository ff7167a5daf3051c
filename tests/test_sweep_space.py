"""Which settings may be tried, and is each of them as likely as it should be?"""

import json

import numpy as np
import pytest

from diascope.config import CandidateConfig
from diascope.sweep_config import SweepConfig
from diascope.sweep_samplers import make_sampler
from diascope.sweep_space import Axis, grid, grid_size, relevant, swept_name, with_settings

BASE = CandidateConfig(name="first", backbone="MobileNetV2", alpha=0.35)


def config(**options: object) -> SweepConfig:
    return SweepConfig.model_validate({"trials": 10, **options})


def test_a_grid_is_every_combination_once() -> None:
    said = config(
        method="grid",
        over={
            "head": ["ridge", "mlp"],
            "epochs": {"low": 10, "high": 30, "step": 10},
            "dropout": {"low": 0.1, "high": 0.3, "step": 0.1},
        },
    )
    points = grid(said)
    assert len(points) == grid_size(said) == 18
    assert len({json.dumps(point) for point in points}) == 18
    assert {point["dropout"] for point in points} == {0.1, 0.2, 0.3}
    assert all(type(point["epochs"]) is int for point in points)
    sampler = make_sampler(said, 5)
    suggested = [sampler.suggest(i, 0) for i in range(19)]
    assert suggested[18] is None
    assert sorted(map(json.dumps, suggested[:18])) == sorted(map(json.dumps, points))
    assert suggested[:18] != points  # in random order


def test_whole_numbers_have_every_value_between_their_ends() -> None:
    axis = Axis.of("batch_size", {"low": 4, "high": 6})
    assert axis.points() == [4, 5, 6]
    drawn = [axis.draw(np.random.default_rng(i)) for i in range(300)]
    assert {value: drawn.count(value) > 60 for value in set(drawn)} == {4: True, 5: True, 6: True}


@pytest.mark.parametrize(("log", "median"), [(True, 1e-3), (False, 0.5)])
def test_numbers_are_drawn_evenly_by_difference_or_by_factor(log: bool, median: float) -> None:
    axis = Axis.of("weight_decay", {"low": 1e-6, "high": 1.0, "log": log})
    drawn = [axis.draw(np.random.default_rng(i)) for i in range(2000)]
    assert min(drawn) >= 1e-6
    assert max(drawn) <= 1
    assert np.median(drawn) == pytest.approx(median, rel=0.3)


def test_whole_numbers_may_be_drawn_by_factor() -> None:
    axis = Axis.of("hidden_units", {"low": 1, "high": 1024, "log": True})
    drawn = [axis.draw(np.random.default_rng(i)) for i in range(2000)]
    assert all(isinstance(value, int) and 1 <= value <= 1024 for value in drawn)
    assert 20 < np.median(drawn) < 50
    assert {1, 2, 3} < set(drawn)


def test_settings_make_another_candidate() -> None:
    settings = {"weight_decay": 0.1, "preparation.denoise": "median", "network": {"backbone": "VGG16", "alpha": None}}
    made = with_settings(BASE, settings)
    assert (made.name, made.weight_decay, made.preparation.denoise) == ("first_swept", 0.1, "median")
    assert (made.backbone, made.alpha) == ("VGG16", None)
    assert BASE.preparation.denoise == "none"
    assert with_settings(BASE, {}).model_copy(update={"name": "first"}) == BASE


def test_a_long_name_is_cut() -> None:
    assert len(swept_name("a" * 40)) == 40
    assert swept_name("a" * 40).endswith("_swept")


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"learning_rate": 0.5}, True),
        ({"hidden_units": 5, "batch_size": 7, "dropout": 0.5}, True),
        ({"weight_decay": 0.5}, False),
        ({"epochs": 5}, False),
        ({"image_sizes": [64]}, False),
        ({"head": "mlp"}, False),
        ({"class_weights": "balanced"}, False),
    ],
)
def test_what_a_fit_does_not_read_makes_no_other_candidate(settings: dict[str, object], same: bool) -> None:
    assert (relevant(with_settings(BASE, settings)) == relevant(BASE)) is same


def test_what_a_hidden_layer_or_a_network_reads_counts() -> None:
    hidden = with_settings(BASE, {"head": "mlp"})
    assert relevant(with_settings(hidden, {"hidden_units": 5})) != relevant(hidden)
    tuned = with_settings(BASE, {"fine_tune_layers": 5})
    assert relevant(with_settings(tuned, {"augmentation.zoom": 0.1})) != relevant(tuned)
    assert relevant(with_settings(tuned, {"head": "ridge"})) != relevant(tuned)  # of the frozen features it may keep
    assert relevant(with_settings(tuned, {"dropout": 0.5})) == relevant(tuned)
    ridge = with_settings(BASE, {"head": "ridge"})
    assert relevant(with_settings(ridge, {"epochs": 5})) == relevant(ridge)


def distance(settings: dict[str, float]) -> float:
    """How far settings are from the best ones."""
    return (
        abs(np.log10(settings["weight_decay"]) + 4) + (settings["head"] != "ridge") + abs(settings["epochs"] - 40) / 40
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_parzen_estimator_learns_where_it_is_good(seed: int) -> None:
    over = {
        "weight_decay": {"low": 1e-8, "high": 1.0, "log": True},
        "head": ["blend", "ridge", "logistic"],
        "epochs": {"low": 1, "high": 200},
        "image_sizes": [[224], [448]],
    }
    found = {}
    for method in ("random", "tpe"):
        sampler = make_sampler(config(method=method, over=over), seed)
        scores = []
        for number in range(60):
            settings = sampler.suggest(number, 0)
            assert settings is not None
            scores.append(distance(settings))
            sampler.tell(settings, scores[-1] if number != 3 else None)  # one fails
        found[method] = float(np.mean(scores[20:]))
    assert found["tpe"] < 0.6 * found["random"]
