"""Do the benchmarks measure what they say?"""

import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import CLASSES, PLAIN, backbone, striped, stripes

from benchmarks import child, command_line, data, overlap, speedup, training
from benchmarks.figure import Figure, as_text, medians, plot
from diascope.images import decode, pixel_hash


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for i in range(72):
        split, label = ("train", "train", "valid", "test")[i // 2 % 4], i % 2
        path = root / split / CLASSES[label] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stripes(label, seed=i)).save(path)
    return root


def figure(ratio: float, bound: Any) -> Figure:
    return Figure("eggs", "s", {"boiled": 30.0, "fried": 10.0}, ratio, 3.0, bound, ["from one hen"])


@pytest.mark.parametrize(
    ("ratio", "bound", "met"),
    [(3.0, "at least", True), (2.9, "at least", False), (3.0, "at most", True), (3.1, "at most", False)],
)
def test_a_figure_says_whether_it_keeps_its_target(ratio: float, bound: str, met: bool) -> None:
    shown = as_text(figure(ratio, bound))
    assert figure(ratio, bound).met is met
    assert ("met" in shown, "MISSED" in shown) == (met, not met)
    assert "30.00 s" in shown
    assert "from one hen" in shown


def test_medians_are_of_runs_that_alternate() -> None:
    order: list[str] = []
    values = {"a": iter([5.0, 1.0, 2.0]), "b": count(10.0)}

    def run(name: str) -> float:
        order.append(name)
        return next(values[name])

    assert medians(3, {"a": lambda: run("a"), "b": lambda: run("b")}) == {"a": 2.0, "b": 11.0}
    assert order == ["a", "b"] * 3


def test_the_plot_has_a_panel_for_every_figure(tmp_path: Path) -> None:
    one, two = tmp_path / "new" / "one.png", tmp_path / "two.png"
    plot([figure(4, "at least")], "a machine", one)
    plot([figure(4, "at least"), figure(4, "at most")], "a machine", two)
    first, second = decode(one.read_bytes()), decode(two.read_bytes())
    assert second.height > first.height
    assert np.asarray(first).std() > 10


def test_more_demo_images_are_of_other_patients_in_the_same_classes(tmp_path: Path) -> None:
    data.write_demos(tmp_path / "one", 1)
    data.write_demos(tmp_path / "two", 2)
    few, many = (data.store(tmp_path / name, tmp_path / f"{name}-stored", demo=True) for name in ("one", "two"))
    assert many.info.class_names == few.info.class_names
    assert 1.9 < len(many.index()) / len(few.index()) < 2.1
    assert many.index()["sha256"].is_unique
    assert many.index()["group"].nunique() == 2 * few.index()["group"].nunique()


def test_overlap_compares_rates_over_the_same_images() -> None:
    found = overlap.measure(backbone(PLAIN).root, striped(), images=20, repeats=1, target=0.85)
    alone, overlapped = found.bars["engine alone"], found.bars["decoding overlapped"]
    assert alone > 0
    assert found.ratio == pytest.approx(overlapped / alone)
    assert "over 20 images" in found.notes[0]


def test_both_ways_are_timed_on_the_same_images_and_their_ratio_is_theirs_to_ours(folder: Path, tmp_path: Path) -> None:
    dataset = data.store(folder, tmp_path / "dataset", demo=False)
    options = {"demo": False, "size": 32, "epochs": 1, "repeats": 1, "precisions": ["f32"]}
    (found,) = speedup.measure(folder, dataset, **options)
    usual, ours = found.bars["usual recipe (scaled from 1 epochs)"], found.bars["ours, f32"]
    phases = {name.strip(): seconds for name, seconds in found.bars.items() if name.startswith("  ")}
    assert set(phases) == {"ingest", "export", "features", "head"}
    assert ours == pytest.approx(sum(phases.values()))
    assert found.ratio == pytest.approx(usual / ours)
    auroc = float(found.notes[1].split("recipe, ")[1].split(" by ours")[0])
    assert auroc > 0.8  # stripes one way or the other, on images that were not fitted


def test_fewer_epochs_of_the_usual_recipe_are_scaled_to_ten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = {"seconds": {"import": 5.0, "build": 1.0, "fit": 20.0}, "cpu_seconds": 42.0, "auroc": 0.7}
    asked: dict[str, Any] = {}
    monkeypatch.setattr(child, "run", lambda module, **options: asked.update(options) or measured)
    usual = speedup._usual(tmp_path, striped(), size=32, epochs=2)
    assert usual["seconds"] == {"import": 5.0, "build": 1.0, "fit": 100.0}
    assert usual["cpu_seconds"] == 210.0
    assert len(asked["table"]) == len(striped().index())


def test_a_cached_run_that_was_not_cached_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = '{"seconds": {"steps": {"ingest_data": 2.0, "promote_model": 0.5}}}'
    monkeypatch.setattr(command_line, "_output", lambda *_: f"a table\n{answer}")
    with pytest.raises(RuntimeError, match="not cached: ingest_data"):
        command_line.measure_cached(tmp_path / "cached", repeats=1)


def test_what_a_measured_process_imports_is_seen(tmp_path: Path) -> None:
    environment = command_line._isolated(tmp_path / "home")
    command_line._output([sys.executable, "-c", "import colorsys"], tmp_path, environment)
    modules = Path(environment["BENCHMARK_MODULES"]).read_text().split()
    assert "colorsys" in modules
    assert "tensorflow" not in modules
    assert not any(name.startswith("ZENML_STORE") for name in environment)


def test_peak_memory_is_of_this_process_alone() -> None:
    code = "from benchmarks.child import peak_megabytes as peak; a = peak(); b = bytearray(80 << 20); print(a, peak())"
    done = subprocess.run([sys.executable, "-c", code], cwd=child.ROOT, capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < 60
    assert 75 < after - before < 100


def test_the_command_prints_help_figures_and_refuses_unknown_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plotted = tmp_path / "training.png"
    assert training.main(["help", "--out", str(plotted)]) == 0
    out = capsys.readouterr().out
    assert "seconds until help is shown" in out
    assert "1 of 1 targets met" in out
    assert len(pixel_hash(decode(plotted.read_bytes()))) == 64
    with pytest.raises(SystemExit, match="2"):
        training.main(["hulp"])
    assert "no part 'hulp'" in capsys.readouterr().err


def test_a_batch_is_held_to_what_the_cores_can_do_and_to_the_engine_where_that_is_the_limit() -> None:
    from benchmarks.inference import compare

    about = {"milliseconds": {"engine": 1.0, "decoding": 1.0, "batch": 2.5}, "n": 10, "megabytes": 1.0}
    small = list(compare("small", {**about, "rates": {"engine": 1000.0, "decoding": 250.0, "batch": 150.0}}))
    assert [figure.bars["both on the same cores"] for figure in small] == [200.0]
    assert small[0].ratio == pytest.approx(0.75)
    assert not small[0].met
    assert "0.80 of it for the two" in small[0].notes[0]
    large = list(compare("large", {**about, "rates": {"engine": 10.0, "decoding": 250.0, "batch": 9.0}}))
    assert [figure.ratio for figure in large] == [pytest.approx(0.936), pytest.approx(0.9)]


def test_a_batch_is_measured_beside_its_parts(tmp_path: Path) -> None:
    from tiny import classifier, png, stripes

    from benchmarks import child

    for i in range(12):
        (tmp_path / f"{i:02}.png").write_bytes(png(stripes(i % 2, i)))
    found = child.run("batch", classifier=str(classifier(1.0).root), images=str(tmp_path), n=8, repeats=1)
    assert found["n"] == 8
    assert set(found["rates"]) == set(found["milliseconds"]) == {"engine", "decoding", "batch"}
    assert min(found["rates"].values()) > 0
