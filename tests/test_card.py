"""Does the model card say what was measured, the same in every form, and nothing that nobody knows?"""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tiny
from browser import needs_browser, open_browser
from test_reports import FIVE, FakeDataset, Page, candidate, classifier_info, evaluated, page_of

from diascope.answers import Abstention, Familiarity
from diascope.card import Card, make_card, markdown
from diascope.checks import Finding
from diascope.config import ChecksConfig, DatasetConfig, Experiment
from diascope.dataset import DatasetInfo, ingest
from diascope.experiment import ConfigurationError, load
from diascope.metrics import Estimate
from diascope.promotion import Decision
from diascope.reports import card_page
from diascope.results import Decisions, Evaluation
from diascope.statement import Statement

DOCS = Path(__file__).resolve().parent.parent / "docs"
TWO = ["no", "yes"]


def evaluation_of(names, **options) -> Evaluation:
    """A made-up evaluation with other figures on training data than on the test split."""
    evaluation, other = evaluated(names, **options)[0], evaluated(names, n=90)[0]
    test = evaluation.test.model_copy(update={"ece_uncalibrated": Estimate(value=0.2, low=0.1, high=0.3)})
    return evaluation.model_copy(update={"test": test, "validation": other.test})


def card_of(names=FIVE, *, dataset=None, decision=None, statement=None, info=None, **evaluation) -> Card:
    """The card of a made-up run on these classes."""
    return make_card(
        info or classifier_info(names),
        evaluation_of(names, **evaluation),
        dataset or FakeDataset(names).info,
        decision,
        name="lung-ct",
        version="3",
        created="2026-01-05",
        statement=statement,
    )


def in_words(estimate: dict) -> str:
    """An estimate of the JSON as a person writes it; formatted here, not by the program."""
    if estimate["value"] is None:
        return "not defined"
    text = f"{estimate['value']:.3f}"
    return text if estimate["low"] is None else f"{text} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def plain(text: str) -> str:
    return " ".join(re.sub(r"\\(.)", r"\1", text).split())


def from_markdown(text: str) -> dict[str, list[list[str]]]:
    """Rows of the tables under each heading."""
    tables: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| "):
            tables.setdefault(heading, []).append([plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return tables


def from_page(html: str) -> dict[str, list[list[str]]]:
    """Rows of the tables under each heading, a remark joined to its name by a comma as in Markdown."""
    tables: dict[str, list[list[str]]] = {}
    for part in html.split("<h2>")[1:]:
        heading, _, rest = part.partition("</h2>")
        rest = rest.partition("</main>")[0].partition("<footer>")[0].replace('<span class="remark">', ", ")
        rest = re.sub(r"</?(div|span|wbr|dl|dd|dt|details|summary)\b[^>]*>", "", rest)
        rows = [[" ".join(c.split()) for c in row] for row in Page(f"<div>{rest}</div>").rows]
        tables[heading] = [[re.sub(r"\s+,", ",", cell) for cell in row] for row in rows]
    return tables


def check_figures(tables: dict[str, list[list[str]]], data: dict) -> None:
    """Every number of the JSON is in the tables, in its row."""
    rows = {heading: {row[0]: row[1:] for row in rows} for heading, rows in tables.items()}
    for ours, theirs in zip(data["test"]["figures"], data["validation"]["figures"], strict=True):
        assert rows["Test"][f"{ours['name']}, {ours['about']}"] == [in_words(ours), in_words(theirs)]
    for each in data["test"]["per_class"]:
        keys = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")
        assert rows["By class"][each["name"]] == [f"{each['n']:,}", *(in_words(each[key]) for key in keys)]
    for name, counts in zip(data["class_names"], data["test"]["confusion"], strict=True):
        assert rows["Confusion matrix"][name] == [*map(str, counts), str(sum(counts))]
    calibration = data["calibration"]
    assert rows["Calibration"]["Calibration error before"] == [in_words(calibration["before"])]
    assert rows["Calibration"]["Calibration error after"] == [in_words(calibration["after"])]
    for part in (part for part in calibration["reliability"] if part["n"]):
        shown = [str(part["n"]), f"{part['confidence']:.3f}", f"{part['accuracy']:.3f}"]
        assert rows["Calibration"][f"{part['low']:.1f} to {part['high']:.1f}"] == shown
    for name in data["data"]["class_names"]:
        counts = [data["data"]["counts"][split][name] for split in ("train", "validation", "test")]
        assert rows["Data"][name] == [*map(str, counts), str(sum(counts))]
    for each in data["candidates"]:
        name = f"{each['name']} (winner)" if each["won"] else each["name"]
        score = [f"{each['score']:.3f}", f"{each['plain_score']:.3f}"]
        assert rows["Candidates"][f"{name}, {each['backbone']}"][:2] == score
    for name, digest in data["files"].items():
        assert rows["Seeds, versions and files"][f"SHA-256 of {name}"] == [digest]
    assert [row for row in tables["CLAIM 2024"] if row[0][0].isdigit()] == [
        [f"{each['item']}. {each['title']}, {each['status']}", each["text"]] for each in data["claim"]
    ]


@pytest.mark.parametrize(
    ("names", "options"),
    [(FIVE, {}), (TWO, {"groups": "patient"}), (FIVE, {"absent": 2}), (TWO, {"perfect": True})],
    ids=["five", "two", "absent", "perfect"],
)
def test_the_figures_are_the_same_in_every_form(names, options):
    card = card_of(names, **options)
    data = json.loads(card.model_dump_json())
    check_figures(from_markdown(markdown(card)), data)
    check_figures(from_page(card_page(card)), data)


@pytest.mark.parametrize("names", [FIVE, TWO], ids=len)
def test_the_json_holds_what_was_evaluated(names):
    card, evaluation = card_of(names), evaluation_of(names)
    for measured, metrics in ((card.test, evaluation.test), (card.validation, evaluation.validation)):
        assert len(measured.figures) == 10
        for each in measured.figures:
            estimate = getattr(metrics, each.key)
            assert (each.value, each.low, each.high) == (estimate.value, estimate.low, estimate.high)
        for key in ("n", "n_groups", "interval_unit", "confidence", "resamples", "per_class", "confusion"):
            assert getattr(measured, key) == getattr(metrics, key)
    right = sum(card.test.confusion[i][i] for i in range(len(names)))
    assert card.test.n_wrong == 120 - right > 0
    assert card.validation.n == 90
    assert (card.calibration.before, card.calibration.after) == (evaluation.test.ece_uncalibrated, evaluation.test.ece)
    assert card.calibration.temperature == evaluation.temperature
    assert card.decision.operating_point == evaluation.test.operating_point
    assert card.selection.reason == evaluation.selection
    assert card.seeds == {"training": 20, "evaluation": 20}
    assert card.network.n_fitted == 577


def test_a_wrong_figure_would_be_noticed():
    card = card_of()
    data = json.loads(card.model_dump_json())
    data["test"]["per_class"][3]["f1"]["high"] += 0.01
    for tables in (from_markdown(markdown(card)), from_page(card_page(card))):
        with pytest.raises(AssertionError):
            check_figures(tables, data)


def test_the_json_is_read_back_and_has_the_keys_that_programs_rely_on():
    card = card_of(TWO)
    text = card.model_dump_json()
    assert Card.model_validate_json(text) == card
    data = json.loads(text)
    assert data["model"] == {"name": "lung-ct", "version": "3", "created": "2026-01-05", "stage": "production"}
    assert data["class_names"] == TWO
    assert data["test"]["n"] == 120
    assert data["research_use_only"] == "Research use only. Not a medical device."
    named = {each["key"]: each for each in data["test"]["figures"]}
    assert {"auroc", "accuracy", "sensitivity", "specificity"} <= named.keys()
    assert named["auroc"].keys() == {"key", "name", "about", "value", "low", "high"}
    assert named["sensitivity"]["about"] == "of “yes”"
    described = set(re.findall(r"`(\w+)`", DOCS.joinpath("model_card.md").read_text(encoding="utf-8")))
    assert data.keys() - {"schema_version"} <= described


def test_a_date_is_written_without_fractions():
    made = datetime(2026, 1, 5, 12, 30, 15, 999, tzinfo=UTC)
    info, evaluation, dataset = classifier_info(TWO), evaluated(TWO)[0], FakeDataset(TWO).info
    card = make_card(info, evaluation, dataset, None, name="a", version="1", created=made)
    assert card.model.created == "2026-01-05T12:30:15+00:00"


# What nobody knows


def test_what_nobody_has_said_is_not_stated():
    card = card_of()
    assert card.intended_use == "not stated"
    assert set(card.statement.values()) == {"not stated"}
    rows = {row[0]: row[1] for row in from_markdown(markdown(card))["Where images and labels come from"]}
    assert rows["Reference standard"] == "not stated"
    assert rows["De-identification"] == "not stated"
    page = page_of(card_page(card))
    assert page.row("Annotators")[1] == "not stated"
    assert page.row("Ethics")[1] == "not stated"


def test_what_is_said_stands_in_every_form_and_answers_items():
    said = {key: f"All about {key}." for key in Statement.model_fields}
    card, silent = card_of(statement=Statement(**said)), card_of()
    text, page = plain(markdown(card)), page_of(card_page(card)).text
    for key, sentence in said.items():
        assert card.statement[key] == sentence
        assert sentence in text, key
        assert sentence in page, key
    assert "not stated" not in {each.status for each in card.claim}
    assert card.limits[:2] == ["All about out_of_scope.", "All about limitations."]
    by_item = {5: "design", 11: "de_identification", 13: "devices", 16: "annotators", 18: "agreement"}
    by_item |= {34: "registration", 36: "demographics", 42: "protocol", 44: "funding"}
    answers = {each.item: each.text for each in card.claim}
    assert {item: answers[item] for item in by_item} == {item: said[key] for item, key in by_item.items()}
    status = {each.item: each.status for each in silent.claim}
    assert [each.item for each in card.claim if each.status != status[each.item]] == [
        *(3, 5, 7, 8, 11, 13, 14, 16, 17, 18, 34, 36, 42, 43, 44)
    ]  # fmt: skip


def test_every_item_is_there_once_with_the_status_that_the_page_about_it_says():
    card = card_of()
    assert [each.item for each in card.claim] == list(range(1, 45))
    table = re.findall(r"^\| (answered|partly|not stated|not done|paper) \| .* \| (.*) \|$", _docs(), re.MULTILINE)
    listed = {status: _numbers(items.partition(";")[0]) for status, items in table}
    for status, items in listed.items():
        assert {each.item for each in card.claim if each.status == status} == items, status
    assert set().union(*listed.values()) == set(range(1, 45))


def _docs() -> str:
    return DOCS.joinpath("model_card.md").read_text(encoding="utf-8")


def _numbers(text: str) -> set[int]:
    spans = [list(map(int, span.split(" to "))) for span in text.split(", ")]
    return {number for span in spans for number in range(span[0], span[-1] + 1)}


def test_no_file_patient_or_folder_is_named():
    secret = "jane-doe"
    finding = {"files": [f"{secret}/1.png", f"{secret}/2.png"], "detail": f"{secret} twice."}
    findings = [
        Finding(kind="duplicates", action="dropped", n_dropped=1, **finding),
        Finding(kind="near_duplicates", action="kept", split="test", **finding),
        Finding(kind="leaks", action="kept", split="validation", **finding),
        Finding(kind="unreadable", action="dropped", n_dropped=1, **finding),
    ]
    notices = [f"1 of 9 patients has images in more than one split: '{secret}'.", f"2 files left out: {secret}.txt."]
    info = classifier_info(FIVE)
    settings = info.training.candidate | {"weights": f"/home/{secret}/own.weights.h5"}
    info = info.model_copy(update={"training": info.training.model_copy(update={"candidate": settings})})
    for source in (f"/home/{secret}/lungs", f"https://{secret}:key@host/lungs?token={secret}"):
        dataset = FakeDataset(FIVE, findings, notices=notices, source=source).info
        card = card_of(dataset=dataset, info=info)
        assert card.data.source.endswith("lungs")
        assert card.network.settings["weights"] == "own.weights.h5"
        for text in (card.model_dump_json(), markdown(card), card_page(card)):
            assert secret not in text
            assert "has images in more than one split" in text


# Data


def written(folder: Path, names: dict[str, int]) -> Path:
    """Striped images below `folder`; name -> which image it is."""
    for name, seed in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny.png(tiny.stripes(seed % 2, seed)))
    return folder


def ingested(tmp_path: Path, names: dict[str, int], leaks: str = "drop_test", **options: object) -> DatasetInfo:
    folder = written(tmp_path / "images", names)
    config = DatasetConfig.model_validate({"source": str(folder), **options})
    checks = ChecksConfig.model_validate({"minimum_per_class": 2, "leaks": leaks})
    return ingest(config, checks, folder, tmp_path / "dataset", 1).info


def in_splits(patients: bool) -> dict[str, int]:
    """Two classes in three splits; with `patients`, one of them is in train and in test."""
    names: dict[str, int] = {}
    for s, split in enumerate(("train", "valid", "test")):
        for i in range(8):
            patient = f"p{i // 2}{split}" if not patients or i else "p0"
            names[f"{split}/{'ab'[i % 2]}/{patient}_{i}.png"] = 100 * s + i
    return names


PATIENTS = {"patient_pattern": r"^(p\w+?)_"}


def test_splits_that_were_brought_share_patients_or_not(tmp_path):
    apart = card_of(["a", "b"], dataset=ingested(tmp_path / "apart", in_splits(False), **PATIENTS)).data
    assert (apart.disjoint, apart.splits_made) == ("patient", [])
    assert apart.separation.startswith("No patient has images on both sides")
    assert apart.kept == []
    shared = card_of(["a", "b"], dataset=ingested(tmp_path / "shared", in_splits(True), **PATIENTS)).data
    assert shared.disjoint == "image"
    assert shared.kept == ["1 of 13 patients has images in more than one split."]
    assert "Some patients are on both." in shared.separation


def test_without_patients_only_pixels_or_similar_images_are_held_apart(tmp_path):
    brought = card_of(["a", "b"], dataset=ingested(tmp_path / "brought", in_splits(False))).data
    assert brought.disjoint == "image"
    assert "Patients are not known" in brought.separation
    classes = {f"{'ab'[i % 2]}/{i}.png": i for i in range(24)}
    made = card_of(["a", "b"], dataset=ingested(tmp_path / "made", classes)).data
    assert (made.disjoint, made.splits_made) == ("inferred group", ["test", "validation"])


def test_leaks_that_were_kept_are_not_hidden(tmp_path):
    names = in_splits(False) | {"test/a/copy.png": 0}
    kept = card_of(["a", "b"], dataset=ingested(tmp_path / "kept", names, leaks="warn"))
    assert kept.data.disjoint == "not disjoint"
    assert "Some test images are, pixel for pixel, also among those that were trained on." in kept.limits
    dropped = card_of(["a", "b"], dataset=ingested(tmp_path / "dropped", names)).data
    assert dropped.disjoint == "image"
    assert [(each.kind, each.n) for each in dropped.left_out] == [("leaks", 1)]
    assert dropped.n_found - dropped.n_used == dropped.n_left_out == 1


# Limits, decision, selection


def test_limits_follow_from_the_data():
    few = card_of(["no", "yes"], n=40)
    assert any("Few test images: 20 of “no” and 20 of “yes”." in limit for limit in few.limits)
    assert not any("Few test images" in limit for limit in card_of(TWO, n=120).limits)
    drawn = card_of(dataset=FakeDataset(FIVE, source="demo").info)
    assert drawn.data.synthetic
    assert drawn.limits[0].startswith("Synthetic images")
    for text in (markdown(drawn), card_page(drawn)):
        assert text.index("Synthetic images") < text.index("Intended use")


def test_calibration_that_became_worse_is_said():
    evaluation = evaluation_of(TWO)
    test = evaluation.test.model_copy(update={"ece": Estimate(value=0.3)})
    info, dataset = classifier_info(TWO), FakeDataset(TWO).info
    evaluation = evaluation.model_copy(update={"test": test})
    worse = make_card(info, evaluation, dataset, None, name="a", version="1", created="")
    assert "made calibration worse" in worse.calibration.finding
    assert worse.calibration.finding in worse.limits
    assert "worse" not in card_of(TWO).calibration.finding


def test_the_decision_in_words_and_figures():
    abstention = Abstention(low=0.31, high=0.62, share=0.07)
    familiarity = Familiarity(method="Distance to the nearest", threshold=2.5, percentile=99, n=321)
    info = classifier_info(TWO).model_copy(update={"abstention": abstention, "familiarity": familiarity})
    card = card_of(TWO, info=info)
    assert card.decision.abstention == abstention
    page = page_of(card_page(card))
    assert "at least 0.400" in page.row("Class", 2)[1]
    uncertain, foreign = page.row("“uncertain”")[1], page.row("“out of distribution”")[1]
    assert "of “yes” between 0.310 and 0.620" in uncertain
    assert "7 % of held-out training images" in uncertain
    assert "further from the training images than the 99th percentile of 321 held-out training images" in foreign
    assert page.row("Distance")[1] == "Distance to the nearest; limit 2.500"
    assert any("marked as out of distribution; some are missed" in limit for limit in card.limits)
    assert page_of(card_page(card_of(FIVE))).row("“uncertain”")[1].startswith("never")


def test_what_it_decides_on_test_images():
    shares = {"ok": 0.8, "uncertain": 0.15, "out_of_distribution": 0.05, "accuracy": 0.91, "auroc": 0.97}
    shares |= {"accuracy_of_uncertain": 0.55}
    given = {key: Estimate(value=value, low=value - 0.04, high=value + 0.03) for key, value in shares.items()}
    counts = {"n": 120, "n_ok": 96, "n_uncertain": 18, "n_out_of_distribution": 6}
    decisions = Decisions(**counts, **given, familiarity=None, abstention=None)
    evaluation = evaluation_of(TWO).model_copy(update={"decisions": decisions})
    info, dataset = classifier_info(TWO), FakeDataset(TWO).info
    card = make_card(info, evaluation, dataset, None, name="a", version="1", created="")
    assert card.decision.test == decisions
    for tables in (from_markdown(markdown(card)), from_page(card_page(card))):
        rows = {row[0]: row[1:] for row in tables["Decision"]}
        assert rows["ok, answered"] == ["96", "0.800 (0.760 to 0.830)"]
        assert rows["uncertain, better not relied on"] == ["18", "0.150 (0.110 to 0.180)"]
        assert rows["out of distribution, here all of them false alarms"] == ["6", "0.050 (0.010 to 0.080)"]
        assert rows["Accuracy of those decided “ok”"] == ["0.910 (0.870 to 0.940)"]
        assert rows["AUROC of the same"] == ["0.970 (0.930 to 1.000)"]
        assert rows["Accuracy of those decided “uncertain”"] == ["0.550 (0.510 to 0.580), had they counted"]


def test_candidates_that_lost_and_the_gate():
    difference = Estimate(value=0.02, low=-0.01, high=0.05)
    reason = "Promoted: it is not worse, by the margin of 0.01, than version 2, in production."
    gate = Decision(promoted=True, case="not_worse", reason=reason, difference=difference, n=120)
    card = card_of(decision=gate)
    assert [(each.name, each.won) for each in card.candidates] == [("small", False), ("wide", True)]
    assert card.candidates[0].gigamacs == candidate().gigamacs
    assert card.promotion is not None
    assert card.promotion.difference == difference
    assert reason in plain(markdown(card))
    assert "No decision about promotion was recorded." in markdown(card_of())


# Pages


@pytest.mark.parametrize(
    ("names", "keys"),
    [(TWO, ("auroc", "sensitivity", "specificity", "accuracy")), (FIVE, ("auroc", "balanced_accuracy", "accuracy"))],
    ids=["two", "five"],
)
def test_what_a_reader_sees_first(names, keys):
    card = card_of(names)
    cards = page_of(card_page(card)).text.partition("Test ")[2]
    named = {each.key: each for each in card.test.figures}
    for key in keys:
        each = named[key]
        shown = f"{each.name} {in_words(each.model_dump())} {each.about}, n = 120 "
        assert cards.startswith(shown), cards[:200]
        cards = cards.removeprefix(shown)
    assert cards.startswith("In brackets: 95 % intervals.")


def test_the_page_stands_alone_and_needs_one_style_element_only():
    for names in (FIVE, TWO):
        html = card_page(card_of(names, statement=Statement(users="Dr. A & B <c>")))
        page = page_of(html)
        assert html.count("<style>") == 1
        assert not [tag for tag, attributes in page.tags if "style" in attributes]
        assert "Dr. A & B <c>" in page.text


@needs_browser
@pytest.mark.parametrize("width", [1000, 390])
def test_the_page_in_a_browser_that_allows_its_style_alone(width):
    html = card_page(
        card_of([*FIVE, "large.cell.carcinoma_left.hilum_T2_N2_M0_IIIa"], statement=Statement(users="x" * 300))
    )
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'"}
    said: list[str] = []
    asked: list[str] = []
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.route("**/*", lambda route: route.fulfill(body=html, headers=policy, content_type="text/html"))
        page.goto("http://card.test/card")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        sticky = page.evaluate("getComputedStyle(document.querySelector('.warning')).position")
    assert said == []
    assert [url for url in asked if not url.endswith("favicon.ico")] == ["http://card.test/card"]
    assert wider <= 0
    assert sticky == "sticky"  # the style is in force


def test_markdown_is_not_broken_by_names():
    names = ["a|b", "*c*", "<i>d</i>"]
    card = card_of(names, statement=Statement(users="[x](http://y) `z`\nand | more"))
    rows = from_markdown(markdown(card))
    assert [row[0] for row in rows["By class"][2:]] == names
    assert {len(row) for row in rows["By class"]} == {8}
    assert "<i>" not in markdown(card).replace("\\<i\\>", "")
    assert "[x](" not in markdown(card).replace("\\[x\\](", "")


# Where it is said


def experiment(tmp_path: Path, card: str) -> Experiment:
    path = tmp_path / "experiment.yaml"
    head = "parameters: {dataset: {source: a}, candidates: [{name: a, backbone: VGG16}], promotion: {model: m}"
    path.write_text(f"{head}, card: {card}}}")
    return load(path).parameters


def test_the_configuration_takes_free_text_alone(tmp_path):
    assert experiment(tmp_path, "{}").card == Statement()
    assert experiment(tmp_path, "{licence: ' CC0 '}").card.licence == "CC0"
    for wrong, words in (
        ("{license: CC0}", "licence"),
        ("{licence: ''}", "empty"),
        ("{licence: 1.0}", "text"),
        (f"{{licence: {'x' * 2001}}}", "2000"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            experiment(tmp_path, wrong)


def test_a_changed_sentence_trains_nothing_and_travels_with_the_version(demo_run, train):
    from zenml.client import Client

    again = train("--training", "--json", "--set", "card.intended_use=Teaching alone.")
    assert again.status == 0, again.err
    assert {name for name, seconds in again.result["seconds"]["steps"].items() if seconds > 0} == {"promote_model"}
    model = demo_run.result["model"]
    assert again.result["model"]["version"] == model["version"]
    version = Client().get_model_version(model["name"], model["version"])
    stated = Statement.model_validate(version.run_metadata["statement"])
    demo = load(Path(__file__).resolve().parent.parent / "configs" / "demo.yaml").parameters.card
    assert demo.intended_use != "Teaching alone."
    assert stated == demo.model_copy(update={"intended_use": "Teaching alone."})
