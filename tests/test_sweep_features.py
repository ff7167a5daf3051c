"""Are networks and features of trials made once, whole, and within bounds?"""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny import PLAIN, backbone, spec, striped

from diascope import sweep_features
from diascope.errors import InputError
from diascope.features import Features, extract_features
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import Seen, SeenFeatures, files_of


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is built and extracted; of networks the same ones are given again and again."""
    told: list[str] = []

    def write(wanted, root, seed):
        told.append("network")
        Seen(backbone(PLAIN), None).store(root / "x")
        for path in (root / "x" / "backbone").iterdir():
            path.rename(root / path.name)

    def extract(dataset, network, splits, root, progress=None):
        told.append("features")
        return extract_features(dataset, network, splits, root, progress)

    monkeypatch.setattr(sweep_features, "write_backbone", write)
    monkeypatch.setattr(sweep_features, "extract_features", extract)
    return told


def seen_features(root: Path, room: int = 2**30, key: str = "images") -> SeenFeatures:
    return SeenFeatures(striped(), {}, root, key, 5, room)


def test_features_are_made_once_for_a_process_and_for_the_next(made: list[str], tmp_path: Path) -> None:
    store = seen_features(tmp_path)
    one, other = store.of(PLAIN, True), store.of(PLAIN, True)
    assert one is other
    assert one.inputs is other.inputs
    again = seen_features(tmp_path).of(PLAIN, True)
    assert made == ["network", "features"]
    np.testing.assert_array_equal(again.inputs, one.inputs)
    assert isinstance(one.features, Features)
    assert not any(name.startswith("test") for name in one.features.sample_ids)
    seen_features(tmp_path, key="other images").of(PLAIN, True)
    seen_features(tmp_path).of(spec(image_sizes=[32]), True)
    assert made == ["network", "features"] * 3


def test_a_network_that_is_trained_needs_no_features(made: list[str], tmp_path: Path) -> None:
    store = seen_features(tmp_path)
    assert store.of(PLAIN, False).features is None
    assert made == ["network"]
    assert store.of(PLAIN, True).features is not None
    assert made == ["network", "features"]


def test_what_the_pipeline_has_made_is_taken(made: list[str], tmp_path: Path) -> None:
    own = Seen(backbone(PLAIN), None)
    store = SeenFeatures(striped(), {PLAIN.key: own}, tmp_path, "images", 5)
    assert store.of(PLAIN, False) is own
    assert made == []


def test_what_a_killed_process_left_is_made_anew(made: list[str], tmp_path: Path) -> None:
    seen_features(tmp_path).of(PLAIN, True)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (folder / "features").rename(folder / "features.part")
    (folder / "features.part" / "features.npy").write_bytes(b"half")
    inputs = seen_features(tmp_path).of(PLAIN, True).inputs
    assert inputs is not None
    assert inputs.shape[0] == 34
    assert made == ["network", "features", "features"]


def test_what_was_not_used_for_longest_is_removed(made: list[str], tmp_path: Path) -> None:
    specs = [spec(image_sizes=[size]) for size in (32, 40, 48)]
    size = 0
    for place, wanted in enumerate(specs):
        store = seen_features(tmp_path, room=2**30 if place < 2 else int(2.5 * size))
        store.of(wanted, True)
        newest = max((path for path in tmp_path.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
        size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
        os.utime(newest, (1000 + place, 1000 + place))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    made.clear()
    seen_features(tmp_path).of(specs[1], True)
    assert made == []
    seen_features(tmp_path).of(specs[0], True)
    assert made == ["network", "features"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.raises(InputError, match="file"):
        seen_features(place / "below").of(PLAIN, True)


def test_files_that_networks_come_from_are_known() -> None:
    over = {
        "weights": ["imagenet", "a.weights.h5"],
        "network": [{"backbone": "VGG16", "weights": "b.weights.h5"}, {"backbone": "ResNet50", "weights": "none"}],
    }
    assert files_of(SweepConfig(trials=3, over=over)) == ["a.weights.h5", "b.weights.h5"]
    assert files_of(SweepConfig(trials=3, over={"head": ["ridge"]})) == []
