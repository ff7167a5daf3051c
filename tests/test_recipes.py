"""Does each recipe do what it says, on drawn images that lie, are called and are broken as its data are?"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import recipe_data
from conftest import Run
from tiny import imagined, striped

from diascope import sources
from diascope.candidates import train_candidate
from diascope.config import Experiment, SelectionConfig
from diascope.dataset import Dataset, ingest
from diascope.errors import InputError
from diascope.experiment import ConfigurationError, load
from diascope.features import FeatureSpec, extract_features, write_backbone
from diascope.layouts import read_layout

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
RECIPES = ("breast_cancer", "chest_cancer", "kidney", "lung_tumor", "mhist")
SMALL = {"backbone": "MobileNet", "alpha": 0.25, "weights": "none", "image_sizes": [32]}
REAL = Path(os.environ.get("DIASCOPE_TEST_DATA", "")) / "chest-ct-4class"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `dataset.source` names, for each recipe."""
    root = tmp_path_factory.mktemp("recipes")
    return {
        "breast_cancer": recipe_data.write_breast_cancer(root / "breast_cancer"),
        "chest_cancer": recipe_data.write_chest_cancer(root / "chest_cancer"),
        "kidney": recipe_data.write_kidney_two(root / "kidney", root / "kidney.zip"),
        "kidney_four": recipe_data.write_kidney_four(root / "kidney_four"),
        "lung_tumor": recipe_data.write_lung_tumor(root / "lung_tumor", root / "lung_tumor.zip"),
        "mhist": recipe_data.write_mhist(root / "mhist"),
    }


@pytest.fixture(scope="module")
def stored(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset]:
    """The dataset that a recipe makes of its data, without a pipeline."""
    cache = tmp_path_factory.mktemp("cache")

    def store(name: str, source: str = "", *overrides: str) -> Dataset:
        asked = recipe(name, f"dataset.source={data[source or name]}", *overrides)
        folder = sources.fetch(asked.dataset.source, sha256=asked.dataset.sha256, cache=cache)
        out = tmp_path_factory.mktemp("stored") / "dataset"
        return ingest(asked.dataset, asked.checks, folder, out, asked.seed)

    return store


def recipe(name: str, *overrides: str) -> Experiment:
    return load(CONFIGS / f"{name}.yaml", overrides).parameters


# What every recipe says of itself


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_begins_with_its_data_licence_original_figures_and_time(name):
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    head = text.partition("parameters:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert [word for word in re.findall(r"^# (\w+)", head, re.MULTILINE) if word in HEADINGS] == HEADINGS


HEADINGS = ["Data", "Licence", "Original", "Expected", "Run"]


def test_no_recipe_promotes_over_the_model_of_another():
    models = [recipe(name).promotion.model for name in RECIPES]
    assert len(set(models)) == len(RECIPES)


@pytest.mark.parametrize("name", [each for each in RECIPES if each != "mhist"])
def test_the_style_says_which_candidates_take_part(name):
    alone = ["sweep=null"] if name == "breast_cancer" else []  # its sweep is over settings of ours
    ours, original, both = (recipe(name, f"recipe_style={style}", *alone) for style in ("ours", "original", "both"))
    assert all(each.original is None for each in ours.taking_part)
    assert all(each.original is not None for each in original.taking_part)
    assert len(ours.taking_part) + len(original.taking_part) == len(both.taking_part) == len(both.candidates)


def test_features_of_a_network_without_a_width_are_described_to_zenml():
    *_, features = imagined(np.zeros((34, 2)), striped())
    assert features.backbone.spec.alpha is None
    assert None not in features.description.values()


def test_a_style_that_leaves_nobody_is_refused():
    with pytest.raises(ConfigurationError, match="recipe_style is original, but no candidate has a section `original`"):
        load(CONFIGS / "folder.yaml", ["recipe_style=original"])


def test_a_run_is_told_of_the_candidates_that_take_part_alone():
    import yaml

    resolved = yaml.safe_load(load(CONFIGS / "chest_cancer.yaml", ["recipe_style=ours"]).resolved())["parameters"]
    assert [each["name"] for each in resolved["candidates"]] == ["vgg16", "small"]
    assert "recipe_style" not in resolved


# How each is read


def test_chest_cancer_is_read_as_published(stored):
    dataset = stored("chest_cancer")
    assert dataset.info.layout == "split_folders"
    assert dataset.info.class_names == list(recipe_data.CHEST_CLASSES)
    assert {split: sum(of.values()) for split, of in dataset.info.counts.items()} == {
        "train": 4 * 12 + 1,
        "validation": 4 * 6,
        "test": 4 * 6,
    }
    assert "Data/train/normal/n8.jpg" in set(dataset.index()["sample_id"])
    leaked = "Data/test/adenocarcinoma/000108 (10).png"
    assert leaked not in set(dataset.index()["sample_id"])
    assert dataset.info.n_found - len(dataset.index()) == 3 + 1  # the copies, and the leak


def test_chest_cancer_as_the_original_keeps_what_was_published(stored):
    dataset = stored("chest_cancer", "", "checks={leaks: warn, duplicates: warn, conflicts: warn}")
    assert dataset.info.n_found == len(dataset.index())


def test_lung_tumor_loses_the_copies_of_its_normal_slices(stored):
    dataset = stored("lung_tumor")
    assert dataset.info.class_names == ["adenocarcinoma", "normal"]
    assert dataset.info.n_found - len(dataset.index()) == 16
    assert set(dataset.info.splits_made) == {"validation", "test"}


def test_lung_tumor_is_refused_where_the_archive_is_another(stored):
    with pytest.raises(InputError, match="has the SHA-256"):
        stored("lung_tumor", "lung_tumor", "dataset.sha256=" + "0" * 64)


def test_lung_tumor_takes_two_of_the_classes_of_chest_cancer(stored):
    dataset = stored("lung_tumor", "chest_cancer")
    assert dataset.info.class_names == ["adenocarcinoma", "normal"]
    assert any("squamous" in notice for notice in dataset.info.notices)


def test_mhist_keeps_the_official_partition_and_the_votes(stored):
    dataset = stored("mhist")
    index = dataset.index()
    assert dataset.info.layout == "csv"
    assert dataset.info.class_names == ["HP", "SSA"]
    assert dataset.info.splits_made == ["validation"]
    assert (index["split"] == "test").sum() == 16
    votes = {row.sample_id: row for row in index.itertuples()}
    first = next(row for name, row in votes.items() if name.endswith("MHIST_aaa.png"))
    assert (first.label, first.agreement) == ("SSA", pytest.approx(4 / 7))
    second = next(row for name, row in votes.items() if name.endswith("MHIST_aab.png"))
    assert (second.label, second.agreement) == ("HP", pytest.approx(6 / 7))


def test_mhist_is_read_alike_where_its_images_were_unpacked(data, stored, tmp_path):
    shutil.copytree(data["mhist"], tmp_path / "mhist")
    shutil.unpack_archive(tmp_path / "mhist" / "images.zip", tmp_path / "mhist")
    (tmp_path / "mhist" / "images.zip").unlink()
    asked = recipe("mhist", "dataset.annotations.images=images")
    layout = read_layout(tmp_path / "mhist", asked.dataset)
    assert len(layout.records) == 52
    assert {record.split for record in layout.records} == {"train", "test"}


def test_a_partition_in_other_words_is_refused(data, tmp_path):
    shutil.copytree(data["mhist"], tmp_path / "mhist")
    table = tmp_path / "mhist" / "annotations.csv"
    table.write_text(table.read_text().replace(",test\n", ",holdout-2\n"))
    with pytest.raises(InputError, match="holdout-2"):
        read_layout(tmp_path / "mhist", recipe("mhist").dataset)


def test_breast_cancer_names_its_classes_and_keeps_its_split(stored):
    dataset = stored("breast_cancer")
    assert dataset.info.class_names == ["no tumour", "tumour"]
    assert dataset.info.splits_made == []
    assert dataset.info.counts["train"] == {"no tumour": 18, "tumour": 13}


@pytest.mark.parametrize(
    ("source", "classes"),
    [
        ("kidney", ["Normal", "Tumor"]),
        ("kidney_four", ["Normal", "Tumor"]),
        ("kidney_four", ["Cyst", "Normal", "Stone", "Tumor"]),
    ],
)
def test_kidney_has_two_classes_or_four(stored, source, classes):
    dataset = stored("kidney", source, f"dataset.classes=[{', '.join(classes)}]")
    assert dataset.info.class_names == classes
    assert len(dataset.index()) == 24 * len(classes)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if not REAL.is_dir():
        pytest.skip("the chest CT images are not here: DIASCOPE_TEST_DATA names their folder")
    asked = recipe("chest_cancer", f"dataset.source={REAL}")
    return ingest(asked.dataset, asked.checks, REAL, tmp_path_factory.mktemp("real") / "dataset", asked.seed)


def test_chest_cancer_cleans_the_real_images(real):
    assert real.info.n_found == 1000
    assert real.info.class_names == list(recipe_data.CHEST_CLASSES)
    counts = {split: sum(of.values()) for split, of in real.info.counts.items()}
    assert counts["test"] == 315 - 46
    assert counts["train"] + counts["validation"] == 577


def test_a_cheap_candidate_learns_from_the_real_images(real, tmp_path):
    weights = Path(os.environ.get("DIASCOPE_WEIGHTS_DIR", ""))
    if not list(weights.glob("mobilenet_v2*0.35*")):
        pytest.skip("ImageNet weights of MobileNetV2 0.35 are not here: DIASCOPE_WEIGHTS_DIR names their folder")
    cheap = {"image_sizes": [96], "layers": ["last"], "pooling": ["avg"], "head": "ridge"}
    candidate = next(each for each in recipe("chest_cancer").candidates if each.name == "small")
    candidate = candidate.model_validate({**candidate.model_dump(exclude_unset=True), **cheap})
    for name in ("backbone", "features", "candidate"):
        (tmp_path / name).mkdir()
    backbone = write_backbone(FeatureSpec.of(candidate), tmp_path / "backbone", seed=20)
    features = extract_features(real, backbone, ["train", "validation"], tmp_path / "features")
    groups = {name: name for name in features.sample_ids}
    selection = SelectionConfig(folds=2)
    trained = train_candidate(candidate, backbone, real, features, groups, selection, 20, tmp_path / "candidate")
    assert trained.result.scores["auroc"] > 0.85


# The whole pipeline, on networks of the smallest size with random weights


def reduced(name: str, keep: list[str], **changes: dict[str, object]) -> str:
    """The candidates of a recipe with the smallest network; what is changed further stands under their names."""
    asked = [each for each in recipe(name).candidates if each.name in keep]
    said = [each.model_dump(mode="json", exclude_unset=True) | SMALL | changes.get(each.name, {}) for each in asked]
    for each in said:
        if "original" not in each:
            each |= {"layers": ["last"], "pooling": ["avg"], "feature_norm": "none"}  # one network for nearly all
    return f"candidates={json.dumps(said)}"


@pytest.fixture(scope="module")
def run_recipe(train, data) -> Callable[..., Run]:
    def call(name: str, candidates: str, *overrides: str) -> Run:
        said = [f"dataset.source={data[name]}", candidates, "evaluation.resamples=100", *overrides]
        run = train("--training", "--json", "--config", name, *(word for each in said for word in ("--set", each)))
        assert run.status == 0, run.err
        return run

    return call


def test_chest_cancer_compares_the_original_with_ours_in_one_run(run_recipe):
    original = recipe("chest_cancer").candidates[0].original
    assert original is not None
    short = {"original": original.model_dump(mode="json") | {"epochs": 1, "augmentation": {}}}
    candidates = reduced("chest_cancer", ["vgg16_original", "small"], vgg16_original=short)
    result = run_recipe("chest_cancer", candidates, "selection.method=validation").result
    compared = result["validation"]["candidates"]
    assert set(compared) == {"vgg16_original", "small"}
    assert all(0 <= each["scores"]["auroc"] <= 1 for each in compared.values())
    assert result["test"]["n"] == 24


def test_lung_tumor_gives_the_four_metrics_and_compares_a_preparation(run_recipe):
    result = run_recipe("lung_tumor", reduced("lung_tumor", ["plain", "prepared"]), "selection.folds=2").result
    for metric in ("accuracy", "precision", "sensitivity", "f1"):
        low, high = result["test"][f"{metric}_ci95"]
        assert 0 <= low <= result["test"][metric] <= high <= 1
    assert result["test"]["operating_point"]["positive_class"] == "adenocarcinoma"
    scores = {name: each["scores"] for name, each in result["validation"]["candidates"].items()}
    assert scores["plain"] != scores["prepared"]


def test_mhist_weighs_and_resamples_what_it_fits(run_recipe):
    assert {each.backbone for each in recipe("mhist").candidates} == {"hub:resnet_18_imagenet"}
    result = run_recipe("mhist", reduced("mhist", ["frozen", "balanced", "undersampled", "by_agreement"])).result
    assert result["data"]["splits"]["test"] == 16
    losses = {name: each["scores"]["log_loss"] for name, each in result["validation"]["candidates"].items()}
    assert len(set(losses.values())) == 4
    assert {"accuracy", "sensitivity", "specificity", "auroc"} <= set(result["test"])
    assert result["test"]["operating_point"]["positive_class"] == "SSA"


def test_kidney_compares_frozen_and_fine_tuned(run_recipe):
    short = {"fine_tuned": {"epochs": 1, "early_stopping": 0}}
    result = run_recipe("kidney", reduced("kidney", ["frozen", "fine_tuned"], **short)).result
    assert set(result["validation"]["candidates"]) == {"frozen", "fine_tuned"}
    assert result["data"]["classes"] == ["Normal", "Tumor"]


def test_breast_cancer_takes_the_cheapest_of_equals_and_sweeps_its_settings(run_recipe):
    names = ["inception_v3", "resnet101_v2", "xception"]
    result = run_recipe(
        "breast_cancer",
        reduced("breast_cancer", names, inception_v3={"image_sizes": [48]}),
        *("selection.tolerance=1.0", "selection.folds=2", "sweep.trials=3", "sweep.over={head: [blend, logistic]}"),
    ).result
    compared = result["validation"]["candidates"]
    assert compared["inception_v3"]["gigamacs"] > compared["resnet101_v2"]["gigamacs"]
    assert result["winner"]["name"].startswith("resnet101_v2")
    assert "resnet101_v2_swept" in compared
    assert all(each["milliseconds"] > 0 and each["seconds"] > 0 for each in compared.values())
