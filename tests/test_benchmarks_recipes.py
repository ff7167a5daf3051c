"""Are a tutorial's training and ours measured alike?"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipe_data import drawing, encoded
from sklearn.metrics import accuracy_score, roc_auc_score
from tiny import CLASSES, classifier, row, striped, write_dataset

from benchmarks import child, recipes, side_by_side
from diascope.config import Experiment
from diascope.dataset import Dataset

EXPERIMENT = Experiment.model_validate(
    {
        "dataset": {"source": "somewhere"},
        "candidates": [
            {"name": "tutorial", "backbone": "VGG16", "original": {"epochs": 3}},
            {"name": "large", "backbone": "VGG16"},
            {"name": "small", "backbone": "MobileNetV2", "alpha": 0.35},
        ],
        "promotion": {"model": "recipe"},
    }
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What each training was told; none takes place, and both leave the same classifier and images."""
    told: list[list[str]] = []

    def run(module: str, *, home: str, out: str, arguments: list[str]) -> dict[str, Any]:
        assert module == "trained"
        told.append(arguments)
        shutil.copytree(classifier(1.0).root, Path(out) / "classifier")
        shutil.copytree(striped().root, Path(out) / "dataset")
        return {"seconds": 60.0 * len(told), "megabytes": 1234.0, "steps": {}, "winner": {"name": f"w{len(told)}"}}

    monkeypatch.setattr(child, "run", run)
    return told


def said(arguments: list[str]) -> list[str]:
    return [word for word in arguments if "=" in word]


def test_both_are_measured_on_the_test_images_of_ours(asked: list[list[str]], tmp_path: Path) -> None:
    compared = side_by_side.compare("recipe", EXPERIMENT, None, [], tmp_path)
    ours = compared.ours
    index = striped().index()
    labels = index.loc[index["split"] == "test", "label"].map(CLASSES.index)
    assert ours.metrics.n == len(labels) == 12
    assert ours.metrics.accuracy.value == pytest.approx(accuracy_score(labels, ours.probabilities.argmax(axis=1)))
    assert ours.metrics.auroc.value == pytest.approx(roc_auc_score(labels, ours.probabilities[:, 1]))
    assert compared.difference.value == pytest.approx(0)  # it is one classifier
    table = side_by_side.as_table(compared).splitlines()
    assert [line.split(" | ")[0] for line in table[2:4]] == ["| original", "| ours"]
    assert "| 120 | 1,234 MB |" in table[2]
    assert "`w1`" in table[3]


def test_the_original_gets_what_was_published_and_ours_what_is_clean(asked: list[list[str]], tmp_path: Path) -> None:
    side_by_side.compare("recipe", EXPERIMENT, None, ["seed=3"], tmp_path)
    ours, original = map(said, asked)
    assert ours == ["recipe_style=ours", "seed=3"]
    assert original == [
        "recipe_style=original",
        "seed=3",
        "selection.method=validation",
        side_by_side.AS_PUBLISHED,
    ]


def test_another_network_takes_the_place_of_the_original_s(asked: list[list[str]], tmp_path: Path) -> None:
    side_by_side.compare("recipe", EXPERIMENT, "MobileNetV2:0.35", [], tmp_path)
    ours, original = (next(each for each in said(words) if each.startswith("candidates=")) for words in asked)
    assert '"small"' in ours
    assert '"large"' not in ours
    assert '"tutorial"' in original
    assert '"alpha": 0.35' in original
    assert '"epochs": 3' in original


def test_a_sweep_is_of_ours_alone(asked: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["--config", "breast_cancer"]) == 0
    ours, original = map(said, asked)
    assert "sweep=null" in original
    assert "sweep=null" not in ours
    assert "| ours |" in capsys.readouterr().out


def test_a_test_image_that_the_other_was_fitted_to_is_an_error(tmp_path: Path) -> None:
    measured, other = (_dataset(tmp_path / name, split) for name, split in (("a", "test"), ("b", "train")))
    with pytest.raises(RuntimeError, match="1 test images stand in what the other was fitted to"):
        side_by_side.refuse_seen(measured, other)
    side_by_side.refuse_seen(measured, measured)


def _dataset(root: Path, split: str) -> Dataset:
    """Two training images and one that is trained on or not."""
    root.mkdir()
    images = [encoded(drawing(label, 0)) for label in (0, 1, 2)]
    splits = ["train", "train", split]
    rows = [
        row(f"{i}.png", CLASSES[i % 2], each, data) for i, (each, data) in enumerate(zip(splits, images, strict=True))
    ]
    return write_dataset(root, rows)


def test_what_is_wrong_with_the_configuration_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["--config", "folder", "--set", "recipe_style=both"]) == 2
    assert "no candidate has a section `original`" in capsys.readouterr().err
    assert recipes.main(["--config", "no_such_recipe"]) == 2
    assert "there is no such file or name" in capsys.readouterr().err


def test_an_estimate_that_is_not_defined_is_said_so() -> None:
    from diascope.metrics import Estimate

    assert side_by_side._interval(Estimate(value=None)) == "not defined"
    assert side_by_side._interval(Estimate(value=np.float64(0.5), low=0.25, high=0.75)) == "0.500 (0.250 to 0.750)"
