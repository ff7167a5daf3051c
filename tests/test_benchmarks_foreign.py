"""Does the benchmark of foreign images ask what it says, and count what is answered?"""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny import PLAIN, backbone, classifier_info, groups, random_head, scratch, striped, stripes

from benchmarks import foreign
from benchmarks.alterations import ALTERATIONS
from benchmarks.strangers import STRANGERS
from diascope.answers import Abstention
from diascope.assembly import store_classifier
from diascope.classifier import Classifier
from diascope.errors import InputError
from diascope.familiarity import familiarise
from diascope.features import extract_features
from diascope.images import decode

ROOT = Path(foreign.__file__).parents[1]
HEAD = ["images", "n", "foreign", "uncertain", "ok", "share foreign (95 %)"]


class Told:
    """Answers by brightness: dark images are foreign, bright ones uncertain; keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []

    def answers(self, pictures: Iterable[np.ndarray | bytes]) -> Iterator[SimpleNamespace]:
        for picture in pictures:
            seen = np.asarray(decode(picture)) if isinstance(picture, bytes) else picture
            self.shown.append(seen)
            kind = "out_of_distribution" if seen.mean() < 50 else "uncertain" if seen.mean() > 200 else "ok"
            yield SimpleNamespace(decision=kind)


def asked(*folders: Path, most: int = 1000) -> tuple[dict[str, foreign.Kind], Told]:
    told = Told()
    files = {folder: foreign.files(folder, most) for folder in folders}
    found = foreign.kinds(told, striped(), files, most)  # type: ignore[arg-type]
    return {kind.name: kind for kind in found}, told


def folder_of(root: Path, *greys: int) -> Path:
    root.mkdir()
    for number, grey in enumerate(greys):
        Image.fromarray(np.full((20, 30), grey, np.uint8)).save(root / f"{number}.png")
    return root


@functools.cache
def known() -> Classifier:
    """A small classifier that knows its stripes from other images."""
    network, dataset = backbone(PLAIN), striped()
    features = extract_features(dataset, network, ("train", "validation"), scratch())
    of = groups(dataset)
    units = np.array([of[name] for name in features.sample_ids])
    labels = np.array(features.samples["label"])
    reference, familiarity = familiarise(features.array(), labels, units, network.info.averages, seed=1)
    band = Abstention(low=0, high=0.6, share=0.1)
    info = classifier_info(network.info.size).model_copy(update={"familiarity": familiarity, "abstention": band})
    head = random_head(network.info.dimension, 2)
    return store_classifier(network.network(), head, network.info, info, scratch(), reference)


# What is asked


def test_every_kind_is_answered_once_and_counted(tmp_path: Path) -> None:
    kinds, told = asked(folder_of(tmp_path / "dark", 0, 10, 120), folder_of(tmp_path / "bright", 250))
    altered = [f"own, {name}" for name in ALTERATIONS]
    assert list(kinds) == ["own test split", "dark", "bright", *STRANGERS, *altered]
    assert kinds["dark"] == foreign.Kind("dark", n=3, foreign=2, uncertain=0)
    assert kinds["bright"] == foreign.Kind("bright", n=1, foreign=0, uncertain=1)
    assert kinds["own test split"] == foreign.Kind("own test split", n=12, foreign=0, uncertain=0)
    assert len(told.shown) == sum(kind.n for kind in kinds.values())


def test_the_test_split_alone_is_asked_and_altered() -> None:
    kinds, told = asked()
    test = [np.asarray(decode(image)) for _, batch in striped().images("test") for image in batch]
    for seen, image in zip(told.shown[:12], test, strict=True):
        np.testing.assert_array_equal(seen, image)
    start = sum(kind.n for kind in list(kinds.values())[: 1 + len(STRANGERS)])
    where = start + 12 * list(ALTERATIONS).index("upside down")
    for seen, image in zip(told.shown[where : where + 12], test, strict=True):
        np.testing.assert_array_equal(seen, image[::-1, ::-1])


def test_the_same_images_are_drawn_every_time() -> None:
    for one, other in zip(asked()[1].shown, asked()[1].shown, strict=True):
        np.testing.assert_array_equal(one, other)


def test_of_many_images_some_are_taken_from_everywhere(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "many", *range(50, 200, 15))
    kinds, told = asked(folder, most=4)
    assert kinds["own test split"].n == kinds["own, mirrored"].n == kinds["many"].n == 4
    assert [seen.mean() for seen in told.shown[4:8]] == [50, 80, 125, 155]


def test_files_that_cannot_be_used_are_told_and_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = folder_of(tmp_path / "some", 120, 120)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("text is no image, and is not tried")
    assert asked(folder)[0]["some"].n == 2
    assert "1 of 3 files" in capsys.readouterr().err


def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    for name, words in {"nowhere": "is no folder", "empty": "has no images", "broken": "None of the 1 files"}.items():
        with pytest.raises(InputError, match=words):
            asked(tmp_path / name)


# How images are altered and drawn


def test_alterations_do_what_they_are_called() -> None:
    before = np.stack([stripes(0, seed=1, height=60, width=80)] * 3, axis=2)
    rng = np.random.default_rng(0)
    made = {name: np.asarray(alter(Image.fromarray(before), rng)) for name, alter in ALTERATIONS.items()}
    np.testing.assert_array_equal(made["inverted"], 255 - before)
    np.testing.assert_array_equal(made["upside down"], before[::-1, ::-1])
    np.testing.assert_array_equal(made["turned by 90°"], np.rot90(before))
    np.testing.assert_array_equal(made["mirrored"], before[:, ::-1])
    np.testing.assert_array_equal(made["10 % cut off on each side"], before[6:54, 8:72])
    np.testing.assert_allclose(made["30 % darker"], 0.7 * before, atol=1)
    assert made["at half the size"].shape == (30, 40, 3)
    noise = made["with noise (standard deviation 10)"].astype(float) - before
    assert noise.std() == pytest.approx(10, abs=0.5)
    assert (noise[..., 0] == noise[..., 2]).all()
    compressed = np.abs(made["JPEG of quality 60"].astype(float) - before)
    assert 0.5 < compressed.mean() < 12
    (blurred,) = [made[name].astype(float) for name in made if name.startswith("blurred")]
    assert 0.3 * before.std() < blurred.std() < 0.97 * before.std()
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in made.values())


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_images(name: str) -> None:
    for picture in STRANGERS[name](np.random.default_rng(0)):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert picture.size > 1000


def test_strangers_are_what_they_are_called() -> None:
    drawn = {name.split(",")[0].split(":")[0]: draw(np.random.default_rng(0)) for name, draw in STRANGERS.items()}
    greys = [np.unique(picture).tolist() for picture in drawn["blank"]]
    assert greys == [[grey] for grey in range(0, 256, 15)]
    assert {picture.max() for picture in drawn["almost black"]} == {1}
    specks = [np.isin(picture, (0, 255)).mean() for picture in drawn["salt and pepper"]]
    np.testing.assert_allclose(specks, 0.1, atol=0.01)
    coloured = [bool((picture[..., 0] != picture[..., 1]).any()) for picture in drawn["uniform noise"]]
    assert coloured == [False] * 10 + [True] * 10
    photographs, grey = drawn["photographs and crops of them"], drawn["the same in grey"]
    assert len(photographs) == len(grey) == 60
    assert [one.shape for one in photographs] == [one.shape for one in grey]
    assert all((picture[..., 0] == picture[..., 2]).all() for picture in grey)
    assert len({picture.tobytes() for picture in photographs}) == 60


# What is printed


def table(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == HEAD
    assert {cell.strip("-") for cell in rows[1]} == {""}
    return {name: cells for name, *cells in rows[2:]}


def test_a_row_has_its_counts_and_wilsons_interval() -> None:
    assert foreign.Kind("own", n=45, foreign=2, uncertain=5).row() == (
        *("own", "45", "2", "5", "38"),
        "0.044 (0.012 to 0.148)",
    )
    assert foreign.Kind("own", n=269, foreign=0, uncertain=0).row()[-1] == "0.000 (0.000 to 0.014)"


def test_a_model_that_knows_its_images_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(foreign, "_production", lambda options: (known(), striped(), "a model"))
    assert foreign.main(["--foreign", str(folder_of(tmp_path / "flat", 0, 90))]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a model\n")
    rows = table(out)
    for name, (n, far, uncertain, ok, _) in rows.items():
        assert int(n) == int(far) + int(uncertain) + int(ok), name
    assert int(rows["own test split"][1]) <= 3
    assert rows["flat"][:2] == ["2", "2"]
    assert rows["blank, 18 grey values"][:2] == ["18", "18"]
    again = [answer.decision for answer in known().answers(i for _, some in striped().images("test") for i in some)]
    assert rows["own test split"][2] == str(again.count("uncertain"))


def test_wrong_input_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert foreign.main(["--config", "no_such_configuration"]) == 2
    assert "no_such_configuration" in capsys.readouterr().err
    monkeypatch.setattr(foreign, "_production", lambda options: (Told(), striped(), "a model"))
    assert foreign.main(["--foreign", "/no/such/folder"]) == 2
    told = capsys.readouterr()
    assert "'/no/such/folder' is no folder" in told.err
    assert told.out == ""  # before any work
    with pytest.raises(SystemExit, match="2"):
        foreign.main(["--most", "0"])


def test_the_command_asks_the_model_in_production(demo_run, workplace: Path) -> None:
    environment = {**os.environ, "ZENML_CONFIG_PATH": str(workplace / "zenml"), "HOME": str(workplace)}
    command = [sys.executable, str(ROOT / "benchmarks" / "foreign.py"), "--most", "7"]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^diascope-demo version \d+: \w+, trained on 270 images$", done.stdout, re.MULTILINE)
    rows = table(done.stdout)
    assert rows["own test split"][0] == rows["own, mirrored"][0] == "7"
    assert int(rows["uniform noise, grey and coloured"][1]) >= 18
