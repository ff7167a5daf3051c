"""Which images must stay together?"""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diascope import groups
from diascope.groups import hash_groups, merge_groups, near_duplicate_groups, similarity_groups


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(((a[:, None] == a) == (b[:, None] == b)).all())


def brute_force(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """Flood fill over the full distance matrix."""
    near = np.bitwise_count(hashes[:, None] ^ hashes) <= max_distance
    components = np.full(len(hashes), -1)
    for start in range(len(hashes)):
        reached = {start} if components[start] < 0 else set()
        while reached:
            node = reached.pop()
            components[node] = start
            reached |= set(np.flatnonzero(near[node] & (components < 0)).tolist())
    return components


def perturbed(rng: np.random.Generator, n: int, n_bases: int, bits: int) -> np.ndarray:
    """Hashes around a few bases, so that distances of interest occur."""
    hashes = rng.integers(0, 2**64, n_bases, dtype=np.uint64)[rng.integers(0, n_bases, n)]
    for _ in range(bits):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64))
    return hashes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 40), st.integers(0, 9), st.integers(0, 12))
def test_near_duplicates_equal_brute_force(seed: int, n: int, n_bases: int, bits: int, max_distance: int) -> None:
    hashes = perturbed(np.random.default_rng(seed), n, n_bases, bits)
    assert same_partition(near_duplicate_groups(hashes, max_distance), brute_force(hashes, max_distance))


@pytest.mark.parametrize("distance", [0, 1, 3, 4, 7, 31, 40, 63, 64])
def test_the_distance_is_inclusive(distance: int) -> None:
    hashes = np.array([0, (1 << distance) - 1], dtype=np.uint64)
    assert near_duplicate_groups(hashes, distance).tolist() == [0, 0]
    if distance:
        assert near_duplicate_groups(hashes, distance - 1).tolist() == [0, 1]


def test_near_duplicates_form_chains_and_are_numbered_by_appearance() -> None:
    hashes = np.array([2**64 - 1, 0b0000, 0b0011, 0b1111, 2**64 - 1], dtype=np.uint64)
    assert near_duplicate_groups(hashes, 2).tolist() == [0, 1, 1, 1, 0]
    assert near_duplicate_groups(hashes[:0], 2).tolist() == []


def test_edges_are_folded_in_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = perturbed(np.random.default_rng(1), 400, 12, 2)
    expected = brute_force(hashes, 4)
    monkeypatch.setattr(groups, "EDGES_HELD", 10)
    assert same_partition(near_duplicate_groups(hashes, 4), expected)


@pytest.mark.parametrize("n_bases", [100_000, 50])
def test_a_hundred_thousand_hashes_take_seconds(n_bases: int) -> None:
    rng = np.random.default_rng(2)
    hashes = perturbed(rng, 100_000, n_bases, 8)
    hashes[-1000:] = hashes[:1000] ^ np.uint64(0b101)
    start = time.process_time()
    found = near_duplicate_groups(hashes, 4)
    assert time.process_time() - start < 30  # brute force compares five billion pairs
    assert (found[:1000] == found[-1000:]).all()


def clustered(rng: np.random.Generator, n_clusters: int, size: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat(np.arange(n_clusters), size)
    centres = rng.normal(size=(n_clusters, 64))
    return (centres[truth] + noise * rng.normal(size=(len(truth), 64))).astype(np.float32), truth


def test_similarity_finds_planted_clusters() -> None:
    features, truth = clustered(np.random.default_rng(3), 30, 6, 0.1)
    assert same_partition(similarity_groups(features, seed=0, n_groups=30), truth)


def test_similarity_looks_at_direction_not_length() -> None:
    features, truth = clustered(np.random.default_rng(4), 25, 4, 0.05)
    lengths = np.random.default_rng(5).uniform(0.1, 100, size=(len(truth), 1)).astype(np.float32)
    assert same_partition(similarity_groups(features * lengths, seed=0, n_groups=25), truth)


def test_similarity_makes_about_one_group_per_six_images_and_none_too_large() -> None:
    features, _ = clustered(np.random.default_rng(6), 1, 578, 1)  # no structure, where average linkage makes one blob
    found = similarity_groups(features, seed=0)
    assert 100 <= found.max() + 1 <= 130
    assert np.bincount(found).max() <= 58


def test_similarity_is_average_linkage() -> None:
    from sklearn.cluster import AgglomerativeClustering

    features, _ = clustered(np.random.default_rng(7), 40, 5, 0.6)
    reference = AgglomerativeClustering(n_clusters=34, metric="cosine", linkage="average").fit_predict(features)
    assert np.bincount(reference).max() < 20
    assert same_partition(similarity_groups(features, seed=0), reference)  # round(200 / 5.8) is 34


@pytest.mark.parametrize("exact_rows", [6_000, 60])
def test_equal_rows_stay_together_and_order_does_not_matter(monkeypatch: pytest.MonkeyPatch, exact_rows: int) -> None:
    monkeypatch.setattr(groups, "EXACT_ROWS", exact_rows)
    monkeypatch.setattr(groups, "BUCKET_ROWS", 50)
    rng = np.random.default_rng(8)
    features = clustered(rng, 60, 5, 0.5)[0][rng.integers(0, 300, 400)]
    found = similarity_groups(features, seed=1)
    order = rng.permutation(len(features))
    assert same_partition(similarity_groups(features[order], seed=1), found[order])
    _, equal = np.unique(features, axis=0, return_inverse=True)
    assert all(len(np.unique(found[equal == row])) == 1 for row in range(equal.max() + 1))
    assert 30 < found.max() + 1 < 120


def test_similarity_of_many_images_needs_little_time_and_keeps_twins_together() -> None:
    rng = np.random.default_rng(9)
    features, _ = clustered(rng, 3_000, 5, 0.02)
    start = time.process_time()
    found = similarity_groups(features, seed=0)
    assert time.process_time() - start < 60
    first, second = found.reshape(-1, 5)[:, 0], found.reshape(-1, 5)[:, 1]
    assert (first == second).mean() > 0.95
    assert 2_000 < found.max() + 1 < 3_500


@pytest.mark.parametrize("rows", [[], [[1, 2]], [[0, 0], [0, 0]], [[0, 0], [1, 1]]])
def test_similarity_of_next_to_nothing(rows: list[list[float]]) -> None:
    features = np.array(rows, dtype=np.float32).reshape(-1, 2)
    assert len(similarity_groups(features, seed=0)) == len(rows)


def test_identical_images_beyond_the_exact_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "EXACT_ROWS", 40)
    monkeypatch.setattr(groups, "BUCKET_ROWS", 20)
    nearly = np.ones((100, 4), dtype=np.float32) * np.linspace(1, 2, 100, dtype=np.float32)[:, None]
    assert len(similarity_groups(nearly, seed=0)) == 100  # one direction: k-means cannot part them


def test_hash_groups_keep_near_twins_together_and_are_coarser() -> None:
    hashes = perturbed(np.random.default_rng(10), 600, 80, 6)
    found, near = hash_groups(hashes, 4, seed=0), near_duplicate_groups(hashes, 4)
    assert all(len(np.unique(found[near == twins])) == 1 for twins in range(near.max() + 1))
    assert found.max() < near.max() / 2
    order = np.random.default_rng(11).permutation(600)
    assert same_partition(hash_groups(hashes[order], 4, seed=0), found[order])


def test_merging_keeps_together_what_either_keeps_together() -> None:
    a = np.array(["p1", "p1", "p2", "p3", "p4"])
    b = np.array([7, 8, 8, 9, 5])
    assert merge_groups(a, b).tolist() == [0, 0, 0, 1, 2]
    assert merge_groups(a[:0], b[:0]).tolist() == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_merging_is_the_finest_common_coarsening(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(column, dtype=int) for column in (zip(*pairs, strict=True) if pairs else ([], [])))
    merged = merge_groups(a, b)
    linked = (a[:, None] == a) | (b[:, None] == b)
    for _ in range(6):  # the transitive closure of 40 nodes
        linked = (linked.astype(int) @ linked) > 0
    assert ((merged[:, None] == merged) == linked).all()
