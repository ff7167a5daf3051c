"""What is wrong with the data?"""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diascope.checks import Checked, Scanned, check, tally
from diascope.config import ChecksConfig
from diascope.errors import InputError
from diascope.images import ImageFacts
from diascope.records import Record


def image(name: str, pixels: str = "", *, label: str = "", contrast: float = 50, phash: int | None = None) -> Scanned:
    """An image as the scan would describe it; `name` is `split/label/file` or `label/file`."""
    parts = name.split("/")
    split = parts[0] if len(parts) == 3 else ""
    pixels = pixels or name
    facts = ImageFacts(10, 10, "L", pixels, _far(pixels, 0) if phash is None else phash, contrast)
    return Scanned(Record(Path(name), name, label or parts[-2], split), facts)


def unreadable(name: str) -> Scanned:
    one = image(name)
    return Scanned(one.record, None, f"{name} is not an image that can be read.")


def run(*scanned: Scanned, **policies: object) -> Checked:
    config = ChecksConfig.model_validate({"minimum_per_class": 2, "imbalance_ratio": 100, **policies})
    return check(scanned, sorted({one.record.label for one in scanned}), config)


def names(checked: Checked) -> list[str]:
    return [one.record.name for one in checked.kept]


def findings(checked: Checked, kind: str) -> list[tuple[list[str], str, int]]:
    return [(one.files, one.action, one.n_dropped) for one in checked.findings if one.kind == kind]


def fine(*places: str, n: int = 3) -> list[Scanned]:
    """Images without any fault; hashes far apart."""
    return [image(f"{place}/fine{i}.png", phash=_far(place, i)) for place in places for i in range(n)]


def _far(place: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{place}{number}".encode()).digest()[:8], "big")


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    checked = run(*fine("a", "b"))
    assert names(checked) == ["a/fine0.png", "a/fine1.png", "a/fine2.png", "b/fine0.png", "b/fine1.png", "b/fine2.png"]
    assert checked.findings == []
    assert checked.notices == []
    assert len(set(checked.clusters.tolist())) == 6


@pytest.mark.parametrize("policy", ["drop", "warn"])
def test_unreadable_files_are_dropped_each_with_its_reason(policy: str) -> None:
    checked = run(*fine("a", "b"), unreadable("a/broken.png"), unreadable("b/text.png"), unreadable=policy)
    assert len(checked.kept) == 6
    assert findings(checked, "unreadable") == [(["a/broken.png"], "dropped", 1), (["b/text.png"], "dropped", 1)]
    assert checked.findings[0].detail == "a/broken.png is not an image that can be read."


@pytest.mark.parametrize(("contrast", "n_kept"), [(0, 6), (0.5, 6), (1.9, 6), (2, 7), (25, 7)])
def test_blank_images_are_dropped(contrast: float, n_kept: int) -> None:
    checked = run(*fine("a", "b"), image("a/black.png", contrast=contrast))
    assert len(checked.kept) == n_kept
    assert findings(checked, "blank") == ([(["a/black.png"], "dropped", 1)] if n_kept == 6 else [])


def test_blank_images_are_kept_with_a_warning() -> None:
    checked = run(*fine("a", "b"), image("a/black.png", contrast=0), blank="warn")
    assert "a/black.png" in names(checked)
    assert findings(checked, "blank") == [(["a/black.png"], "kept", 0)]


def test_of_duplicates_the_first_by_name_is_kept() -> None:
    copies = [image("a/3.png", "same"), image("a/1.png", "same"), image("a/2.png", "same")]
    checked = run(*fine("a", "b"), *copies)
    assert findings(checked, "duplicates") == [(["a/1.png", "a/2.png", "a/3.png"], "dropped", 2)]
    assert [name for name in names(checked) if "fine" not in name] == ["a/1.png"]
    assert tally(checked.findings)["duplicates"] == 2
    assert len(run(*fine("a", "b"), *copies, duplicates="warn").kept) == 9


SPLITS = ("train/a", "train/b", "validation/a", "validation/b", "test/a", "test/b")


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("drop_test", ["train/a/1.png"]),
        ("drop_training", ["test/a/1.png"]),
        ("warn", ["train/a/1.png", "train/a/2.png", "validation/a/1.png", "test/a/1.png", "test/a/2.png"]),
    ],
)
def test_leaks(policy: str, kept: list[str]) -> None:
    places = ("train/a/1.png", "train/a/2.png", "validation/a/1.png", "test/a/1.png", "test/a/2.png")
    checked = run(*fine(*SPLITS), *(image(name, "same") for name in places), leaks=policy, duplicates="warn")
    left = [name for name in names(checked) if "fine" not in name]
    assert left == (kept if policy == "warn" else [name for name in places if name.startswith(kept[0].split("/")[0])])
    checked = run(*fine(*SPLITS), *(image(name, "same") for name in places), leaks=policy)
    if policy != "warn":
        assert [name for name in names(checked) if "fine" not in name] == kept


def test_leaks_say_which_split_has_lost_what() -> None:
    places = ("train/a/1.png", "train/a/2.png", "validation/a/1.png", "test/a/1.png", "test/a/2.png")
    checked = run(*fine(*SPLITS), *(image(name, "same") for name in places))
    found = {one.split: one for one in checked.findings if one.kind == "leaks"}
    assert found["test"].files == ["train/a/1.png", "test/a/1.png", "test/a/2.png"]
    assert found["validation"].files == ["train/a/1.png", "validation/a/1.png"]
    assert "train and in test" in found["test"].detail
    counts = tally(checked.findings)
    assert (counts["leaks"], counts["leaks_validation"], counts["duplicates"], counts["dropped"]) == (2, 1, 1, 4)


def test_a_leak_between_validation_and_test_drops_the_test_copy() -> None:
    checked = run(*fine(*SPLITS), image("validation/a/1.png", "same"), image("test/a/1.png", "same"))
    assert [name for name in names(checked) if "fine" not in name] == ["validation/a/1.png"]


def test_of_an_image_under_two_labels_nothing_is_kept() -> None:
    copies = [image("train/a/1.png", "same"), image("train/b/1.png", "same"), image("test/a/1.png", "same")]
    checked = run(*fine(*SPLITS), *copies)
    files = ["test/a/1.png", "train/a/1.png", "train/b/1.png"]
    assert findings(checked, "conflicts") == [(files, "dropped", 3)]
    assert findings(checked, "leaks") == []
    assert len(checked.kept) == 18
    assert tally(checked.findings)["conflicts"] == 1
    kept = run(*fine(*SPLITS), *copies, conflicts="warn")
    assert findings(kept, "conflicts")[0][1] == "kept"
    assert len(findings(kept, "leaks")) == 1


def test_near_duplicates_are_kept_and_told_across_splits() -> None:
    twins = [image("train/a/1.png", phash=0), image("test/a/1.png", phash=0b11), image("test/b/1.png", phash=0b1100)]
    lone = [image("validation/a/2.png", phash=2**64 - 1), image("validation/a/3.png", phash=2**64 - 2)]
    checked = run(*fine(*SPLITS), *twins, *lone)
    assert len(checked.kept) == 23
    first, second = (one for one in checked.findings if one.kind == "near_duplicates")
    assert (first.action, first.n_dropped, first.split) == ("kept", 0, "test")
    assert first.detail == (
        "3 images look alike (perceptual hashes within 2 of 64 bits), 2 in test, 1 in train, under 'a' and 'b'."
    )
    assert (second.files, second.split) == (["validation/a/2.png", "validation/a/3.png"], "")
    (notice,) = checked.notices
    assert notice.startswith("2 of 8 test images have a near twin in train or validation")
    clusters = dict(zip(names(checked), checked.clusters.tolist(), strict=True))
    assert clusters["train/a/1.png"] == clusters["test/a/1.png"] == clusters["test/b/1.png"]


def test_one_image_has_a_near_twin() -> None:
    twins = [image("train/a/1.png", phash=0), image("test/a/1.png", phash=0b11)]
    (notice,) = run(*fine(*SPLITS), *twins).notices
    assert notice.startswith("1 of 7 test images has a near twin in train or validation")


def test_patients_in_two_splits_are_told() -> None:
    scanned = [
        Scanned(Record(Path(n), n, n.split("/")[1], n.split("/")[0], f"p{i % 5}"), image(n).facts)
        for i, n in enumerate(f"{place}/{number}.png" for place in SPLITS for number in range(3))
    ]
    assert any(notice.startswith("5 of 5 patients have images in more") for notice in run(*scanned).notices)


def test_imbalance() -> None:
    scanned = [*fine("a", n=21), *fine("b", n=2)]
    assert run(*scanned, imbalance_ratio=10.5).findings == []
    (found,) = run(*scanned, imbalance_ratio=10).findings
    assert found.detail == "Class 'a' has 10.5 times as many images as 'b' (21 and 2)."


@pytest.mark.parametrize(
    ("policy", "extra"),
    [
        ("unreadable", [unreadable("train/a/x.png")]),
        ("blank", [image("train/a/x.png", contrast=0)]),
        ("duplicates", [image("train/a/x.png", "same"), image("train/a/y.png", "same")]),
        ("near_duplicates", [image("train/a/x.png", phash=0), image("train/a/y.png", phash=1)]),
        ("leaks", [image("train/a/x.png", "same"), image("test/a/y.png", "same")]),
        ("conflicts", [image("train/a/x.png", "same"), image("train/b/y.png", "same")]),
        ("imbalance", fine("train/a", n=900)[3:]),
    ],
)
def test_the_policy_fail_stops_with_one_sentence(policy: str, extra: list[Scanned]) -> None:
    run(*fine(*SPLITS), **{policy: "fail"})
    with pytest.raises(InputError, match=f"^checks.{policy} is 'fail': ") as refused:
        run(*fine(*SPLITS), *extra, **{policy: "fail"})
    assert policy == "imbalance" or "x.png" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_images_that_were_scaled_before_saving_are_explained() -> None:
    blank = [Scanned(one.record, image("a/x", contrast=0.4).facts, brightest=2) for one in fine("a", "b")]
    with pytest.raises(
        InputError, match=r"^all 6 images are blank: no pixel value .* above 2; were they scaled to 0\.\.1"
    ):
        run(*blank)
    white = [Scanned(one.record, image("a/x", contrast=0).facts, brightest=255) for one in fine("a", "b")]
    with pytest.raises(InputError, match=r"^all 6 images are blank$"):
        run(*white)
    with pytest.raises(InputError, match=r"'a' has 0 usable images of 3: 3 blank: no pixel value .* scaled"):
        run(*blank[:3], *fine("b"))


def test_a_class_with_too_few_usable_images_is_explained() -> None:
    scanned = [*fine("b", n=12), *fine("a", n=9), unreadable("a/x.png"), image("a/fine10.png", "a/fine0.png")]
    with pytest.raises(
        InputError, match=r"class 'a' has 9 usable images of 11: 1 unreadable, 1 copies of others; .* asks for 10"
    ):
        run(*scanned, minimum_per_class=10)
    with pytest.raises(InputError, match=r"^class 'a' has 2 usable images; checks.minimum_per_class asks for 10$"):
        run(*fine("b", n=12), *fine("a", n=2), minimum_per_class=10)


def test_a_class_without_files_is_too_few() -> None:
    with pytest.raises(InputError, match="class 'c' has 0 usable images"):
        check(fine("a", "b"), ["a", "b", "c"], ChecksConfig(minimum_per_class=2))


def test_nothing_usable_says_why() -> None:
    with pytest.raises(InputError, match=r"none of the 2 files can be used: 2 unreadable; the first: a/x.png is not"):
        run(unreadable("a/x.png"), unreadable("b/x.png"))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_a_class_is_refused(split: str) -> None:
    scanned = [one for one in fine(*SPLITS) if not one.record.name.startswith(f"{split}/b")]
    with pytest.raises(InputError, match=f"the {split} split has no usable image of class 'b'.*dataset.class_map"):
        run(*scanned)


@settings(max_examples=60, deadline=None)
@given(st.randoms(), st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 5)), max_size=30))
def test_findings_do_not_depend_on_the_order_and_leave_nothing_twice(
    rng: object, places: list[tuple[str, int]]
) -> None:
    scanned = fine(*SPLITS)
    scanned += [image(f"{place}/{i}.png", f"same{number}") for i, (place, number) in enumerate(places)]
    checked = run(*scanned)
    shuffled = list(scanned)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    again = run(*shuffled)
    assert sorted(names(again)) == sorted(names(checked))
    assert {one.model_dump_json() for one in again.findings if one.kind != "near_duplicates"} == {
        one.model_dump_json() for one in checked.findings if one.kind != "near_duplicates"
    }
    pixels = [one.facts.sha256 for one in checked.kept if one.facts]
    assert len(pixels) == len(set(pixels))
    assert len(checked.kept) + tally(checked.findings)["dropped"] == len(scanned)
