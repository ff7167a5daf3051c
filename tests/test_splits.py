"""How are images dealt to splits and folds?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diascope.errors import InputError
from diascope.splits import feasible_folds, foldable_groups, folds, make_split

Images = tuple[np.ndarray, np.ndarray]


@st.composite
def images(draw: st.DrawFn, mixed: bool) -> Images:
    """Labels and groups; every class has at least two groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_classes, n_groups = draw(st.integers(2, 5)), draw(st.integers(4, 40))
    sizes = rng.integers(1, draw(st.integers(2, 12)), n_groups * n_classes)
    labels = np.repeat(np.arange(n_groups * n_classes) % n_classes, sizes)
    groups = np.repeat(np.arange(n_groups * n_classes), sizes)
    if mixed:  # groups of one to three classes, four or more of them for every class
        merged = rng.permutation(n_groups * n_classes) // draw(st.integers(1, 3))
        groups = np.where(groups < 4 * n_classes, groups, n_groups * n_classes + merged[groups])
    order = rng.permutation(len(labels))
    return labels[order], np.array([f"p{group}" for group in groups[order]])


@settings(max_examples=80, deadline=None)
@given(images(mixed=True), st.floats(0.05, 0.6), st.integers(0, 100))
def test_a_split_keeps_groups_whole_and_has_every_class_on_both_sides(data: Images, share: float, seed: int) -> None:
    labels, groups = data
    held = make_split(labels, groups, share, seed)
    assert not set(groups[held]) & set(groups[~held])
    assert set(labels[held]) == set(labels[~held]) == set(labels)


@settings(max_examples=40, deadline=None)
@given(images(mixed=False), st.floats(0.1, 0.5))
def test_a_split_is_stratified_within_the_size_of_a_group(data: Images, share: float) -> None:
    labels, groups = data
    held = make_split(labels, groups, share, 0)
    for label in set(labels):
        largest = max(np.unique(groups[labels == label], return_counts=True)[1])
        assert abs(held[labels == label].sum() - share * (labels == label).sum()) <= largest


@settings(max_examples=40, deadline=None)
@given(images(mixed=True), st.integers(0, 100))
def test_a_split_does_not_depend_on_the_order_of_images(data: Images, seed: int) -> None:
    labels, groups = data
    order = np.random.default_rng(seed).permutation(len(labels))
    assert (make_split(labels[order], groups[order], 0.3, seed) == make_split(labels, groups, 0.3, seed)[order]).all()


def test_a_split_without_groups_is_exact_and_depends_on_the_seed() -> None:
    labels = np.repeat(["a", "b", "c"], [500, 300, 40])
    held = make_split(labels, None, 0.2, 1)
    assert [held[labels == label].sum() for label in "abc"] == [100, 60, 8]
    assert (held == make_split(labels, None, 0.2, 1)).all()
    assert (held != make_split(labels, None, 0.2, 2)).any()
    first_half = held[:500][:250].sum()
    assert 30 < first_half < 70  # drawn from everywhere


def test_large_groups_are_held_out_as_often_as_their_size_allows() -> None:
    sizes = [40] * 5 + [1] * 200
    groups, labels = np.repeat(np.arange(205), sizes), np.arange(400) % 2
    n_large = [len(set(groups[make_split(labels, groups, 0.3, seed)]) & set(range(5))) for seed in range(30)]
    assert 0.5 < np.mean(n_large) < 2.5


@settings(max_examples=60, deadline=None)
@given(images(mixed=True), st.integers(2, 10), st.integers(0, 100))
def test_folds_are_disjoint_complete_and_fit_every_class(data: Images, n_folds: int, seed: int) -> None:
    labels, groups = data
    pairs = folds(labels, groups, n_folds, seed)
    assert 2 <= len(pairs) <= n_folds
    held = np.concatenate([held_out for _, held_out in pairs])
    assert sorted(held) == list(range(len(labels)))
    for fit, held_out in pairs:
        assert len(fit) + len(held_out) == len(labels)
        assert not set(groups[fit]) & set(groups[held_out])
        assert set(labels[fit]) == set(labels)


def test_folds_are_stratified() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 900, p=[0.6, 0.3, 0.1])
    for groups in (None, rng.integers(0, 150, 900)):
        for _, held_out in folds(labels, groups, 5, 3):
            shares = np.bincount(labels[held_out], minlength=3) / np.bincount(labels)
            assert shares == pytest.approx([0.2] * 3, abs=0.05)


def test_folds_repeat_with_the_seed() -> None:
    labels, groups = np.arange(100) % 2, np.arange(100) // 4
    first, again, other = (folds(labels, groups, 5, seed) for seed in (1, 1, 2))
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert any(len(a[1]) != len(b[1]) or (a[1] != b[1]).any() for a, b in zip(first, other, strict=True))


def test_there_are_no_more_folds_than_the_rarest_class_has_groups() -> None:
    labels = np.array([0] * 50 + [1] * 30)
    groups = np.array([*range(50), *(50 + np.arange(30) % 3)])
    assert feasible_folds(labels, groups, 5) == 3
    pairs = folds(labels, groups, 5, 0)
    assert len(pairs) == 3
    assert all((labels[held_out] == 1).any() for _, held_out in pairs)


def test_a_class_in_one_group_cannot_be_split() -> None:
    labels, groups = np.array(["yes", "yes", "no", "no"]), np.array(["p1", "p1", "p2", "p3"])
    for attempt in (lambda: folds(labels, groups, 2, 0), lambda: make_split(labels, groups, 0.5, 0)):
        with pytest.raises(InputError, match=r"'yes'.*2 images.*one group"):
            attempt()


def test_groups_that_mix_classes_too_much_are_refused() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    assert len(folds(labels, groups, 2, 0)) == 2
    labels, groups = np.array([0, 1, 1, 2, 2, 0]), np.array([0, 0, 1, 1, 2, 2])  # each pair of groups shares a class
    with pytest.raises(InputError, match="mix too many classes"):
        make_split(labels, groups, 0.5, 0)
    with pytest.raises(InputError, match="mix too many classes"):
        folds(labels, groups, 2, 0)


def test_inferred_groups_are_parted_only_where_folds_need_it() -> None:
    labels = np.array(["a"] * 100 + ["b"] * 100 + ["c"] * 4)
    coarse = np.array([*(np.arange(100) // 10), *([10] * 100), *([11] * 4)])  # b and c look all alike
    twins = np.array([*range(100), *(100 + np.arange(100) // 5), *([200] * 4)])  # c even to the last bit but two
    pixels = np.arange(204)
    with pytest.raises(InputError, match="'b' cannot be split"):
        folds(labels, coarse, 2, 0)
    groups = foldable_groups(labels, [coarse, twins, pixels], 0)
    names, same = np.unique(groups, return_inverse=True)
    assert len(names) == 10 + 20 + 4
    for start, end, wanted in ((0, 100, coarse), (100, 200, twins), (200, 204, pixels)):
        assert ((same[start:end, None] == same[start:end]) == (wanted[start:end, None] == wanted[start:end])).all()
    assert len(folds(labels, groups, 5, 0)) == 4


def test_groups_that_make_folds_are_left_as_they_are() -> None:
    labels, coarse = np.arange(40) % 2, np.arange(40) // 8
    groups = foldable_groups(labels, [coarse, np.arange(40)], 0)
    assert ((groups[:, None] == groups) == (coarse[:, None] == coarse)).all()


def test_the_next_grouping_is_taken_where_groups_mix_too_many_classes() -> None:
    labels, coarse = np.array([0, 1, 1, 2, 2, 0]), np.array([0, 0, 1, 1, 2, 2])
    assert len(set(foldable_groups(labels, [coarse, np.arange(6)], 0))) == 6
    with pytest.raises(InputError, match=r"'1' cannot be split: its one image"):
        foldable_groups(np.array([0, 0, 0, 1]), [np.zeros(4), np.arange(4)], 0)


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        make_split(np.array([]), None, 0.5, 0)


def test_split_of_many_images_is_quick() -> None:
    labels = np.random.default_rng(0).choice(4, 50_000)
    share = make_split(labels, None, 0.2, 0).mean()
    assert share == pytest.approx(0.2, abs=1e-3)
