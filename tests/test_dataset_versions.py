"""What came, went or changed between two datasets, and how it is told."""

import io

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from diascope.dataset_versions import (
    MOST_SHOWN,
    Difference,
    StoredVersion,
    difference,
    difference_as_json,
    list_as_json,
    print_difference,
    print_list,
)

BEFORE = [
    ("a/1.png", "p1", "a", "train"),
    ("a/2.png", "p2", "a", "train"),
    ("a/3.png", "p3", "a", "train"),
    ("b/4.png", "p4", "b", "test"),
    ("b/5.png", "p5", "b", "test"),
    ("b/6.png", "p6", "b", "test"),
]


def index(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sample_id", "sha256", "label", "split"])


def told(found: Difference) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_difference(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_kind_of_change() -> None:
    after = [
        ("a/1.png", "p1", "a", "train"),  # as it was
        ("b/2.png", "p2", "b", "train"),  # moved into another class folder: name and label
        ("a/3.png", "q3", "a", "validation"),  # edited under its name, and dealt to another split
        ("b/4.png", "p4", "a", "test"),  # another label
        ("b/5.png", "p5", "b", "train"),  # another split
        ("a/7.png", "p7", "a", "train"),  # new; b/6.png is gone
    ]
    found = difference(index(BEFORE), index(after))
    assert (found.n_before, found.n_after, found.n_same) == (6, 6, 1)
    assert [image.file for image in found.came] == ["a/7.png"]
    assert [image.file for image in found.went] == ["b/6.png"]
    assert [pair.before.file for pair in found.changed] == ["a/3.png"]
    assert [(pair.before.label, pair.after.label) for pair in found.labelled] == [("a", "b"), ("b", "a")]
    assert [(pair.before.file, pair.after.split) for pair in found.moved] == [
        ("a/3.png", "validation"),
        ("b/5.png", "train"),
    ]
    assert [(pair.before.file, pair.after.file) for pair in found.renamed] == [("a/2.png", "b/2.png")]
    said = told(found)
    for line in ("6 images before, 6 after; 1 are as they were", "1 came", "1 went", "2 have another label"):
        assert line in said


def test_the_same_dataset_has_no_difference() -> None:
    found = difference(index(BEFORE), index(BEFORE))
    assert found.n_same == 6
    assert {name for name, value in difference_as_json(found).items() if value} == {"n_before", "n_after", "n_same"}
    assert told(found).strip() == "6 images before, 6 after; 6 are as they were."


def test_copies_are_told_apart_by_name() -> None:
    before = [("x/1.png", "p", "x", "train"), ("x/2.png", "p", "x", "train"), ("y/3.png", "p", "y", "train")]
    after = [("x/2.png", "p", "y", "train"), ("y/4.png", "p", "y", "train")]
    found = difference(index(before), index(after))
    assert [(pair.before.file, pair.after.label) for pair in found.labelled] == [("x/1.png", "y"), ("x/2.png", "y")]
    assert [(pair.before.file, pair.after.file) for pair in found.renamed] == [("x/1.png", "y/4.png")]
    assert [image.file for image in found.went] == ["y/3.png"]
    assert not found.came


rows = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("pqrs"), st.sampled_from("xy"), st.sampled_from("tv")),
    unique_by=lambda row: row[0],
)


@given(rows, rows)
def test_every_image_is_told_of_once_and_the_way_back_is_the_same(before: list, after: list) -> None:
    found, back = difference(index(before), index(after)), difference(index(after), index(before))
    pairs = found.n_before - len(found.went)
    assert pairs == found.n_after - len(found.came)
    assert found.n_same <= pairs
    assert (found.came, found.went) == (back.went, back.came)
    assert len(found.labelled) == len(back.labelled)


def test_long_lists_are_cut_for_people_and_whole_for_programs() -> None:
    found = difference(index([]), index([(f"{i:03}.png", f"p{i}", "a", "train") for i in range(50)]))
    assert f"and {50 - MOST_SHOWN} more" in told(found)
    assert len(difference_as_json(found)["came"]) == 50


def stored(version: int, fingerprint: str, **options: object) -> StoredVersion:
    counts = {"train": {"no": 1000, "yes": 5}, "validation": {"no": 0, "yes": 0}, "test": {"no": 3, "yes": 4}}
    known = {
        "created": "2026-01-02T03:04:05",
        "source": "scans [1]",
        "images": {"train": 1005, "validation": 0, "test": 7},
        "counts": counts,
        "run": "training-1",
    }
    return StoredVersion.model_validate({"version": version, "fingerprint": fingerprint, **known, **options})


def test_versions_are_listed_with_their_counts() -> None:
    console = Console(file=io.StringIO(), width=120)
    versions = [stored(1, "a" * 64), stored(2, "b" * 64, counts={}, run=""), stored(3, "a" * 64)]
    print_list(versions, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Version 1, stored 2026-01-02 03:04 UTC\n" in "\n".join(map(str.rstrip, said.splitlines()))
    for text in ("1,005 train, 7 test", "no 1,000 + 3, yes 5 + 4", "scans [1]", "a" * 16, "not noted", "deleted"):
        assert text in said
    assert said.count("the same images as version 1") == 1
    assert [each["version"] for each in list_as_json(versions)["versions"]] == [1, 2, 3]


def test_without_versions_the_way_to_one_is_told() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_list([], console)
    assert "run --training first" in console.file.getvalue()  # type: ignore[attr-defined]
