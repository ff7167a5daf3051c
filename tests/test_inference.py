"""Does a batch answer as the classifier does, whatever is in it and however often it is interrupted?"""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from test_reports import page_of
from tiny import CLASSES, classifier, png, stripes

from diascope.answers import Abstention
from diascope.classifier import Classifier
from diascope.config import ArchiveLimits
from diascope.errors import InputError
from diascope.inference import CHUNK, Tally, chunks, predict_all
from diascope.inference_images import Images, Item, LocalImages, open_images
from diascope.inference_outcome import BatchOutcome, print_table
from diascope.inference_results import BINS, TABLE, BatchInfo, PredictedImages
from diascope.inference_summary import find_examples, store_batch, summarise
from diascope.inference_table import check_output, row, schema, write_output, write_rows
from diascope.metrics import OperatingPoint
from diascope.reports import inference_page

ROOT = Path(__file__).resolve().parent.parent
N = 2 * CHUNK + 40
BROKEN = {7: b"no image", 8: b"", 300: png(stripes(0, 1))[:200], N - 1: b"\x89PNG\r\n\x1a\n"}


@pytest.fixture(scope="module")
def model() -> Classifier:
    """With a band in which it does not decide."""
    found = Classifier(classifier(1.0).root)
    found.info = found.info.model_copy(update={"abstention": Abstention(low=0.0, high=0.6, share=0.1)})
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two chunks of images, about 1 % of them broken."""
    root = tmp_path_factory.mktemp("images")
    for i in range(N):
        (root / f"{i:04}.png").write_bytes(BROKEN.get(i) if i in BROKEN else png(stripes(i % 2, i)))
    return root


def opened(folder: Path) -> LocalImages:
    return LocalImages(folder, sorted(path.name for path in folder.iterdir()))


def predict(model: Classifier, images: Images, root: Path, **options: object) -> tuple[pd.DataFrame, Tally]:
    settings = {"model": "small", "version": 3, "max_pixels": 10**6} | options
    tally = predict_all(model, images, root / TABLE, root / "kept", **settings)
    return pd.read_parquet(root / TABLE), tally


@pytest.fixture(scope="module")
def whole(model: Classifier, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table, tally = predict(model, opened(folder), tmp_path_factory.mktemp("whole"))
    assert (tally.n, tally.n_new) == (N, N)
    return table


# Answers


def test_a_batch_answers_what_the_classifier_answers(model: Classifier, folder: Path, whole: pd.DataFrame) -> None:
    good = whole[whole["status"] != "error"]
    answers = list(model.answers(folder / name for name in good["file"]))
    assert good["label"].tolist() == [answer.label for answer in answers]
    assert good["status"].tolist() == [answer.decision for answer in answers]
    assert set(good["status"]) == {"ok", "uncertain"}
    for name in CLASSES:
        assert good[f"probability_{name}"].tolist() == [answer.probabilities[name] for answer in answers]
    assert good["probability"].tolist() == [answer.probability for answer in answers]


def test_every_file_has_its_row_and_a_broken_one_its_reason(folder: Path, whole: pd.DataFrame) -> None:
    assert whole["file"].tolist() == sorted(path.name for path in folder.iterdir())
    broken = whole[whole["status"] == "error"]
    assert broken.index.tolist() == sorted(BROKEN)
    assert broken["label"].isna().all()
    assert broken[[f"probability_{name}" for name in CLASSES]].isna().all(axis=None)
    assert broken["error"].tolist()[:2] == [
        "0007.png is not an image that can be read (PNG, JPEG, BMP, TIFF, WebP, GIF and DICOM are).",
        "0008.png is empty.",
    ]
    assert "damaged or incomplete" in broken["error"].tolist()[2]
    assert whole[whole["status"] != "error"]["error"].isna().all()
    assert set(whole["model"]) == {"small"}
    assert set(whole["model_version"]) == {3}


def test_where_nothing_is_an_image_the_first_reason_is_told(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).write_bytes(b"x")
    with pytest.raises(InputError, match="Of 2 files none could be predicted, the first because a is not an image"):
        predict(model, opened(tmp_path / "in"), tmp_path)


class Endless(Images):
    """The same image again and again; counts how many were read, and how many lie between reading and the table."""

    def __init__(self, n: int) -> None:
        self.n, self.read_so_far = n, 0
        self._data = png(stripes(0, 0))

    def __len__(self) -> int:
        return self.n

    def items(self) -> Iterator[Item]:
        return (Item(f"{i:05}", "") for i in range(self.n))

    def read(self, item: Item, max_pixels: int) -> bytes:
        self.read_so_far += 1
        return self._data


def test_only_a_few_images_are_held(model: Classifier, tmp_path: Path) -> None:
    from diascope.engine import BURST, cpu_count
    from diascope.inference import answered

    images = Endless(500)
    for done, _ in enumerate(answered(model, images, images.items(), 10**6), start=1):
        assert images.read_so_far - done <= 8 * cpu_count() + BURST


def test_progress_tells_rate_and_share(model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diascope.inference.TOLD", 0.0)
    told: list[tuple[str, int, int | None]] = []
    _, tally = predict(model, Endless(300), tmp_path, progress=lambda *said: told.append(said))
    assert [done for _, done, _ in told] == list(range(1, 301))
    assert all(what.endswith(" images/s,") and total == 300 for what, _, total in told)
    assert tally.images_per_second == pytest.approx(300 / tally.seconds)


# Interrupts


def test_after_an_interrupt_only_what_is_missing_is_predicted(
    model: Classifier, folder: Path, whole: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        if done > CHUNK + 30:
            raise KeyboardInterrupt

    monkeypatch.setattr("diascope.inference.TOLD", 0.0)
    with pytest.raises(KeyboardInterrupt):
        predict(model, opened(folder), tmp_path, progress=interrupt)
    assert not (tmp_path / TABLE).exists()
    table, tally = predict(model, opened(folder), tmp_path)
    pd.testing.assert_frame_equal(table, whole)
    assert N - CHUNK - 31 <= tally.n_new < N
    assert not (tmp_path / "kept").exists()


SLOW = """
import sys, time
from pathlib import Path
from diascope.classifier import Classifier
from diascope.inference import predict_all
from diascope.inference_images import LocalImages

root, folder, kept = map(Path, sys.argv[1:])

class Slow(LocalImages):
    def read(self, item, max_pixels):
        time.sleep(0.004)
        return super().read(item, max_pixels)

images = Slow(folder, sorted(path.name for path in folder.iterdir()))
model = Classifier.load(root)
predict_all(model, images, kept.with_name("predictions.parquet"), kept, model="small", version=3, max_pixels=10**6)
"""


def test_a_killed_process_leaves_nothing_half_made(folder: Path, tmp_path: Path) -> None:
    stored, kept = classifier(1.0), tmp_path / "kept"
    arguments = [sys.executable, "-c", SLOW, str(stored.root), str(folder), str(kept)]
    child = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not list(kept.glob("*.parquet")):
        assert child.poll() is None, child.stderr.read().decode()
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    found = len(list(kept.glob("*.parquet")))
    table, tally = predict(stored, opened(folder), tmp_path)
    assert tally.n_new < N
    assert found >= 1
    (tmp_path / "other").mkdir()
    plain, _ = predict(stored, opened(folder), tmp_path / "other")
    pd.testing.assert_frame_equal(table, plain)


def interrupted(model: Classifier, images: Images, root: Path, **options: object) -> None:
    """All chunks are there, and the table is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diascope.inference.join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict(model, images, root, **options)


def test_a_file_that_changed_or_came_is_predicted_with_its_chunk_alone(model: Classifier, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i in range(600):
        (root / f"{i:04}.png").write_bytes(png(stripes(i % 2, 0)))
    interrupted(model, opened(root), tmp_path)
    (root / "0100.png").write_bytes(b"no longer an image")
    (root / "0100a.png").write_bytes(png(stripes(0, 1)))
    table, tally = predict(model, opened(root), tmp_path)
    assert len(table) == 601
    assert table.loc[table["file"] == "0100.png", "status"].tolist() == ["error"]
    assert tally.n_new <= 2 * CHUNK < 600


def test_another_model_or_version_does_not_take_what_is_kept(model: Classifier, folder: Path, tmp_path: Path) -> None:
    interrupted(model, opened(folder), tmp_path)
    _, tally = predict(model, opened(folder), tmp_path, version=4)
    assert tally.n_new == N


def test_files_that_were_too_large_are_looked_at_again_where_more_is_allowed(model: Classifier, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i in range(3):
        (root / f"{i}.png").write_bytes(png(stripes(i % 2, i)))
    interrupted(model, opened(root), tmp_path, max_pixels=1000)
    table, tally = predict(model, opened(root), tmp_path)
    assert tally.n_new == 3
    assert "error" not in set(table["status"])


def test_a_part_that_was_cut_off_is_made_anew(
    model: Classifier, folder: Path, whole: pd.DataFrame, tmp_path: Path
) -> None:
    interrupted(model, opened(folder), tmp_path)
    part = sorted((tmp_path / "kept").glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:50])
    table, tally = predict(model, opened(folder), tmp_path)
    assert 0 < tally.n_new <= CHUNK
    pd.testing.assert_frame_equal(table, whole)


def test_chunks_keep_the_order_and_their_bounds() -> None:
    items = [Item(f"{i}", "") for i in range(2000)]
    found = list(chunks(items))
    assert [item for chunk in found for item in chunk] == items
    assert max(map(len, found)) <= CHUNK
    assert list(chunks([])) == []


# The table


def rows(n: int = 3) -> list[dict]:
    return [row(f"{i}.png", 'broken, as "they" say', CLASSES, "small", 1) for i in range(n)]


@pytest.fixture
def stored_batch(model: Classifier, folder: Path, whole: pd.DataFrame, tmp_path: Path) -> PredictedImages:
    root = tmp_path / "batch"
    root.mkdir()
    whole.to_parquet(root / TABLE)
    return store_batch(batch_info(), opened(folder), root, 10**6)


def batch_info(point: OperatingPoint | None = None) -> BatchInfo:
    return BatchInfo(
        source="/data/in",
        model="small",
        version=3,
        class_names=CLASSES,
        positive_class=point.positive_class if point else None,
        threshold=point.threshold if point else None,
        precision="f32",
        n=N,
        n_new=N,
        seconds=2.0,
        images_per_second=N / 2,
    )


def test_csv_says_what_parquet_says(stored_batch: PredictedImages, whole: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        page = write_output(stored_batch.table, "<page>", tmp_path / name)
        assert page.read_text() == "<page>"
    text = pd.read_csv(tmp_path / "out.csv")
    binary = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(binary, whole)
    pd.testing.assert_frame_equal(text, whole, check_dtype=False)
    with (tmp_path / "out.csv").open(newline="") as file:
        written = [line["probability"] for line in csv.DictReader(file)]
    assert [float(each or "nan") for each in written] == pytest.approx(whole["probability"], rel=0, abs=0, nan_ok=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch", "out.csv", "out.html", "out.parquet"]


def test_names_that_are_no_utf8_and_quotes_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b'caf\xe9, "1".png')
    write_rows([row(name, "no image\nat all", CLASSES, "small", 1)], schema(CLASSES), tmp_path / TABLE)
    write_output(tmp_path / TABLE, "", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (read,) = csv.DictReader(file)
    assert read["file"] == 'caf\ufffd, "1".png'
    assert read["error"] == "no image\nat all"


def test_a_disk_that_takes_nothing_leaves_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(rows(), schema(CLASSES), tmp_path / TABLE)
    (tmp_path / "out.csv").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diascope.inference_table._write", full)
    with pytest.raises(InputError, match=r"out\.csv' cannot be written: the disk is full"):
        write_output(tmp_path / TABLE, "", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", TABLE]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("out.xlsx", "say .parquet or .csv"),
        ("out", "say .parquet or .csv"),
        ("nowhere/out.csv", "there is no folder"),
        ("folder.csv", "is a folder; name another file"),
        (os.fsdecode(b"caf\xe9.csv"), "is not UTF-8"),
    ],
)
def test_an_output_that_cannot_be_is_one_sentence(tmp_path: Path, output: str, said: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=said):
        check_output(tmp_path / output)


def test_neither_the_source_nor_a_folder_is_written_over(tmp_path: Path) -> None:
    paths = tmp_path / "list.csv"
    paths.write_text("file\na.png\n")
    check_output(paths, "elsewhere.csv")
    with pytest.raises(InputError, match="this is what is to be predicted"):
        check_output(tmp_path / "." / "list.csv", str(paths))
    (tmp_path / "list.html").mkdir()
    with pytest.raises(InputError, match=r"list\.html' is a folder"):
        check_output(paths)


def test_an_output_in_the_source_is_no_image_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(stripes(0, 1)))
    write_rows(rows(), schema(CLASSES), tmp_path / TABLE)
    for name in ("out.csv", "out.parquet"):
        write_output(tmp_path / TABLE, "", tmp_path / name)
    assert [item.name for item in open_images(str(tmp_path), ArchiveLimits()).items()] == ["a.png"]


def test_a_cache_that_cannot_be_written_is_named(model: Classifier, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file/kept' cannot be read or written: Not a directory"):
        predict_all(
            model,
            opened(folder),
            tmp_path / TABLE,
            tmp_path / "file" / "kept",
            model="small",
            version=1,
            max_pixels=10**6,
        )


def test_a_folder_that_cannot_be_written_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match="cannot be written"):
        check_output(tmp_path / "out.csv")


# The summary


def test_the_summary_counts_every_file_once(stored_batch: PredictedImages, whole: pd.DataFrame) -> None:
    summary = summarise(stored_batch)
    assert summary.statuses == {
        status: int((whole["status"] == status).sum()) for status in ("ok", "uncertain", "out_of_distribution", "error")
    }
    for name in CLASSES:
        own = whole[whole["label"] == name]
        assert summary.counts[name] == {s: int((own["status"] == s).sum()) for s in summary.counts[name]}
    assert sum(map(sum, summary.probabilities.values())) == N - len(BROKEN)
    high = whole["probability"].to_numpy() >= 1 - 1 / BINS
    assert sum(bins[-1] for bins in summary.probabilities.values()) == np.count_nonzero(high)
    assert [file for file, _ in summary.errors] == [f"{i:04}.png" for i in sorted(BROKEN)]
    assert summary.distances == []


def test_a_source_that_goes_away_at_the_end_costs_the_pictures_alone(
    model: Classifier, folder: Path, whole: pd.DataFrame, tmp_path: Path
) -> None:
    class Gone(LocalImages):
        def read(self, item: Item, max_pixels: int) -> bytes:
            raise InputError("the bucket answers no more")

    whole.to_parquet(tmp_path / TABLE)
    stored = store_batch(batch_info(), Gone(folder, sorted(whole["file"])), tmp_path, 10**6)
    assert len(stored.examples.uncertain) == 12
    assert not any(each.picture for each in stored.examples.uncertain)


def test_classes_of_any_name_are_printed(stored_batch: PredictedImages, tmp_path: Path) -> None:
    summary = summarise(stored_batch)
    names = ["mass [left]", "mass [/b] right"]
    counts = dict(zip(names, summary.counts.values(), strict=True))
    found = summary.model_copy(update={"counts": counts})
    outcome = BatchOutcome("run", "completed", "local", found, tmp_path / "a.csv", tmp_path / "a.html", 1.0)
    printed = io.StringIO()
    print_table(outcome, Console(file=printed, width=100))
    assert all(name in printed.getvalue() for name in names)
    assert printed.getvalue().count(summary.errors[0][0]) == 1  # the reason names the file


def test_what_is_shown_is_nearest_to_being_decided_otherwise(
    stored_batch: PredictedImages, whole: pd.DataFrame
) -> None:
    good = whole[whole["status"] != "error"]
    shown = stored_batch.examples.uncertain
    assert [each.probability for each in shown] == sorted(good["probability"])[:12]
    assert all(each.picture.startswith("data:image/jpeg;base64,") for each in shown)
    assert stored_batch.examples.foreign == []

    point = OperatingPoint(positive_class=CLASSES[1], threshold=0.9, target_sensitivity=0.9)
    margins = (good[f"probability_{CLASSES[1]}"] - 0.9).abs()
    near = find_examples(stored_batch.table, batch_info(point)).uncertain
    assert {each.file for each in near} == set(good.loc[margins.nsmallest(12).index, "file"])


def test_the_furthest_come_first(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "file": [f"{i}.png" for i in range(30)],
            "label": CLASSES[0],
            "probability": 0.7,
            **{f"probability_{name}": 0.5 for name in CLASSES},
            "status": ["out_of_distribution" if i > 20 else "ok" for i in range(30)],
            "distance": [i / 20 for i in range(30)],
            "error": None,
        }
    )
    table.to_parquet(tmp_path / TABLE)
    found = find_examples(tmp_path / TABLE, batch_info())
    assert [each.file for each in found.foreign] == [f"{i}.png" for i in range(29, 17, -1)]
    assert all(each.status == "ok" for each in found.uncertain)


def test_the_page_stands_alone_and_trusts_no_file_name(stored_batch: PredictedImages) -> None:
    summary = summarise(stored_batch)
    evil = "<script>alert(1)</script>.png"
    summary = summary.model_copy(update={"errors": [(evil, f"{evil} is empty."), *summary.errors]})
    page = page_of(inference_page(summary, stored_batch.examples))
    assert f"{evil} is empty." in page.text
    assert f"{N:,} files" in page.text
    assert "small version 3" in page.text
    for name in CLASSES:
        total = sum(summary.counts[name].values())
        assert any(cells[0] == name and f"{total:,}" in cells for cells in page.rows)
    assert sum(tag == "img" for tag, _ in page.tags) == 12


def test_a_page_without_any_answer_is_a_page(tmp_path: Path) -> None:
    write_rows(rows(), schema(CLASSES), tmp_path / TABLE)
    empty = store_batch(batch_info(), LocalImages(tmp_path, []), tmp_path, 10**6)
    page = page_of(inference_page(summarise(empty), empty.examples))
    assert "Nothing was predicted." in page.text
    assert not any("lack" in (dict(attributes).get("class") or "").split() for _, attributes in page.tags)
    assert json.loads((tmp_path / "examples.json").read_text()) == {"uncertain": [], "foreign": []}
