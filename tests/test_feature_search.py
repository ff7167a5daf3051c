"""Which set of features is found, what does it cost, and how much of its score is luck?"""

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tiny import CLASSES, backbone, candidate, groups, scratch, spec, striped, write_dataset
from tiny import row as image_row

from diascope import candidates, feature_search
from diascope.candidates import TrainedCandidate, refit, train_candidate
from diascope.config import CandidateConfig, SearchConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.development import Development
from diascope.feature_grams import Grams
from diascope.feature_scoring import DECAYS, out_of_fold, ridge
from diascope.feature_search import MOST_IMAGES, drawn, search_features, try_sets
from diascope.feature_sets import FeatureSet, everything, feature_sets, layers_in_words
from diascope.features import Backbone, BackboneInfo, FeatureBlock, Features, FeatureSpec, extract_features
from diascope.heads import BlockScaling, ridge_path
from diascope.part_costs import PartCosts
from diascope.reports import candidate_page
from diascope.results import Search
from diascope.set_choice import Choice

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
    known = PartCosts(needed, {"64": 4 * 10**9, "32": 10**9}, {"64": 4.0, "32": 1.0}, images=1)
    monkeypatch.setattr(PartCosts, "of", classmethod(lambda cls, backbone: known))
    return Backbone(root)


# Sets


def test_sets_are_sizes_and_the_first_layers_and_poolings_and_all_of_them_come_first() -> None:
    sets = feature_sets(blocks(), seed=1)
    assert sets[0] == everything(blocks()) == FeatureSet(SIZES, LAYERS, POOLING)
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


def choice(sets: list[FeatureSet], cost: list[float], tolerance: float = 0.0) -> Choice:
    return Choice(sets, np.array(cost), SelectionConfig(tolerance=tolerance))


def test_an_additive_score_is_taken_as_it_is() -> None:
    sets = feature_sets(blocks(), seed=0)
    scores = np.array([0.6 + 0.01 * len(s.sizes) + 0.02 * len(s.layers) + 0.03 * len(s.pooling) for s in sets])
    np.testing.assert_allclose(choice(sets, [1] * len(sets)).smoothed(scores), scores)


def test_a_lucky_set_is_not_taken() -> None:
    sets = feature_sets(blocks(), seed=0)
    scores = np.array([0.7 + 0.02 * len(each.layers) for each in sets])
    lucky = sets.index(FeatureSet((32,), ("last",), ("avg",)))
    scores[lucky] = 0.765
    assert scores.argmax() == lucky
    (taken,) = choice(sets, [1] * len(sets)).taken(scores[:, None])
    assert sets[taken].layers == LAYERS


def test_ties_go_to_the_cheaper_and_then_to_the_better() -> None:
    sets = feature_sets(blocks(), seed=0)
    cost = [4.0 * (64 in each.sizes) + (32 in each.sizes) for each in sets]
    scores = np.array([0.8 + 0.001 * (64 in s.sizes) + 0.002 * len(s.layers) for s in sets])
    for tolerance, expected in ((0.0, 64), (0.0011, 32)):
        (taken,) = choice(sets, cost, tolerance).taken(scores[:, None])
        assert expected in sets[taken].sizes
        assert len(sets[taken].sizes) == (1 if tolerance else len(sets[taken].sizes))
        assert sets[taken].layers == LAYERS


def test_a_lower_log_loss_is_better() -> None:
    sets = feature_sets(blocks(), seed=0)
    losses = np.array([1 - 0.1 * len(each.layers) for each in sets])
    found = Choice(sets, np.ones(len(sets)), SelectionConfig(metric="log_loss", tolerance=0.01))
    assert sets[int(found.taken(losses[:, None])[0])].layers == LAYERS


def test_choosing_among_noise_is_known_to_flatter() -> None:
    sets, shown = feature_sets(blocks(), seed=0), development(120, per_group=1)
    rng = np.random.default_rng(3)
    logits = [rng.normal(size=(120, 2)) for _ in sets]
    scores = np.array([roc_auc_score(shown.labels, each[:, 1] - each[:, 0]) for each in logits])
    found = choice(sets, [1] * len(sets))
    best = scores[found.taken(scores[:, None])[0]]
    optimism = found.optimism(scores, logits, shown.labels, shown.groups, seed=0)
    assert best > 0.52
    assert best - optimism == pytest.approx(0.5, abs=0.035)


def test_what_is_the_best_by_far_owes_nothing_to_luck() -> None:
    sets, shown = feature_sets(blocks(), seed=0), development(120, per_group=1)
    rng = np.random.default_rng(3)
    logits = [
        rng.normal(size=(120, 2)) + 1.5 * (len(each.layers) - 1) * shown.labels[:, None] * [0, 1] for each in sets
    ]
    scores = np.array([roc_auc_score(shown.labels, each[:, 1] - each[:, 0]) for each in logits])
    found = choice(sets, [1] * len(sets))
    assert found.optimism(scores, logits, shown.labels, shown.groups, seed=0) < 0.02  # six are as good as each other


# The search


def test_layers_that_tell_something_are_found(imagined: Backbone) -> None:
    early = {i for i, block in enumerate(blocks()) if block.layer == "early" and block.size == 64}
    found, record = search_features(searching(), imagined, telling(early), development(), SelectionConfig(), 4)
    assert 64 in found.sizes
    assert found.layers == LAYERS
    assert record.sets[record.taken].layers == list(LAYERS)
    assert record.known == len(record.sets) == 18
    assert record.images == 120


def test_a_cheap_set_wins_where_it_is_as_good(imagined: Backbone) -> None:
    everywhere = {i for i, block in enumerate(blocks()) if block.layer == "last"}
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
    clock = itertools.count(0, 10)
    monkeypatch.setattr(feature_search.time, "perf_counter", lambda: float(next(clock)))
    told: list[tuple[int, int | None]] = []
    tried = try_sets(
        searching(minutes=0.6),
        imagined,
        telling({2}),
        development(),
        SelectionConfig(),
        4,
        0.0,
        lambda what, done, all_: told.append((done, all_)),
    )
    assert len(tried) == 5
    assert told == [(done, 18) for done in range(1, 6)]
    assert (
        len(try_sets(searching(minutes=1e-9), imagined, telling({2}), development(), SelectionConfig(), 4, -1.0)) == 1
    )


def test_of_very_many_images_whole_groups_are_drawn() -> None:
    many = development(6_000)
    rows, shown = drawn(many, seed=1)
    assert 0.9 * MOST_IMAGES < len(rows) < 1.1 * MOST_IMAGES
    assert np.bincount(shown.labels).min() > 0.45 * len(rows)
    assert not set(many.groups[np.setdiff1d(np.arange(6_000), rows)]) & set(shown.groups)
    assert shown.sample_ids == [many.sample_ids[row] for row in rows]
    few = development(90)
    assert drawn(few, seed=1)[1] is few


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
    assert costs.latency(everything_) == pytest.approx(whole.info.milliseconds, rel=0.1)
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
    assert costs.latency(range(len(two.info.blocks))) == pytest.approx(two.info.milliseconds, rel=0.4)


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
