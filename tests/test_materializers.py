"""Artifacts come back from any artifact store as they went in."""

import os
from pathlib import Path

import pytest
from test_reports import classifier_info

from diascope.classifier import Classifier
from diascope.features import Features
from materializers import folder
from materializers.folder import DataMaterializer, ModelMaterializer
from materializers.groups import GroupsMaterializer


@pytest.fixture
def features(tmp_path: Path) -> Features:
    import json

    import numpy as np

    root = tmp_path / "features"
    root.mkdir()
    np.save(root / "features.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    samples = {"sample_id": ["a", "b", "c"], "split": ["train"] * 3, "label": ["x", "y", "x"]}
    (root / "samples.json").write_text(json.dumps(samples))
    (root / "features.html").write_text("<p>page</p>")
    spec = {
        "backbone": "MobileNetV2",
        "alpha": 0.35,
        "weights": "none",
        "image_sizes": [32],
        "layers": ["last"],
        "pooling": ["avg"],
        "feature_norm": "l2",
        "dropout": 0,
    }
    block = {"size": 32, "layer": "last", "pooling": "avg", "start": 0, "stop": 2}
    info = {"spec": spec, "blocks": [block], "parameters": 1, "precision": "f32", "milliseconds": 1, "megabytes": 1}
    (root / "backbone.json").write_text(json.dumps(info))
    return Features(root)


@pytest.mark.parametrize("local", [True, False])
def test_round_trip(features, tmp_path, monkeypatch, local):
    monkeypatch.setattr(folder, "_is_local", lambda uri: local)
    uri = tmp_path / "store" / "1"
    uri.mkdir(parents=True)
    materializer = DataMaterializer(str(uri))
    materializer.save(features)
    back = materializer.load(Features)
    assert (back.array() == features.array()).all()
    assert back.samples == features.samples
    assert (back.root == uri) is local
    assert materializer.compute_content_hash(back) == materializer.compute_content_hash(features)


@pytest.mark.parametrize("local", [True, False])
def test_folders_in_the_folder_come_along(features, tmp_path, monkeypatch, local):
    monkeypatch.setattr(folder, "_is_local", lambda uri: local)
    inner = features.root / "backbone" / "weights"
    inner.mkdir(parents=True)
    (inner / "layer.bin").write_bytes(b"weights")
    (features.root / "backbone" / "page.html").write_text("not shown: it belongs to what is inside")
    uri = tmp_path / "store" / "1"
    uri.mkdir(parents=True)
    materializer = DataMaterializer(str(uri))
    materializer.save(features)
    back = materializer.load(Features)
    assert (back.root / "backbone" / "weights" / "layer.bin").read_bytes() == b"weights"
    assert list(materializer.save_visualizations(back)) == [str(uri / "features.html")]
    before = materializer.compute_content_hash(features)
    assert materializer.compute_content_hash(back) == before
    (inner / "layer.bin").write_bytes(b"others")
    assert materializer.compute_content_hash(features) != before


def test_pages_are_shown_and_do_not_count_as_content(features, tmp_path):
    materializer = DataMaterializer(str(tmp_path))
    before = materializer.compute_content_hash(features)
    (features.root / "features.html").write_text("<p>another page</p>")
    assert materializer.compute_content_hash(features) == before
    assert list(materializer.save_visualizations(features)) == [os.path.join(str(tmp_path), "features.html")]


def test_any_other_change_counts(features, tmp_path):
    materializer = DataMaterializer(str(tmp_path))
    before = materializer.compute_content_hash(features)
    (features.root / "samples.json").write_text("{}")
    assert materializer.compute_content_hash(features) != before


def test_metadata_tells_what_it_is(features, tmp_path):
    metadata = DataMaterializer(str(tmp_path)).extract_metadata(features)
    assert (metadata["images"], metadata["dimension"], metadata["backbone"]) == (3, 2, "MobileNetV2")


def test_a_network_gets_a_page_that_is_not_its_content(tmp_path):
    info = classifier_info(["no", "yes"], test=False)
    root, old, new = (tmp_path / name for name in ("made", "stored", "tested"))
    for each in (root, old, new):
        each.mkdir()
    (root / "metadata.json").write_text(info.model_copy(update={"files": {}}).model_dump_json())
    stored = Classifier(root)
    materializer = ModelMaterializer(str(old))
    materializer.save(stored)
    assert list(materializer.save_visualizations(stored)) == [str(old / "network.html")]
    again = materializer.load(Classifier)
    assert materializer.compute_content_hash(again) == materializer.compute_content_hash(stored)

    # What is loaded has the page among its files: the next artifact gets a page of its own, and this one stays.
    before = (old / "network.html").read_text()
    tested = again.with_test(info.validation, tmp_path / "with_test")
    materializer = ModelMaterializer(str(new))
    materializer.save(tested)
    assert list(materializer.save_visualizations(tested)) == [str(new / "network.html")]
    assert "The test split has not been read yet." in before
    assert (old / "network.html").read_text() == before
    assert "On the test split" in (new / "network.html").read_text()
    assert materializer.extract_metadata(tested)["test_auroc"] == info.validation.auroc.value


def test_groups_have_a_page(tmp_path):
    groups = {"a.png": "p1", "b.png": "p1", "c.png": "p2"}
    materializer = GroupsMaterializer(str(tmp_path))
    assert list(materializer.save_visualizations(groups)) == [str(tmp_path / "groups.html")]
    assert "Groups are patients." in (tmp_path / "groups.html").read_text()
    assert materializer.extract_metadata(groups) == {"images": 3, "groups": 2, "largest": 2}
