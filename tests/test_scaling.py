"""Is what many images take reckoned rightly from what a few took, and can candidates run side by side?"""

from pathlib import Path

import pytest

from benchmarks import growth, scaling
from benchmarks.forecast import CONNECTIONS, Need, Rates, Sample, needs
from benchmarks.instances import COMPUTE, GENERAL, LONGEST, cheapest
from diascope.config import (
    CandidateConfig,
    ChecksConfig,
    DatasetConfig,
    EvaluationConfig,
    PromotionConfig,
    SelectionConfig,
)
from diascope.statement import Statement

PARTS = ("ingest", "features", "index", "similar", "folds", "head", "intervals")


def test_what_is_there_without_images_does_not_grow() -> None:
    rates = Rates.of(Sample(1_000, 5 + 2.0, 300 + 50), Sample(4_000, 5 + 8.0, 300 + 200))
    assert rates.cpu == pytest.approx(0.002)
    assert rates.memory == pytest.approx(50e-6)  # GB an image
    assert rates.hours(3.6e6) == pytest.approx(2)
    assert Rates.of(Sample(10, 5, 300), Sample(20, 4, 290)) == Rates(0, 0)  # noise, not a gain


def test_pairs_grow_with_the_square() -> None:
    rates = Rates.of_pairs(2e-8)
    assert rates.hours(2e6) == pytest.approx(4 * rates.hours(1e6))
    assert rates.hours(1e6) * 3600 == pytest.approx(1.5 * 2e-8 * 1e6 * 500)


def all_of(n: float, **changed: Rates) -> dict[str, Need]:
    rates = dict.fromkeys(PARTS, Rates(1e-3, 1e-6)) | {"buckets": Rates(0, 0)} | changed
    return {need.step: need for need in needs(rates, n, image_bytes=100_000)}


def test_every_step_of_the_pipeline_is_reckoned() -> None:
    reckoned = {step.split(":")[0] for step in all_of(1e6)}
    known = {path.stem for path in Path(growth.__file__).parent.parent.joinpath("steps").glob("*.py")}
    assert reckoned <= known
    assert reckoned >= {"ingest_data", "extract_features", "group_images", "train_model", "select_model"}


def test_ten_times_the_images_need_ten_times_the_work_but_for_pairs() -> None:
    few, many = all_of(1e6), all_of(1e7)
    for step, need in few.items():
        assert many[step].hours == pytest.approx(10 * need.hours)
        assert many[step].memory < 10 * need.memory
        assert many[step].all_cores is need.all_cores
    pairs = Rates(0, 0, 1e-10)
    grouped = [all_of(n, buckets=pairs, similar=Rates(0, 0))["group_images"].hours for n in (1e6, 1e7)]
    assert grouped[1] == pytest.approx(100 * grouped[0])


def test_heads_are_fitted_for_every_fold_kind_and_comparison() -> None:
    nothing = dict.fromkeys(set(PARTS) - {"head"}, Rates(0, 0))
    assert all_of(1e6, **nothing)["train_model"].hours * 3600 == pytest.approx(20 * 0.8 * 0.8e6 * 1e-3)


def test_the_cheapest_machine_that_is_large_and_fast_enough_is_taken() -> None:
    assert cheapest(1, False, 10, 12) == (GENERAL[1], 1)
    instance, hours = cheapest(160, True, 20, 12) or pytest.fail("there is one")
    assert (instance.name, hours) == ("ml.c5.4xlarge", 10)
    assert cheapest(1, False, 700, 12) is None
    assert cheapest(LONGEST + 1, False, 10, 12) is None
    slow = cheapest(96 * 100, True, 10, 12) or pytest.fail("there is one")
    assert slow[0].cores == max(each.cores for each in COMPUTE)


def test_a_step_takes_at_least_as_long_as_its_images_take_to_come() -> None:
    need = Need("extract_features", 0.01, True, 1, 1, reads=CONNECTIONS * 3600 * 2 / 1e9)
    assert (need.rented() or pytest.fail("there is one"))[1] == pytest.approx(2)


@pytest.mark.parametrize("part", ["ingest", "twins", "intervals"])
def test_parts_do_what_they_are_called(part: str, tmp_path: Path) -> None:
    options = {"side": 32} if part == "ingest" else {}
    found = growth.PARTS[part](tmp_path, 90, **options)()
    expected = {"ingest": ("bytes", 100, 2_000), "twins": ("groups", 85, 90), "intervals": ("auroc", 0.3, 0.7)}
    name, low, high = expected[part]
    assert low <= found[name] <= high
    assert set(scaling.SIZES) <= set(growth.PARTS)


@pytest.mark.usefixtures("workplace")
def test_candidates_wait_for_nothing_of_each_other_but_the_groups() -> None:
    from pipelines.training import training

    names = {"first": "MobileNetV2", "second": "ResNet50V2", "third": "compact_cnn"}
    pipeline = training.copy()
    pipeline.prepare(
        dataset=DatasetConfig(source="demo"),
        candidates=[CandidateConfig(name=name, backbone=each, weights="none") for name, each in names.items()],
        promotion=PromotionConfig(model="some"),
        checks=ChecksConfig(),
        selection=SelectionConfig(),
        evaluation=EvaluationConfig(),
        card=Statement(),
        seed=1,
    )
    before = {name: set(step.upstream_steps) for name, step in pipeline.invocations.items()}
    shared = {"ingest_data", "group_images"}
    assert before["train_second"] == {"base_model_second", "extract_features_second", *shared}
    assert before["train_third"] == {"base_model_third", *shared}
    assert before["extract_features_second"] == {"base_model_second", "ingest_data"}
    assert before["group_images"] == {"extract_features_first", "ingest_data"}
