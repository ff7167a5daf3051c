"""The demo data are what they are said to be: balanced, separable by shape only, and broken in known places."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from diascope.demo import CLASSES, PATIENT_PATTERN, PATIENTS, PLANTED, SIDE, write_demo
from diascope.images import ImageError, ImageFacts, facts

DAMAGED = {PLANTED["unreadable"][0], PLANTED["blank"][0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    write_demo(root)
    return root


@pytest.fixture(scope="module")
def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def described(folder: Path, names: list[str]) -> dict[str, ImageFacts]:
    return {name: facts((folder / name).read_bytes()) for name in names if name not in PLANTED["unreadable"]}


def patient(name: str) -> str:
    found = re.search(PATIENT_PATTERN, Path(name).name)
    assert found, name
    return found[1]


def test_the_same_seed_gives_the_same_bytes(folder: Path, names: list[str], tmp_path: Path) -> None:
    write_demo(tmp_path / "again")
    write_demo(tmp_path / "other", seed=8)
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    shared = [name for name in names if (tmp_path / "other" / name).exists() and name not in PLANTED["blank"]]
    assert len(shared) > 200
    assert not any((folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in shared)


def test_splits_classes_and_patients(names: list[str]) -> None:
    assert 320 <= len(names) <= 400
    splits = {split: {patient(name) for name in names if name.startswith(split + "/")} for split in PATIENTS}
    assert {split: len(patients) for split, patients in splits.items()} == PATIENTS
    assert not any(one & other for one, other in combinations(splits.values(), 2))
    labels = {(patient(name), name.split("/")[1]) for name in names}
    assert Counter(label for _, label in labels) == dict.fromkeys(CLASSES, sum(PATIENTS.values()) // 3)
    slices = Counter(patient(name) for name in names if not name.endswith("_s9.png"))
    assert set(slices.values()) == {4, 5, 6}


def test_every_image_says_that_it_is_synthetic(folder: Path, names: list[str]) -> None:
    for name in names:
        assert "synthetic" in Path(name).name
        with Image.open(folder / name) as image:
            assert "Synthetic" in image.info["Description"]
            assert (image.size, image.mode) == ((SIDE, SIDE), "L")


def test_defects_are_where_they_were_planted_and_nowhere_else(folder: Path, described: dict[str, ImageFacts]) -> None:
    with pytest.raises(ImageError):
        facts((folder / PLANTED["unreadable"][0]).read_bytes())
    assert {name for name, fact in described.items() if fact.contrast < 5} == set(PLANTED["blank"])
    by_pixels: dict[str, set[str]] = {}
    for name, fact in described.items():
        by_pixels.setdefault(fact.sha256, set()).add(name)
    twins = [group for group in by_pixels.values() if len(group) > 1]
    assert sorted(twins, key=min) == sorted([set(PLANTED["leaks"]), set(PLANTED["conflicts"])], key=min)
    one, other = (folder / name for name in PLANTED["leaks"])
    assert one.read_bytes() != other.read_bytes()


def test_brightness_and_contrast_do_not_tell_the_classes_apart(folder: Path, described: dict[str, ImageFacts]) -> None:
    sound = [name for name in described if name not in DAMAGED]
    labels = np.array([CLASSES.index(name.split("/")[1]) for name in sound])
    brightness = np.array([np.asarray(Image.open(folder / name)).mean() for name in sound])
    spread = np.array([described[name].contrast for name in sound])
    for values in (brightness, spread):
        for label in range(len(CLASSES)):
            assert 0.3 < roc_auc_score(labels == label, values) < 0.7
