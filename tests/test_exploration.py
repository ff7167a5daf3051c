"""What do the images look like, which are twins, and what does the page say of it?"""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import CLASSES, groups, imagined, png, row, scratch, striped, write_dataset

from diascope import exploration as explored
from diascope.dataset import Dataset
from diascope.exploration import choose, explore, look_at
from diascope.groups import near_pairs
from diascope.reports import exploration_page
from diascope.reports.exploration_plots import ratios, spread
from diascope.twins import find_twins


def flat(value: int, size: tuple[int, int] = (20, 30)) -> bytes:
    return png(np.full(size, value, np.uint8))


def dataset(images: Sequence[tuple[str, str, bytes]]) -> Dataset:
    """Images as (label, split, encoded)."""
    rows = [row(f"{split}/{label}/{i:02}.png", label, split, data) for i, (label, split, data) in enumerate(images)]
    return write_dataset(scratch(), rows)


def looked_at(some: Dataset) -> explored.Exploration:
    return explore(some, groups(some), None, seed=1)


# What is kept of an image


def test_grey_values_are_those_of_the_whole_image_and_the_small_one_is_its_average() -> None:
    pixels = np.zeros((192, 192), np.uint8)
    pixels[:, 96:] = 200
    look = look_at(Image.fromarray(pixels).convert("RGB"))
    assert look.histogram[[0, 200]].tolist() == [0.5, 0.5]
    assert look.histogram.sum() == pytest.approx(1)
    assert look.small[:, :40].max() == 0
    assert look.small[:, 60:].min() == 200


def test_means_deviations_and_histograms_are_by_class_and_without_the_test_split() -> None:
    images = [("dark", "train", flat(10)), ("dark", "validation", flat(30)), ("dark", "test", flat(255))]
    images += [("light", "train", flat(200)), ("light", "train", flat(200)), ("light", "test", flat(0))]
    found = looked_at(dataset(images))
    assert (
        found.means.reshape(2, -1).min(axis=1).tolist() == found.means.reshape(2, -1).max(axis=1).tolist() == [20, 200]
    )
    np.testing.assert_allclose(found.deviations.reshape(2, -1).max(axis=1), [10, 0], atol=1e-6)
    assert found.histograms[0, [10, 30]].tolist() == [0.5, 0.5]
    assert found.histograms[1, 200] == 1
    assert found.n_development == 4
    assert found.looked["mean"].tolist() == [10, 30, 200, 200]
    assert found.looked["black"].tolist() == [0, 0, 0, 0]


def test_of_many_images_some_of_every_class_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explored, "MAX_IMAGES", 6)
    rng = np.random.default_rng(0)
    rows = [
        row(
            f"{i:03}.png",
            "rare" if i % 20 == 0 else "usual",
            "train",
            png(rng.integers(0, 255, (9, 9)).astype(np.uint8)),
        )
        for i in range(60)
    ]
    found = looked_at(write_dataset(scratch(), rows))
    assert found.looked["label"].value_counts().to_dict() == {"rare": 3, "usual": 3}
    assert found.n_development == 60
    assert found.looked["sample_id"].is_monotonic_increasing


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    index = striped().index()
    shuffled = index.sample(frac=1, random_state=3)
    assert set(choose(index, 10)["sample_id"]) == set(choose(shuffled, 10)["sample_id"])
    assert choose(index, 10)["label"].value_counts().tolist() == [5, 5]


def test_an_image_that_was_ingested_is_not_too_large_to_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explored.decode, "__kwdefaults__", {"name": "image", "max_pixels": 100})
    found = looked_at(dataset([("a", "train", flat(10)), ("b", "train", flat(20))]))
    assert found.looked["mean"].tolist() == [10, 20]


# What no anatomy tells


def test_brightness_that_gives_the_class_away_is_found_out() -> None:
    rng = np.random.default_rng(0)

    def some(shift: int) -> list[tuple[str, str, bytes]]:
        return [(f"{name}", "train", flat(int(rng.integers(60, 90)) + place * shift)) for place, name in
                enumerate(CLASSES) for _ in range(30)]  # fmt: skip

    telling, hiding = looked_at(dataset(some(100))).shortcut, looked_at(dataset(some(0))).shortcut
    assert telling is not None
    assert hiding is not None
    assert telling > 0.99
    assert abs(hiding - 0.5) < 0.2


def test_groups_are_kept_whole_where_that_is_measured() -> None:
    """Every group has a brightness of its own and one class: only an image of the same group would give it away."""
    rng = np.random.default_rng(1)
    values = rng.permutation(np.arange(20, 220, 5))
    images = [(CLASSES[i % 2], "train", flat(int(value))) for i, value in enumerate(values) for _ in range(4)]
    some = dataset(images)
    together = {name: str(i // 4) for i, name in enumerate(sorted(groups(some), key=lambda name: name[-6:]))}
    shortcut = explore(some, together, None, seed=1).shortcut
    assert shortcut is not None
    assert shortcut < 0.7


def test_too_few_images_to_tell_is_none() -> None:
    assert looked_at(dataset([("a", "train", flat(1)), ("b", "train", flat(2))])).shortcut is None


# Twins


def index_of(rows: Sequence[tuple[str, str, str, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sample_id", "label", "split", "phash"])


def test_near_pairs_are_those_of_a_plain_comparison() -> None:
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = np.concatenate([hashes, hashes[:10] ^ np.uint64(0b101), hashes[:10] ^ np.uint64(1 << 40)])
    plain = {(i, j) for i in range(60) for j in range(i + 1, 60) if int(np.bitwise_count(hashes[i] ^ hashes[j])) <= 2}
    assert {tuple(pair) for pair in near_pairs(hashes, 2).tolist()} == plain
    assert near_pairs(np.array([7, 9 << 50, 7, 7], np.uint64), 0).tolist() == [[0, 2], [2, 3]]


def test_twins_of_other_classes_and_splits_come_first_and_every_image_once() -> None:
    index = index_of([
        ("a", "x", "train", 1), ("b", "y", "train", 1 << 20), ("c", "x", "train", 3 << 40),
        ("d", "x", "validation", 5 << 50), ("e", "x", "train", 7 << 33), ("f", "y", "train", 11 << 22),
    ])  # fmt: skip
    angles = np.radians([0, 1, 60, 62, 63, 200])
    found = find_twins(index, np.stack([np.cos(angles), np.sin(angles)], axis=1), list("abcdef"), 1)
    assert [(pair.first, pair.second, pair.relation) for pair in found[:2]] == [
        ("a", "b", "classes"),
        ("d", "e", "splits"),
    ]
    names = [name for pair in found for name in (pair.first, pair.second)]
    assert len(names) == len(set(names))


def test_the_test_split_is_compared_with_what_is_trained_on_alone() -> None:
    index = index_of(
        [("a", "x", "train", 1), ("b", "x", "test", 1), ("c", "y", "test", 1 << 60), ("d", "x", "test", 1 << 60)]
    )
    found = find_twins(index, np.eye(1, 4), ["a"], 5)
    assert [(pair.first, pair.second, pair.relation, pair.bits) for pair in found] == [("b", "a", "splits", 0)]


def test_what_a_network_sees_decides_where_there_are_features() -> None:
    some = striped()
    features = np.zeros((34, 3), np.float32)
    features[:, 0] = np.linspace(0, 1, 34)
    features[[4, 7]] = 50
    _, stored = imagined(features, some)
    found = explore(some, groups(some), stored, seed=1)
    assert found.from_features
    twins = find_twins(some.index().assign(phash=np.arange(46) << 30), found.vectors, found.ids, 3)
    assert {(pair.first, pair.second) for pair in twins} >= {(stored.sample_ids[4], stored.sample_ids[7])}


# The page


class Page(HTMLParser):
    """What a reader of any kind gets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.drawings: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "img":
            self.pictures.append(said)
        if tag == "svg":
            self.drawings.append(said)
        self.loads += [str(said[key]) for key in ("src", "href") if key in said]
        assert tag not in ("script", "link", "iframe")


@pytest.fixture(scope="module")
def page() -> str:
    some = striped()
    return exploration_page(some, explore(some, groups(some), None, seed=1))


def test_the_page_says_what_there_is_and_warns_of_its_images(page: str) -> None:
    assert "This page contains images of the data set" in page
    assert "46 images of 2 classes" in page
    assert "all 34 images of train and validation" in " ".join(page.split())
    for title in (
        "Classes and splits",
        "Sizes and shapes",
        "Brightness",
        "Mean images",
        "Sample images",
        "Most alike",
        "Map",
    ):
        assert f"<h2>{title}</h2>" in page


def test_the_page_stands_alone_and_every_picture_has_words(page: str) -> None:
    read = Page(page)
    assert all(load.startswith("data:image/") for load in read.loads)
    assert len(read.pictures) > 10
    assert all(picture.get("alt") for picture in read.pictures)
    assert all(drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in read.drawings)
    assert "prefers-color-scheme: dark" in page


def test_the_page_shows_no_image_of_the_test_split_but_twins(page: str) -> None:
    """All hashes of these images are equal: the first twins are across the splits."""
    twins = page[page.index("<h2>Most alike") : page.index("<h2>Map")]
    rest = page.replace(twins, "")
    assert not re.findall(r"(alt|title)=\"[^\"]*test/\d", rest)
    assert re.search(r"alt=\"test, [a-z]+: test/\d", twins)


def test_names_are_no_html() -> None:
    some = dataset([("<b>bad</b>", "train", flat(i)) for i in range(4)])
    text = exploration_page(some, looked_at(some))
    assert "<b>bad" not in text
    assert "&lt;b&gt;bad" in text


def test_a_page_of_very_few_images_is_a_page_still(tmp_path: Path) -> None:
    some = dataset([("a", "train", flat(1)), ("b", "train", flat(2))])
    text = exploration_page(some, looked_at(some))
    assert "Too few images for a map." in text
    assert "Too few images or groups of a class to measure" in text


def test_shapes_beyond_the_axis_are_counted_at_its_end() -> None:
    shares = ratios(np.array([100.0, 100, 1000, 10]), np.array([100.0, 100, 10, 1000]), 3, 1.5)
    assert shares.tolist() == [0.25, 0.5, 0.25]


def test_pictures_are_spread_over_the_map() -> None:
    points = np.array([[0, 0], [0.01, 0], [1, 1], [0.99, 1], [0, 1]])
    assert spread(points, 2, 2) == [0, 2, 4]
    assert spread(np.zeros((3, 2)), 2, 2) == [0]
