import base64
import io
import re
import time
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diascope.answers import Abstention, Familiarity
from diascope.checks import Finding
from diascope.classifier import ActivationMap, ClassifierInfo, Input, Training
from diascope.config import ChecksConfig, DatasetConfig
from diascope.dataset import DatasetInfo, ingest
from diascope.errors import InputError
from diascope.features import BackboneInfo, FeatureBlock, FeatureSpec
from diascope.metrics import Estimate, OperatingPoint, measure
from diascope.promotion import Decision
from diascope.reports import (
    backbone_page,
    candidate_page,
    classifier_page,
    data_page,
    evaluation_page,
    features_page,
    groups_page,
    report_page,
)
from diascope.results import CandidateResult, CurvePoint, Decisions, Evaluation, Mistake

WARNING = "Research use only. Not a medical device."
EVIL = "<script>alert('x')</script>\" onload=\"alert(1)"
VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}
FIGURE = re.compile(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)")


class Page(HTMLParser):
    """A parsed page: its text, tags, headings and table rows; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[tuple[int, str]] = []
        self.rows: list[list[str]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"
        self.text = " ".join("".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag in ("td", "th", "tr", "p", "li", "dt", "dd", "br", "div", "summary", "caption", "text", "title", "span"):
            self.parts.append(" ")

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag
        self.parts.append(" " if tag not in ("strong", "span", "code") else "")

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.parts.append(data)
        if self.headings and self.open and re.fullmatch(r"h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)
        if self.rows and self.rows[-1] and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, start: str, width: int = 0) -> list[str]:
        """The cells of the only row (of so many cells) whose first cell starts so, with single spaces."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows if row]
        found = [row for row in rows if row[0].startswith(start) and width in (0, len(row))]
        assert len(found) == 1, f"{len(found)} rows start with {start!r}"
        return found[0]

    def titles(self) -> list[str]:
        return [" ".join(text.split()) for _, text in self.headings]


def page_of(html: str) -> Page:
    """Parse a page and hold it to what every page must keep."""
    page = Page(html)
    assert WARNING in page.text
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", page.text), "an undefined figure is shown raw"
    assert "{{" not in html
    assert "{%" not in html
    names = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "link", "object", "embed", "base", "form"} & set(names)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], f"event handler in <{tag}>"
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert attributes.get(name, "data:").startswith("data:image/jpeg;base64,") or name not in attributes
        assert tag != "img" or attributes["alt"]
        assert tag != "th" or attributes["scope"] in ("row", "col")
        assert tag != "svg" or attributes.get("aria-hidden") == "true" or attributes["aria-label"]
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style
    assert not re.search(r"url\(|@import", style[1])
    levels = [level for level, _ in page.headings]
    assert levels.index(1) == 0
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert len(html) < 1_500_000
    return page


def png(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


class FakeDataset:
    """What pages read of a dataset, without files."""

    def __init__(self, class_names, findings=(), per_class=12, grouping="similarity", **info):
        splits = ["train"] * (per_class - 4) + ["validation"] * 2 + ["test"] * 2
        rows = [
            {"sample_id": f"{name}/{i:03}.png", "label": name, "split": split, "group": f"{name}:{i // 2}",
             "width": 40 + i, "height": 30, "mode": "L", "sha256": f"{c:032x}{i:032x}", "phash": i}
            for c, name in enumerate(class_names)
            for i, split in enumerate(splits)
        ]  # fmt: skip
        self.table = pd.DataFrame(rows)
        counts = {
            split: {name: splits.count(split) for name in class_names} for split in ("train", "validation", "test")
        }
        fields = {
            "source": "a folder", "layout": "class_folders", "class_names": list(class_names), "grouping": grouping,
            "counts": counts, "fingerprint": "f" * 64, "n_found": len(rows) + 7, "findings": list(findings),
            "splits_made": ["test", "validation"], "notices": ["Files are told by content."],
        }  # fmt: skip
        self.info = DatasetInfo(**(fields | info))

    def index(self):
        return self.table

    def read(self, sample_ids):
        known = set(self.table["sample_id"])
        assert set(sample_ids) <= known, "a page asks for an image that is not kept"
        return {name: png(sum(name.encode())) for name in sample_ids}


def candidate(name="small", score=0.861, plain=0.981, axis="weight decay", **changes) -> CandidateResult:
    x = [float(i) for i in range(1, 9)] if axis == "epoch" else [1e-3, 1e-2, 0.1, 1.0]
    fields = {
        "name": name, "backbone": "MobileNetV2", "description": "224 px; last; avg pooling; logistic head", "n": 578,
        "scores": {"auroc": score, "balanced_accuracy": 0.7, "log_loss": 0.61},
        "plain_scores": plain and {"auroc": plain, "balanced_accuracy": 0.9, "log_loss": 0.2},
        "chosen": {"epochs": 3.0} if axis == "epoch" else {"weight_decay": 0.1}, "curve_axis": axis,
        "curve": [CurvePoint(x=v, loss=0.1 + 0.1 * i, held_out_loss=0.5, held_out_auroc=0.8) for i, v in enumerate(x)],
        "milliseconds": 2.31, "gigamacs": 0.432, "megabytes": 1.64, "seconds": 12.34,
    }  # fmt: skip
    return CandidateResult(**(fields | changes))


def evaluated(names, n=120, *, absent=None, perfect=False, groups="similarity", method="cross_validation", **changes):
    """A whole evaluation with its predictions, measured by the project's own metrics."""
    rng, k = np.random.default_rng(5), len(names)
    truth = np.arange(n) % k
    if absent is not None:
        truth[truth == absent] = (absent + 1) % k
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += 50 if perfect else 1.5
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    unit = {"similarity": "inferred group", "patient": "patient", "image": "image"}[groups]
    ids = None if groups == "image" else np.arange(n) // 3
    point = OperatingPoint(positive_class=names[-1], threshold=0.4, target_sensitivity=0.9) if k == 2 else None
    kwargs = {"groups": ids, "interval_unit": unit, "operating_point": point, "uncalibrated": p, "resamples": 200}
    metrics = measure(truth, p, list(names), **kwargs)
    predicted = np.where(p[:, 1] >= 0.4, 1, 0) if k == 2 else p.argmax(axis=1)
    wrong = sorted(np.flatnonzero(predicted != truth), key=lambda i: -p[i, predicted[i]])
    samples = [f"test/{i:03}.png" for i in range(n)]
    table = pd.DataFrame({"sample_id": samples, "sha256": "", "split": "test", "label": truth, "group": ""})
    table = table.assign(**{f"p{c}": p[:, c] for c in range(k)})
    # Rows of the other split are reversed, so that a page that mixes the splits up shows other curves.
    other = table.assign(split="validation", **{f"p{c}": p[::-1, c] for c in range(k)})
    winner = candidate("wide", 0.889, 0.988)
    fields = {
        "class_names": list(names), "winner": winner, "candidates": [candidate(), winner],
        "selection": "wide won with an AUROC of 0.889.", "metric": "auroc", "method": method, "groups": groups,
        "temperature": 1.37, "validation": metrics, "test": metrics, "dataset_fingerprint": "f" * 64, "seed": 20,
        "mistakes": [
            Mistake(
                sample_id=samples[i], truth=names[truth[i]], predicted=names[predicted[i]],
                probability=float(p[i, predicted[i]]),
            )
            for i in wrong
        ],
    }  # fmt: skip
    return Evaluation(**(fields | changes)), pd.concat([other, table], ignore_index=True)


def images_of(evaluation) -> dict[str, bytes]:
    return {mistake.sample_id: png(i) for i, mistake in enumerate(evaluation.mistakes)}


FIVE = ["atelectasis", "effusion", "infiltration", "normal", "pneumonia"]


def test_evaluation_page_has_every_section_and_every_figure_with_its_interval():
    evaluation, predictions = evaluated(FIVE)
    page = page_of(evaluation_page(evaluation, predictions, images_of(evaluation)))
    sections = ["All figures", "By class", "ROC and precision-recall curves", "Confusion matrix", "Calibration"]
    sections += ["Worst mistakes", "Candidates", "How to repeat this"]
    assert [title for title in page.titles() if title in sections] == sections
    assert "Operating point" not in page.titles()
    test = evaluation.test
    for name, estimate in [("AUROC", test.auroc), ("Brier", test.brier), ("Calibration error, before", test.ece)]:
        shown = f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
        assert page.row(name, 3)[1] == shown
    assert page.row("Majority baseline")[1] == "0.200"
    for row in test.per_class:
        cells = next(cells for cells in page.rows if cells and cells[0] == row.name and len(cells) == 8)
        assert cells[1] == str(row.n)
        assert all(FIGURE.fullmatch(cell) for cell in cells[2:])
        assert cells[2].startswith(f"{row.auroc.value:.3f}")
        assert f"{row.name} (n = {row.n}, AUROC" in page.text


def test_intervals_say_what_they_are_over():
    def text(groups: str) -> str:
        evaluation, predictions = evaluated(FIVE, groups=groups)
        return page_of(evaluation_page(evaluation, predictions, {})).text

    similarity, patient, image = text("similarity"), text("patient"), text("image")
    assert "95 % intervals from 200 bootstrap resamples of 40 inferred groups with 120 images" in similarity
    assert "Groups are inferred from similarity and are not patients" in similarity
    assert "of 40 patients with 120 images" in patient
    assert "inferred" not in patient
    assert "bootstrap resamples of 120 images" in image
    assert "true uncertainty is larger" in image


def test_confusion_matrix_shows_counts_and_shares_by_true_class():
    evaluation, predictions = evaluated(FIVE)
    page = page_of(evaluation_page(evaluation, predictions, {}))
    for name, counts in zip(FIVE, evaluation.test.confusion, strict=True):
        cells = next(cells for cells in page.rows if cells and cells[0] == name and len(cells) == 7)
        assert cells[1:6] == [f"{n}{n / sum(counts):.2f}" for n in counts]
        assert cells[6] == str(sum(counts))


def test_candidates_stand_side_by_side_with_the_leak_and_the_winner_marked():
    evaluation, predictions = evaluated(FIVE)
    page = page_of(evaluation_page(evaluation, predictions, {}))
    table = [[" ".join(cell.split()) for cell in row] for row in page.rows if len(row) == 9 and "MobileNetV2" in row[0]]
    assert [row[1:] for row in table] == [
        ["578", "0.861", "0.981", "0.120", "0.432", "2.3", "12.3", "1.6"],
        ["578", "0.889", "0.988", "0.099", "0.432", "2.3", "12.3", "1.6"],
    ]
    assert ["winner" in row[0] for row in table] == [False, True]
    assert page.text.count("Chosen weight decay 0.1") == 2
    assert page.text.count("224 px; last; avg pooling; logistic head") == 2
    assert evaluation.selection in page.text
    assert "The difference measures the leak" in page.text


def test_candidates_without_plain_scores_are_not_measured_rather_than_empty():
    scratch = candidate("scratch", 0.8, None, axis="epoch")
    evaluation, predictions = evaluated(FIVE, candidates=[candidate("wide", 0.889, 0.988), scratch])
    page = page_of(evaluation_page(evaluation, predictions, {}))
    assert page.row("scratch")[3:5] == ["not measured", "not measured"]
    alone, predictions = evaluated(FIVE, candidates=[scratch], winner=scratch)
    assert "image by image" not in page_of(evaluation_page(alone, predictions, {})).text


def test_validation_split_is_not_called_out_of_fold():
    evaluation, predictions = evaluated(FIVE, method="validation")
    text = page_of(evaluation_page(evaluation, predictions, {})).text
    assert "on the validation split, on training data alone" in text
    assert "out-of-fold" not in text


def decisions(**changes) -> Decisions:
    fields = {
        "n": 120, "n_ok": 97, "n_uncertain": 19, "n_out_of_distribution": 4,
        "ok": Estimate(value=0.808, low=0.73, high=0.87), "uncertain": Estimate(value=0.158, low=0.1, high=0.23),
        "out_of_distribution": Estimate(value=0.033, low=0.013, high=0.083),
        "accuracy": Estimate(value=0.912, low=0.84, high=0.953), "auroc": Estimate(value=0.987, low=0.95, high=0.995),
        "accuracy_of_uncertain": Estimate(value=0.611, low=0.4, high=0.79),
        "familiarity": Familiarity(method="A distance (Somebody 2018)", threshold=18.392, percentile=99, n=577),
        "abstention": Abstention(low=0, high=0.555, share=0.0988),
    }  # fmt: skip
    return Decisions(**(fields | changes))


def test_the_page_tells_how_often_it_answers_and_how_well():
    evaluation, predictions = evaluated(FIVE, decisions=decisions())
    page = page_of(evaluation_page(evaluation, predictions, {}))
    assert "Uncertain and unfamiliar images" in page.titles()
    assert page.row("ok")[1:] == ["97", "0.808 (0.730 to 0.870)", "0.912 (0.840 to 0.953)"]
    assert page.row("uncertain")[1:] == ["19", "0.158 (0.100 to 0.230)", "0.611 (0.400 to 0.790)"]
    assert page.row("out_of_distribution")[1:] == ["4", "0.033 (0.013 to 0.083)", "not of use"]
    assert "AUROC of the images that are answered: 0.987 (0.950 to 0.995)" in page.text
    assert "the most probable class has a probability below 0.555, as for 9.88 % of held-out training" in page.text
    assert "above 18.39, the 99th percentile of 577 held-out training images. A distance (Somebody 2018)" in page.text


def test_the_page_of_two_classes_tells_the_band_and_older_records_have_no_such_section():
    band = Abstention(low=0.23, high=0.46, share=0.1)
    evaluation, predictions = evaluated(["no", "yes"], decisions=decisions(abstention=band, familiarity=None))
    page = page_of(evaluation_page(evaluation, predictions, {}))
    assert "the probability of “yes” is between 0.230 and 0.460" in page.text
    assert "never: no reference statistics are stored" in page.text
    older = page_of(evaluation_page(*evaluated(["no", "yes"]), {}))
    assert "Uncertain and unfamiliar images" not in older.titles()


def test_two_classes_show_the_operating_point_and_one_curve():
    evaluation, predictions = evaluated(["no", "yes"])
    html = evaluation_page(evaluation, predictions, {})
    page = page_of(html)
    assert "Operating point" in page.titles()
    point = evaluation.test.operating_point
    assert "called “yes” where its probability is at least 0.400" in page.text
    assert f"sensitivity {point.sensitivity.value:.3f} ({point.sensitivity.low:.3f} to" in page.text
    assert len(curve_points(html, "ROC")) == 1
    ring = next(attributes for tag, attributes in page.tags if tag == "circle")
    x, y = 46 + 300 * (1 - point.specificity.value), 10 + 300 * (1 - point.sensitivity.value)
    assert (float(ring["cx"]), float(ring["cy"])) == pytest.approx((x, y), abs=0.06)


def curve_points(html: str, title: str) -> list[list[tuple[float, float]]]:
    """Pixel positions of the lines of one plot, without grid and reference lines."""
    svg = re.search(rf"<svg[^>]*><title>{title}.*?</svg>", html, re.S)[0]
    lines = [tag for tag in re.findall(r"<polyline[^>]*>", svg) if "#767676" not in tag]
    points = [re.search(r'points="([^"]*)"', line)[1].split() for line in lines]
    return [[tuple(map(float, point.split(","))) for point in line] for line in points]


def test_curves_of_a_perfect_classifier_go_through_the_corner():
    evaluation, predictions = evaluated(["a", "b", "c"], perfect=True)
    html = evaluation_page(evaluation, predictions, {})
    roc, pr = curve_points(html, "ROC"), curve_points(html, "Precision-recall")
    assert len(roc) == len(pr) == 3
    assert all((46.0, 10.0) in line for line in roc)
    assert all((346.0, 10.0) in line for line in pr)


def test_no_mistakes():
    evaluation, predictions = evaluated(FIVE, perfect=True)
    page = page_of(evaluation_page(evaluation, predictions, {}))
    assert not evaluation.mistakes
    assert "No test image was classified wrongly." in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_mistakes_are_images_with_truth_prediction_and_probability_and_the_rest_is_listed():
    evaluation, predictions = evaluated(FIVE)
    page = page_of(evaluation_page(evaluation, predictions, images_of(evaluation)))
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    n = len(evaluation.mistakes)
    assert n > 24 == len(shown)
    assert f"{n} of 120 test images were classified wrongly" in page.text
    first = evaluation.mistakes[0]
    assert f"truth: {first.truth} predicted: {first.predicted}, {first.probability:.2f}" in page.text
    assert first.sample_id in shown[0]["alt"]
    thumbnail = Image.open(io.BytesIO(base64.b64decode(shown[0]["src"].partition(",")[2])))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (40, 30))
    assert all(mistake.sample_id in page.text for mistake in evaluation.mistakes)


def test_mistakes_without_an_image_say_so():
    evaluation, predictions = evaluated(FIVE)
    broken = {evaluation.mistakes[0].sample_id: b"no image"}
    page = page_of(evaluation_page(evaluation, predictions, broken))
    assert page.text.count("image not at hand") == 24


def test_a_class_without_test_images_is_not_defined():
    evaluation, predictions = evaluated(FIVE, absent=2)
    page = page_of(evaluation_page(evaluation, predictions, {}))
    cells = next(cells for cells in page.rows if cells and cells[0] == FIVE[2] and len(cells) == 8)
    assert cells[1] == "0"
    assert cells[2] == cells[3] == cells[4] == "not defined"
    assert f"No curve for “{FIVE[2]}”" in page.text
    assert len(curve_points(evaluation_page(evaluation, predictions, {}), "ROC")) == 4


def test_undefined_figures_are_named_so():
    nowhere = Estimate(value=None)
    evaluation, predictions = evaluated(FIVE)
    fields = ["auroc", "auprc", "accuracy", "balanced_accuracy", "brier", "log_loss", "ece", "ece_uncalibrated"]
    test = evaluation.test.model_copy(update=dict.fromkeys(fields, nowhere) | {"reliability": []})
    broken = candidate("wide", float("nan"), float("inf"), milliseconds=float("nan"), curve=[], chosen={"c": np.nan})
    changes = {"test": test, "candidates": [broken], "winner": broken, "temperature": float("nan")}
    page = page_of(evaluation_page(evaluation.model_copy(update=changes), predictions, {}))
    assert page.row("AUROC", 3)[1] == "not defined"
    assert page.row("wide")[2] == "not defined"
    page_of(candidate_page(broken))


def test_candidate_page():
    html = candidate_page(candidate(axis="epoch"))
    page = page_of(html)
    assert page.row("AUROC")[1:] == ["0.861", "0.981", "0.120"]
    assert page.row("log loss")[1:] == ["0.610", "0.200", "\N{MINUS SIGN}0.410"]
    assert page.row("Chosen epochs")[1] == "3"
    assert page.row("Size")[1] == "1.6 MB"
    assert "578 images" in page.text
    assert len([tag for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]) == 2
    assert html.count("loss on held-out images</span>") == 1


def dashed_lines(html: str) -> int:
    """How many plots mark what was chosen."""
    return len(re.findall(r'<polyline[^>]*stroke-dasharray="3 3"', html))


def test_what_was_chosen_is_marked_or_not_spoken_of():
    of_heads = {"logistic_decay": 0.01, "logistic_temperature": 2.0, "ridge_decay": 0.1}
    for changes, marked, said in [
        ({"axis": "epoch"}, 2, "The curve is that of the first fold"),
        ({}, 2, "The dashed vertical line"),
        ({"chosen": of_heads}, 2, "The curve is that of the logistic head. The dashed vertical line"),
        ({"chosen": {"weight_decay": 0.5}}, 0, ""),
        ({"chosen": {}}, 0, ""),
    ]:
        html = candidate_page(candidate(**changes))
        assert dashed_lines(html) == marked
        text = page_of(html).text
        assert said in text
        assert ("dashed vertical line" in text) == (marked > 0)
    marks = re.findall(r'<polyline points="([^"]*)"[^>]*"3 3"', candidate_page(candidate(chosen=of_heads)))
    second = 52 + 292 * (1 + 0.09) / 3.18  # of four settings, in a frame of 292 with a margin of 3 % of their range
    assert float(marks[0].split(",")[0]) == pytest.approx(second, abs=0.1)


def test_candidate_page_with_a_single_setting():
    page_of(candidate_page(candidate(curve=[CurvePoint(x=0.1, loss=0.3)], plain_scores=None)))


def test_data_page_shows_counts_samples_sizes_and_how_splits_were_made():
    dataset = FakeDataset(FIVE)
    page = page_of(data_page(dataset))
    sections = ["Classes and splits", "Sample images", "What was checked", "Findings", "Image sizes and modes"]
    assert [title for title in page.titles() if title in sections] == sections
    for name in FIVE:
        assert name in page.titles()
        rows = [row for row in page.rows if row and row[0] == name]
        assert rows[0][1:6] == ["8", "2", "2", "12", "0.200"]
        assert rows[1][1:] == ["40 / 45 / 51", "30 / 30 / 30", "12"]
    assert page.row("all classes")[1:5] == ["40", "10", "10", "60"]
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 5 * 6
    assert "Image files found 67" in page.text
    assert "Left out 7" in page.text
    assert "Nothing was found." in page.text
    assert "The data brought no splits. The test and validation splits were made" in page.text
    assert "Groups are inferred from similarity and are not patients: 30 groups" in page.text
    assert "Files are told by content." in page.text


def test_data_page_with_patients():
    page = page_of(data_page(FakeDataset(FIVE, grouping="patient", splits_made=["validation"])))
    assert "30 patients known" in page.text
    assert "inferred" not in page.text
    assert "The data brought its train and test splits. The validation split was made" in page.text


def test_groups_across_splits_are_named():
    dataset = FakeDataset(["a", "b"], grouping="patient")
    dataset.table.loc[dataset.table["sample_id"].isin(["a/000.png", "a/011.png"]), "group"] = "patient 7"
    page = page_of(data_page(dataset))
    assert "1 patient has images in more than one split." in page.text
    assert "patient patient 7 (train, test): a/000.png, a/011.png" in page.text


def test_samples_are_of_different_groups_and_of_training_first():
    dataset = FakeDataset(["a", "b"])
    alts = [attributes["alt"] for tag, attributes in page_of(data_page(dataset)).tags if tag == "img"]
    shown = dataset.table[dataset.table["sample_id"].isin([alt.partition(": ")[2] for alt in alts])]
    assert len(alts) == len(shown) == 12
    assert shown.groupby("label")["group"].nunique().tolist() == [6, 6]


def test_data_page_does_not_depend_on_the_order_of_rows():
    dataset, shuffled = FakeDataset(FIVE), FakeDataset(FIVE)
    shuffled.table = shuffled.table.sample(frac=1, random_state=3)
    assert data_page(dataset) == data_page(shuffled)


def test_findings_name_every_file_and_where_it_is_now():
    findings = [
        Finding(
            kind="leaks", files=["a/000.png", "gone.png"], action="dropped", detail="Twice.", split="test", n_dropped=1
        ),
        Finding(kind="unreadable", files=["cut.png"], action="dropped", detail="cut.png is cut off.", n_dropped=1),
        Finding(kind="near_duplicates", files=["a/001.png", "a/011.png"], action="kept", detail="Alike.", split="test"),
        Finding(kind="imbalance", files=[], action="kept", detail="Class a is larger."),
    ]  # fmt: skip
    page = page_of(data_page(FakeDataset(["a", "b"], findings)))
    assert page.row("a/000.png")[0] == "a/000.png train, a gone.png left out"
    assert page.row("a/000.png")[1:] == ["Twice.", "dropped"]
    assert page.row("cut.png")[0] == "cut.png left out"
    leaks = page.row("Leaks between splits")
    assert leaks[1:] == ["1", "2", "1"]
    assert "Left out: 1 in test." in leaks[0]
    assert page.row("Blank images")[1] == "none found"
    assert "no single file" in page.text
    assert "Near twins across splits" in page.titles()
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alts[-2:] == ["train: a/001.png", "test: a/011.png"]


def test_a_thousand_findings_are_folded_complete_and_quick():
    findings = [
        Finding(kind="duplicates", files=[f"kept/{i}.png", f"copy/{i}.png"], action="dropped", detail="Twice.")
        for i in range(999)
    ]  # fmt: skip
    many = [f"alike/{i}.png" for i in range(300)]
    findings.append(Finding(kind="near_duplicates", files=many, action="kept", detail="Alike."))
    start = time.perf_counter()
    html = data_page(FakeDataset(FIVE, findings))
    assert time.perf_counter() - start < 5
    page = page_of(html)
    assert all(f"copy/{i}.png" in page.text for i in range(999))
    assert all(name in page.text for name in many)
    folded = [attributes for tag, attributes in page.tags if tag == "details"]
    assert len(folded) == 3
    assert sum("open" in attributes for attributes in folded) == 1


def test_a_hundred_classes_stay_small():
    names = [f"class {i:03}" for i in range(100)]
    page = page_of(data_page(FakeDataset(names, per_class=6)))
    assert all(any(row and row[0] == name for row in page.rows) for name in names)
    assert "Shown are the first 72 of 100 classes." in page.text
    evaluation, predictions = evaluated([f"c{i}" for i in range(30)], n=300)
    page_of(evaluation_page(evaluation, predictions, images_of(evaluation)))


def test_real_data_with_planted_defects(tmp_path):
    for number, label in enumerate(("benign", "malignant")):
        folder = tmp_path / "source" / label
        folder.mkdir(parents=True)
        for i in range(20):
            (folder / f"{i:02}.png").write_bytes(png(100 * number + i))
    (tmp_path / "source/benign/broken.png").write_bytes(b"no image at all")
    (tmp_path / "source/benign/copy.png").write_bytes((tmp_path / "source/benign/03.png").read_bytes())
    config = DatasetConfig(source=str(tmp_path / "source"))
    dataset = ingest(config, ChecksConfig(), tmp_path / "source", tmp_path / "dataset", seed=1)
    page = page_of(data_page(dataset))
    assert "Image files found 42" in page.text
    assert "Left out 2" in page.text
    assert page.row("benign/broken.png")[0] == "benign/broken.png left out"
    assert page.row("benign/03.png")[0].endswith("benign/copy.png left out")


def test_features_page():
    rng = np.random.default_rng(2)
    labels = ["benign", "malignant"] * 30
    features = rng.normal(size=(60, 12)).astype(np.float32)
    features[:, 3] = 1.5
    description = {"backbone": "MobileNetV2", "image_sizes": [224, 288], "alpha": 0.35, "weights": None}
    page = page_of(features_page(features, labels, ["train"] * 50 + ["validation"] * 10, description))
    assert "60 images, 12 features each" in page.text
    assert page.row("benign")[1:5] == ["25", "5", "30", "0.500"]
    assert page.row("image sizes")[1] == "224, 288"
    assert page.row("weights")[1] == "not defined"
    assert "1 feature is the same for every image" in page.text
    assert [a["aria-label"] for tag, a in page.tags if tag == "svg" and "aria-label" in a]


def test_features_that_are_not_finite_are_counted_and_not_drawn():
    features = np.random.default_rng(2).normal(size=(10, 3)).astype(np.float32)
    features[4, 1] = np.nan
    page = page_of(features_page(features, ["a"] * 10, ["train"] * 10, {}))
    assert "1 image has features that are not finite numbers." in page.text
    assert "one of 9 images" in page.text
    tiny = page_of(features_page(features[:2], ["a", "b"], ["train"] * 2, {}))
    assert "Too few images for a scatter plot." in tiny.text


def test_features_page_refuses_lengths_that_differ():
    with pytest.raises(InputError, match="3 rows of features but 2 labels"):
        features_page(np.zeros((3, 2)), ["a", "b"], ["train"] * 3, {})


def classifier_info(names, *, test=True) -> ClassifierInfo:
    evaluation, _ = evaluated(names)
    training = Training(
        candidate={"name": "wide", "backbone": "MobileNetV2", "image_sizes": [448, 224], "alpha": None},
        chosen={"weight_decay": 0.1}, n=577, dataset_source="scans.zip", dataset_fingerprint="f" * 64,
        groups="similarity", seed=20,
    )  # fmt: skip
    return ClassifierInfo(
        name="lung", class_names=list(names), input=Input(size=448), precision="bf16", temperature=1.37,
        operating_point=evaluation.test.operating_point, activation_map=ActivationMap(grid=(14, 14), exact=False),
        training=training, validation=evaluation.validation, test=evaluation.test if test else None,
        versions={"keras": "3.15.0"}, files={"model.xml": "a" * 64},
    )  # fmt: skip


def test_classifier_page():
    info = classifier_info(["no", "yes"])
    page = page_of(classifier_page(info))
    assert info.test
    shown = f"{info.test.auroc.value:.3f} ({info.test.auroc.low:.3f} to {info.test.auroc.high:.3f})"
    assert page.text.count(f"AUROC {shown} of “yes”, n = 120") == 2  # on the test split and held out
    assert page.row("Decision")[1].startswith("“yes” where its probability is at least 0.400")
    assert page.row("Input")[1] == "448 by 448 pixels, RGB, uint8"
    assert page.row("Fitted on")[1] == "577 images (train and validation)"
    assert page.row("Activation map")[1].startswith("14 by 14 positions per class, in part")
    assert page.row("image sizes")[1] == "448, 224"
    assert not [row for row in page.rows if row and row[0] == "alpha"]  # not given
    assert page.row("model.xml")[1] == "a" * 64
    assert "has not been read" not in page.text


def test_classifier_page_before_the_test():
    page = page_of(classifier_page(classifier_info(FIVE, test=False)))
    assert "The test split has not been read yet." in page.text
    assert "On the test split" not in page.titles()
    assert page.row("Decision")[1] == "the most probable class"


def backbone_info() -> BackboneInfo:
    blocks = [
        FeatureBlock(size=size, layer=layer, pooling=pooling, start=start, stop=start + 100)
        for start, (size, layer, pooling) in zip(
            range(0, 600, 100),
            [(448, "last", "avg"), (448, "last", "std"), (448, "b_16", "avg"), (448, "b_16", "std"),
             (224, "last", "avg"), (224, "last", "std")],
            strict=True,
        )
    ]  # fmt: skip
    spec = FeatureSpec(
        backbone="MobileNetV2", alpha=0.35, weights="imagenet", image_sizes=[448, 224], layers=["last", "b_16"],
        pooling=["avg", "std"], feature_norm="l2", dropout=0,
    )  # fmt: skip
    return BackboneInfo(
        spec=spec, blocks=blocks, parameters=410_220, precision="f32", milliseconds=5.17, gigamacs=0.432, megabytes=1.56
    )


def test_backbone_page():
    page = page_of(backbone_page(backbone_info()))
    assert "one image in, 600 features out" in page.text
    for shown in ("Parameters 410,220 1.6 MB", "Time per image 5.2 ms", "0.432 billion multiply-adds", "Image 448"):
        assert shown in page.text
    table = [row for row in page.rows if len(row) == 4][1:]
    assert table == [
        ["last", "448 px", "avg, std", "200"],
        ["b_16", "448 px", "avg, std", "200"],
        ["last", "224 px", "avg, std", "200"],
    ]


def test_groups_page():
    groups = {f"{i:03}.png": f"alike:{i // 3}" for i in range(30)} | {"x.png": "alike:0", "y.png": "alike:99"}
    page = page_of(groups_page(groups))
    assert "Groups are inferred from similarity and are not patients." in page.text
    assert "Images 32 Groups 11 Largest group 4 images Alone 1 group of one image" in page.text
    assert [row[:2] for row in page.rows if len(row) == 3][1:] == [["1", "1"], ["2", "0"], ["3", "9"], ["4", "1"]]
    assert "alike:0: 4 images 000.png, 001.png, 002.png, x.png" in page.text
    patients = page_of(groups_page({"a.png": "p1", "b.png": "p1"}))
    assert "Groups are patients." in patients.text
    assert "inferred" not in patients.text


def test_groups_page_of_many_images_stays_small():
    groups = {f"folder/of/images/{i:06}.png": f"alike:{i % 20 if i < 50_000 else i}" for i in range(60_000)}
    html = groups_page(groups)
    page = page_of(html)
    assert "and 2,440 more" in page.text
    assert len([row for row in page.rows if len(row) == 3]) < 15
    assert len(html) < 200_000
    page_of(groups_page({}))


@pytest.mark.parametrize("promoted", [True, False])
def test_report_page_is_decision_evaluation_and_data(promoted):
    evaluation, predictions = evaluated(FIVE)
    difference = Estimate(value=-0.021, low=-0.037, high=0.004)
    figures = "AUROC -0.021, 95 % interval -0.037 to +0.004"
    reason = f"{'Promoted' if promoted else 'Not promoted'}: it is known (difference in {figures})."
    decision = Decision(promoted=promoted, case="worse", reason=reason, difference=difference, n=119)
    args = evaluation, predictions, images_of(evaluation), FakeDataset(FIVE), decision
    page = page_of(report_page(*args, "lung version 3, made on 2026-02-01"))
    assert [text for level, text in page.headings if level <= 2] == ["Model report", "Evaluation", "Data"]
    assert "Model report lung version 3, made on 2026-02-01" in page.text
    title = "Promoted to production" if promoted else "Not promoted"
    minus = "\N{MINUS SIGN}"
    shown = figures.replace("-", minus)
    assert f"{title} It is known (difference in {shown})." in page.text
    assert ("Promoted" in page.text, "Not promoted" in page.text) == (promoted, not promoted)
    assert {"By class", "Candidates", "What was checked", "Sample images"} <= set(page.titles())


def test_report_of_what_is_in_production_already_does_not_say_that_it_was_refused():
    evaluation, predictions = evaluated(["no", "yes"])
    reason = "Not promoted again: version 1, in production, gives the same answers."
    decision = Decision(promoted=False, case="identical", reason=reason)
    html = report_page(evaluation, predictions, {}, FakeDataset(["no", "yes"]), decision)
    assert "Not promoted again Version 1, in production, gives the same answers." in page_of(html).text
    assert 'class="verdict no"' not in html


def test_drawn_images_are_called_synthetic():
    evaluation, predictions = evaluated(FIVE)
    drawn, taken = FakeDataset(FIVE, source="demo"), FakeDataset(FIVE)
    for page, shown in [
        (data_page(drawn), True),
        (data_page(taken), False),
        (evaluation_page(evaluation, predictions, {}, "demo"), True),
        (evaluation_page(evaluation, predictions, {}, "demonstration.zip"), False),
        (report_page(evaluation, predictions, {}, drawn), True),
        (report_page(evaluation, predictions, {}, taken), False),
    ]:
        assert ("Synthetic images: drawn by a program" in page_of(page).text) == shown


def test_images_of_one_size_are_not_plotted():
    dataset = FakeDataset(FIVE)
    dataset.table["width"] = 40
    page = page_of(data_page(dataset))
    assert "All images have one size." in page.text
    assert not [tag for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]


def test_report_page_without_a_decision():
    evaluation, predictions = evaluated(["no", "yes"])
    page = page_of(report_page(evaluation, predictions, {}, FakeDataset(["no", "yes"]), None))
    assert "No decision about promotion was recorded." in page.text


def test_names_are_text_and_never_markup():
    names = [EVIL, "normal & sons"]
    findings = [
        Finding(kind="unreadable", files=[EVIL + ".png"], action="dropped", detail=EVIL, n_dropped=1),
        Finding(kind="imbalance", files=[], action="kept", detail=EVIL),
    ]
    dataset = FakeDataset(names, findings, source=EVIL, notices=[EVIL])
    evil = candidate(EVIL, description=EVIL, backbone=EVIL, chosen={EVIL: 1.0}, curve_axis=EVIL)
    evaluation, predictions = evaluated(names, candidates=[evil], winner=evil, selection=EVIL)
    mistakes = [mistake.model_copy(update={"sample_id": EVIL}) for mistake in evaluation.mistakes]
    evaluation = evaluation.model_copy(update={"mistakes": mistakes})
    decision = Decision(promoted=True, case="first", reason=EVIL)
    features = np.random.default_rng(0).normal(size=(6, 4))
    pages = [
        data_page(dataset),
        candidate_page(evil),
        evaluation_page(evaluation, predictions, {EVIL: png(1)}),
        features_page(features, [EVIL] * 6, [EVIL] * 6, {EVIL: EVIL}),
        groups_page({EVIL: EVIL}),
        report_page(evaluation, predictions, {EVIL: png(1)}, dataset, decision, EVIL),
    ]
    for html in pages:
        page = page_of(html)
        assert "<script" not in html
        assert "<script>alert('x')</script>" in page.text


def test_pages_are_the_same_each_time():
    evaluation, predictions = evaluated(FIVE)
    args = evaluation, predictions, images_of(evaluation), FakeDataset(FIVE), None
    assert report_page(*args) == report_page(*args)
