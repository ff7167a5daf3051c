"""Which set of features is found, what does it cost, and how much of its score is luck?"""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tiny import CLASSES, backbone, candidate, groups, scratch, spec, striped, write_dataset
from tiny import row as image_row

from diascope import candidates, feature_search
from diascope.candidates import compare, frozen_fit, refit, train_candidate
from diascope.config import CandidateConfig, SearchConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.feature_grams import Grams
from diascope.feature_scoring import DECAYS, out_of_fold, ridge
from diascope.feature_search import MOST_IMAGES, drawn, search_features
from diascope.feature_sets import FeatureSet, everything, feature_sets, layers_in_words
from diascope.features import Backbone, BackboneInfo, FeatureBlock, Features, FeatureSpec, extract_features
from diascope.heads import BlockScaling, ridge_path
from diascope.part_costs import PartCosts
from diascope.reports import candidate_page
from diascope.results import Search
from diascope.set_choice import Choice
from diascope.trained_candidate import TrainedCandidate

SIZES, LAYERS, POOLING = (64, 32), ("last", "middle", "early"), ("avg", "max")
WIDTH = 6
SEED = 5  # with which the networks of `tiny` are drawn


def blocks(sizes: tuple[int, ...] = SIZES) -> list[FeatureBlock]:
    """Blocks of equal width, in the order in which networks have them."""
    parts = itertools.product(sizes, LAYERS, POOLING)
    return [
        FeatureBlock(size=size, layer=layer, pooling=pooling, start=i * WIDTH, stop=(i + 1) * WIDTH)
        for i, (size, layer, pooling) in enumerate(parts)
    ]


def development(n: int = 120, per_group: int = 3) -> Development:
    groups = np.arange(n) // per_group
    return Development(
        sample_ids=[f"{i}" for i in range(n)],
        labels=groups % 2,
        groups=groups.astype(str),
        validation=np.arange(n) >= 0.8 * n,
        class_names=CLASSES,
    )


def telling(where: set[int], n: int = 120, seed: int = 0, distance: float = 1.2) -> np.ndarray:
    """Features (n, d) of which only the blocks at these places tell the classes apart."""
    labels = development(n).labels
    x = np.random.default_rng(seed).normal(size=(n, WIDTH * len(blocks()))).astype(np.float32)
    for place in where:
        x[:, place * WIDTH : (place + 1) * WIDTH] += distance * labels[:, None] * (np.arange(WIDTH) < 2)
    return x


def searching(**budget: Any) -> CandidateConfig:
    return candidate(
        image_sizes=list(SIZES), layers=list(LAYERS), pooling=list(POOLING), search={"minutes": 5, **budget}
    )


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone whose network is not there: the larger images cost four times as much, and layers nothing."""
    root = scratch()
    described = spec(image_sizes=list(SIZES), layers=list(LAYERS), pooling=list(POOLING))
    info = BackboneInfo(spec=described, blocks=blocks(), parameters=1, precision="f32", milliseconds=5, megabytes=1)
    (root / "backbone.json").write_text(info.model_dump_json())
    needed = [frozenset({f"{block.size}"}) for block in blocks()]
    known = PartCosts(needed, {"64": 4 * 10**9, "32": 10**9}, {"64": 4.0, "32": 1.0}, together=0, images=1)
    monkeypatch.setattr(PartCosts, "of", classmethod(lambda cls, backbone: known))
    return Backbone(root)


# Sets


def test_sets_are_sizes_and_the_first_layers_and_poolings() -> None:
    sets = feature_sets(blocks(), seed=1)
    assert sets[0] == everything(blocks()) == FeatureSet(SIZES, LAYERS, POOLING)
    assert sets[:3] == [FeatureSet(SIZES, LAYERS[:depth], POOLING) for depth in (3, 2, 1)]
    assert len(sets) == len(set(sets)) == 3 * 3 * 2
    assert {each.sizes for each in sets} == {(64, 32), (64,), (32,)}
    assert {each.layers for each in sets} == {("last",), ("last", "middle"), LAYERS}
    assert {each.pooling for each in sets} == {("avg",), POOLING}
    assert feature_sets(blocks(), seed=1) == sets
    assert feature_sets(blocks(), seed=2) != sets


def test_a_set_knows_its_blocks_and_columns() -> None:
    some = FeatureSet((32,), ("last", "middle"), ("avg",))
    found = [blocks()[place] for place in some.places(blocks())]
    assert [(b.size, b.layer, b.pooling) for b in found] == [(32, "last", "avg"), (32, "middle", "avg")]
    assert some.columns(blocks()).tolist() == [*range(36, 42), *range(48, 54)]
    assert everything(blocks()).columns(blocks()).tolist() == list(range(72))


def test_many_layers_are_named_by_their_ends() -> None:
    assert layers_in_words(["last", "b"]) == "last, b"
    assert layers_in_words([f"l{i}" for i in range(12)]) == "12 layers from l0 to l11"


# Scores


def test_grams_are_the_inner_products_of_scaled_blocks() -> None:
    x = telling({0, 7})
    for each in feature_sets(blocks(), seed=0):
        places = each.places(blocks())
        scaled = BlockScaling.of(x[:, each.columns(blocks())], [WIDTH] * len(places))(x[:, each.columns(blocks())])
        expected = scaled @ scaled.T / len(places)
        np.testing.assert_allclose(Grams(x, blocks(), [each]).of(each), expected, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_in_the_dual_is_ridge_regression(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    z, others, labels = rng.normal(size=(40, 60)), rng.normal(size=(15, 60)), rng.integers(0, 3, 40)
    weights = rng.uniform(0.2, 3, 40) if weighted else np.ones(40)
    expected = ridge_path(z, labels, 3, weights / weights.sum(), list(DECAYS), 0)
    found = ridge(z @ z.T, others @ z.T, 10 * np.eye(3)[labels], weights)
    for decay, answers in zip(DECAYS, found, strict=True):
        w, b = expected[decay]
        np.testing.assert_allclose(answers, others @ w + b, atol=1e-6)


def test_what_only_a_twin_could_know_is_not_rewarded() -> None:
    shown, rng = development(), np.random.default_rng(1)
    x = rng.normal(size=(40, 30)).repeat(3, axis=0) + 0.01 * rng.normal(size=(120, 30))
    pairs = shown.folds(SelectionConfig(folds=4), 3)
    logits = out_of_fold(x @ x.T, shown, pairs, searching(), 3).logits
    assert roc_auc_score(shown.labels[np.concatenate([held for _, held in pairs])], logits[:, 1]) < 0.7


# The choice


SETS = feature_sets(blocks(), seed=0)
MANY = development(600, per_group=1)


def logits_of(strength: dict[FeatureSet, float], shown: Development, otherwise: float = 0.5) -> list[np.ndarray]:
    """Logits of each set that tell the classes apart as strongly; what one set sees, the others see in part."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=len(shown.labels))
    found = []
    for each in SETS:
        signal = strength.get(each, otherwise) * (shown.labels - 0.5)
        z = signal + 0.9 * common + 0.3 * rng.normal(size=len(signal))
        found.append(np.stack([-z, z], axis=1))
    return found


def choice(
    strength: dict[FeatureSet, float], shown: Development = MANY, cost: dict[int, float] | None = None, **rule: Any
) -> Choice:
    costs = [sum((cost or {64: 4, 32: 1})[size] for size in each.sizes) for each in SETS]
    selected = SelectionConfig(**rule)
    return Choice(
        SETS, logits_of(strength, shown), np.array(costs, np.float64), shown.labels, shown.groups, selected, 0
    )


def whole(depth: int) -> FeatureSet:
    return FeatureSet(SIZES, LAYERS[:depth], POOLING)


def test_the_best_number_of_layers_is_taken() -> None:
    for depth in (1, 2, 3):
        found = choice({whole(depth): 1.0})
        assert SETS[found.by_layers] == SETS[found.taken] == whole(depth)


def test_a_set_that_seems_better_is_not_taken_and_one_that_surely_is_better_is() -> None:
    other = FeatureSet((64,), ("last",), ("avg",))
    few = development(60, per_group=1)
    seems = choice({whole(2): 1.0, other: 1.2}, few)
    assert seems.scores[SETS.index(other)] > seems.scores[seems.by_layers]
    assert SETS[seems.taken] == whole(2)
    surely = choice({whole(2): 1.0, other: 1.6})
    assert SETS[surely.by_layers] == whole(2)
    assert SETS[surely.taken] == other
    assert surely.least_gain(surely.by_layers)[SETS.index(other)] > 0


def test_a_cheaper_set_is_taken_where_it_is_surely_as_good() -> None:
    cheap, dear = FeatureSet((32,), LAYERS, ("avg",)), FeatureSet((64,), LAYERS, ("avg",))
    equal = {whole(3): 1.2, cheap: 1.2, dear: 1.2}
    assert SETS[choice(equal, tolerance=0.05).taken] == cheap
    assert SETS[choice(equal, development(60, per_group=1), tolerance=0.005).taken] == whole(3)
    assert SETS[choice(equal, tolerance=0.05, cost={64: 1, 32: 9}).taken] == dear
    assert SETS[choice({**equal, cheap: 0.8}, tolerance=0.05).taken] == dear


def test_a_lower_log_loss_is_better() -> None:
    other = FeatureSet((64,), ("last",), ("avg",))
    found = choice({whole(2): 1.0, other: 2.0}, metric="log_loss", tolerance=0.01)
    assert found.scores[SETS.index(other)] == found.scores.min()
    assert SETS[found.taken] == other


def test_choosing_among_noise_is_known_to_flatter() -> None:
    shown, rng = development(120, per_group=1), np.random.default_rng(2)
    logits = [rng.normal(size=(120, 2)) for _ in SETS]
    found = Choice(SETS, logits, np.ones(len(SETS)), shown.labels, shown.groups, SelectionConfig(), 0)
    best = found.scores[found.by_layers]
    assert best > 0.5
    assert best - found.optimism == pytest.approx(0.5, abs=0.04)
    assert choice({whole(2): 3.0}).optimism == 0


def test_of_a_set_that_is_taken_instead_the_least_gain_alone_is_believed() -> None:
    other, cheap = FeatureSet((64,), ("last",), ("avg",)), FeatureSet((32,), LAYERS, ("avg",))
    layers = choice({whole(2): 1.0})
    for found in (choice({whole(2): 1.0, other: 1.6}), choice({whole(2): 1.0, cheap: 1.0}, tolerance=0.05)):
        assert found.taken != found.by_layers == layers.by_layers
        best, least = found.by_layers, found.least_gain(found.by_layers)[found.taken]
        believed = layers.scores[best] - layers.optimism + least
        assert found.scores[found.taken] - found.optimism == pytest.approx(believed)
        assert found.optimism > layers.optimism + 0.01


def test_groups_that_cannot_be_drawn_apart_leave_the_choice_to_the_layers() -> None:
    shown = development(6, per_group=3)
    found = choice({whole(3): 2.0}, shown)
    assert SETS[found.taken] == SETS[found.by_layers]
    assert np.isfinite(found.optimism)


# The search


def test_layers_that_tell_something_are_found(imagined: Backbone) -> None:
    for depth, layer in enumerate(LAYERS, start=1):
        where = {i for i, block in enumerate(blocks()) if block.layer == layer}
        found, record = search_features(searching(), imagined, telling(where), development(), SelectionConfig(), 4)
        assert found.layers == LAYERS[:depth]
        assert record.sets[record.taken].layers == list(LAYERS[:depth])
        assert record.known == len(record.sets) == 18
        assert record.images == 120


def test_a_cheap_set_wins_where_it_is_as_good(imagined: Backbone) -> None:
    everywhere = set(range(len(blocks())))
    chosen = SelectionConfig(tolerance=0.02)
    found, record = search_features(searching(), imagined, telling(everywhere, distance=4), development(), chosen, 4)
    assert found.sizes == (32,)
    taken = record.sets[record.taken]
    assert (taken.gigamacs, taken.milliseconds) == (1, 1)
    assert {each.gigamacs for each in record.sets} == {1, 4, 5}
    assert taken.features == WIDTH * len(found.layers) * len(found.pooling)


def test_the_same_number_of_sets_gives_the_same_answer(imagined: Backbone) -> None:
    one, other = (
        search_features(searching(sets=7), imagined, telling({2}), development(), SelectionConfig(), 4)
        for _ in range(2)
    )
    assert one[0] == other[0]
    assert len(one[1].sets) == 7
    assert one[1].model_copy(update={"seconds": 0.0}) == other[1].model_copy(update={"seconds": 0.0})


def test_the_minutes_end_the_search_after_one_set_at_least(imagined: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int | None]] = []

    def tried(minutes: float) -> int:
        clock = itertools.count(0, 10)
        monkeypatch.setattr(feature_search.time, "perf_counter", lambda: float(next(clock)))
        given = imagined, telling({2}), development(), SelectionConfig(), 4
        found = search_features(searching(minutes=minutes), *given, lambda what, done, all_: told.append((done, all_)))
        return len(found[1].sets)

    assert tried(0.6) == 4
    assert told == [(done, 18) for done in range(1, 5)]
    assert tried(1e-9) == 1


def test_of_very_many_images_whole_groups_are_drawn() -> None:
    many = development(6_000)
    rows, shown = drawn(many, SelectionConfig(), seed=1)
    assert 0.9 * MOST_IMAGES < len(rows) < 1.1 * MOST_IMAGES
    assert np.bincount(shown.labels).min() > 0.45 * len(rows)
    assert not set(many.groups[np.setdiff1d(np.arange(6_000), rows)]) & set(shown.groups)
    assert shown.sample_ids == [many.sample_ids[row] for row in rows]
    few = development(90)
    assert drawn(few, SelectionConfig(), seed=1)[1] is few


@pytest.mark.parametrize("seed", range(3))
def test_of_a_rare_class_as_many_groups_are_drawn_as_folds_need(seed: int) -> None:
    many = development(6_000, per_group=10)
    rare = replace(many, labels=np.where(np.arange(6_000) < 70, 1, 0))  # seven patients
    _, shown = drawn(rare, SelectionConfig(), seed)
    assert len(set(shown.groups[shown.labels == 1])) >= 5
    assert len(shown.folds(SelectionConfig(), seed)) == 5
    rarer = replace(many, labels=np.where(np.arange(6_000) < 30, 1, 0))
    _, shown = drawn(rarer, SelectionConfig(), seed)
    assert len(shown.folds(SelectionConfig(), seed)) == 3
    late = replace(rarer, validation=np.arange(6_000) % 6_000 < 900)
    _, shown = drawn(late, SelectionConfig(method="validation"), seed)
    assert (shown.labels[shown.validation] == 1).any()


def test_the_validation_split_scores_sets_where_it_compares_candidates(imagined: Backbone) -> None:
    chosen = SelectionConfig(method="validation")
    x, shown = telling({0, 1}), development()
    _, record = search_features(searching(), imagined, x, shown, chosen, 4)
    x[~shown.validation] = np.random.default_rng(0).normal(size=x[~shown.validation].shape)
    _, blind = search_features(searching(), imagined, x, shown, chosen, 4)
    assert record.sets[0].score > 0.8 > blind.sets[0].score


# Costs, of a network that is there


RICH = spec(image_sizes=[96, 64], layers=["last", "re_lu_1"], pooling=["avg", "max"], feature_norm="l2")


def test_a_part_costs_what_a_network_of_that_part_costs() -> None:
    whole = backbone(RICH)
    costs, found = PartCosts.of(whole), whole.info.blocks
    everything_ = list(range(len(found)))
    assert costs.gigamacs(everything_) == pytest.approx(whole.info.gigamacs)
    assert costs.latency(everything_) == pytest.approx(whole.info.milliseconds)
    for sizes, layers in (([96], ["last"]), ([64], ["last", "re_lu_1"]), ([96, 64], ["re_lu_1"])):
        part = FeatureSet(tuple(sizes), tuple(layers), ("avg",)).places(found)
        alone = backbone(RICH.model_copy(update={"image_sizes": sizes, "layers": layers, "pooling": ["avg"]}))
        assert costs.gigamacs(part) == pytest.approx(alone.info.gigamacs)
        assert 0 < costs.latency(part) < whole.info.milliseconds


def test_further_views_cost_as_much_each() -> None:
    plain = RICH.model_copy(update={"image_sizes": [64]})
    one, two = (backbone(plain.model_copy(update={"views": views})) for views in ([], ["horizontal_flip"]))
    costs = PartCosts.of(two)
    assert costs.gigamacs([0]) == pytest.approx(2 * PartCosts.of(one).gigamacs([0]))
    measured = [PartCosts.of(two).latency(range(len(two.info.blocks))) for _ in range(3)]
    assert sorted(measured)[1] == pytest.approx(two.info.milliseconds, rel=0.4)


# From images to the final fit


@pytest.fixture(scope="module")
def seen() -> tuple[CandidateConfig, Backbone, Features]:
    config = candidate(
        image_sizes=[64, 32],
        layers=["last", "block_16_expand_relu", "block_15_expand_relu"],
        pooling=["avg", "std"],
        search={"sets": 6, "minutes": 5},
    )
    known = backbone(FeatureSpec.of(config))
    return config, known, extract_features(striped(), known, ("train", "validation"), scratch())


def trained(
    seen: tuple[CandidateConfig, Backbone, Features], found: FeatureSet | None = None, dataset: Dataset | None = None
) -> TrainedCandidate:
    config, known, stored = seen
    images = dataset or striped()
    with pytest.MonkeyPatch.context() as patch:
        if found:
            search = candidates.search_features
            patch.setattr(candidates, "search_features", lambda *given: (found, search(*given)[1]))
        chosen = SelectionConfig(folds=3)
        return train_candidate(config, known, images, stored, groups(images), chosen, SEED, scratch())


def poisoned() -> Dataset:
    """The same images, but whoever opens one of the test split fails."""
    index = striped().index()
    rows = [
        image_row(name, label, split, b"poison" if split == "test" else striped().read([name])[name], group)
        for name, label, split, group in index[["sample_id", "label", "split", "group"]].itertuples(index=False)
    ]
    return write_dataset(scratch(), rows)


@pytest.mark.parametrize("sizes", [(64,), (32,)], ids=["largest images", "smaller images alone"])
def test_the_network_is_cut_down_to_what_was_found(
    seen: tuple[CandidateConfig, Backbone, Features], sizes: tuple[int, ...]
) -> None:
    _, known, stored = seen
    found = FeatureSet(sizes, everything(known.info.blocks).layers[:2], ("avg",))
    made = trained(seen, found, poisoned())
    own = made.backbone(known)
    assert own.info.size == sizes[0]
    assert own.info.gigamacs < known.info.gigamacs
    assert made.result.gigamacs == own.info.gigamacs
    assert [(b.size, b.layer, b.pooling) for b in own.info.blocks] == [(sizes[0], x, "avg") for x in found.layers]
    assert made.candidate.search is None
    assert made.candidate.layers == list(found.layers)
    assert FeatureSpec.of(made.candidate) == own.info.spec
    inputs = made.inputs(stored)
    assert inputs is not None
    assert inputs.shape == (34, own.info.dimension)
    if sizes == (64,):
        np.testing.assert_array_equal(inputs, stored.array()[:, found.columns(known.info.blocks)])
    anew = extract_features(striped(), own, ("train", "validation"), scratch()).array()
    np.testing.assert_allclose(inputs, anew, atol=2e-3)
    alone = frozen_fit(made.candidate, own, inputs, Development.of(striped(), groups(striped())), SEED)
    compared, _ = compare(alone, SelectionConfig(folds=3))
    np.testing.assert_array_equal(made.out_of_fold()[1], compared.logits)  # of the very features that are fitted again
    network, head = refit(made, known, striped(), stored, groups(striped()), SEED)
    assert network.outputs[0].shape == (None, own.info.dimension)
    assert head.logits(inputs).shape == (34, 2)


def test_where_everything_is_best_nothing_is_built_again(seen: tuple[CandidateConfig, Backbone, Features]) -> None:
    config, known, stored = seen
    made = trained(seen, everything(known.info.blocks))
    assert sorted(path.name for path in made.root.iterdir()) == ["out_of_fold.npz", "result.json"]
    assert made.candidate == config.model_copy(update={"search": None})
    np.testing.assert_array_equal(made.inputs(stored), stored.array())


def test_a_searched_candidate_is_compared_without_what_the_choice_adds(
    seen: tuple[CandidateConfig, Backbone, Features],
) -> None:
    result = trained(seen).result
    assert result.search is not None
    assert result.trials == len(result.search.sets) == 6
    assert result.corrected == pytest.approx(result.scores["auroc"] - result.search.optimism)
    assert Search.model_validate_json(result.search.model_dump_json()) == result.search
    page = candidate_page(result)
    assert "Search for features" in page
    assert page.count('scope="row">') > 6
    taken = result.search.sets[result.search.taken]
    assert f"{taken.milliseconds:.1f}" in page
    assert page.count(">taken<") == 1


# What is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"search": {"minutes": 0}, "layers": ["auto"]}, "greater than 0"),
        ({"search": {"sets": 0}, "layers": ["auto"]}, "greater than or equal to 1"),
        ({"search": {}, "image_sizes": [64], "layers": ["last"]}, r"say layers: \[auto\]"),
        ({"search": {}, "layers": ["auto"], "fine_tune_layers": 3}, "features of a frozen network"),
        ({"layers": ["auto", "last"]}, "`auto` stands alone"),
    ],
)
def test_a_search_that_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        candidate(**settings)


def test_a_search_has_a_budget_by_default() -> None:
    assert SearchConfig().minutes == 1
    assert candidate().search is None
