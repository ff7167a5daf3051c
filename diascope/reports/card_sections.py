"""What does a model card show, in which order? The same for every form that people read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from diascope.metrics import ClassMetrics, Estimate
from diascope.records import SPLITS
from diascope.reports.figures import brief, count, counted, estimate, figure, percent, score_name
from diascope.results import Decisions

if TYPE_CHECKING:
    from diascope.card.schema import Card

WORDS = {
    "de_identification": "De-identification",
    "agreement": "Agreement of annotators",
    "out_of_scope": "Out of scope",
}
USE = ("intended_use", "users", "out_of_scope")
ORIGIN = ("population", "demographics", "eligibility", "sites", "period", "devices", "design", "de_identification")
LABELS = ("reference_standard", "annotators", "agreement")
RESPONSIBLE = (
    *("ethics", "registration", "protocol", "licence", "availability", "funding", "citation", "contact"),
)  # fmt: skip
CLASS_FIGURES = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")


@dataclass(frozen=True)
class Paragraph:
    text: str
    soft: bool = False


@dataclass(frozen=True)
class Items:
    texts: list[str]


@dataclass(frozen=True)
class Facts:
    rows: list[tuple[str, str]]


@dataclass(frozen=True)
class Named:
    """The head of a row: a name, and what must be known of it."""

    name: str
    remark: str


Cell = str | Estimate | Named


@dataclass(frozen=True)
class Table:
    """Rows with a head; `words` columns from the left are text, the others figures."""

    head: list[str]
    rows: list[list[Cell]]
    caption: str = ""
    words: int = 1
    marked: int | None = None  # row
    diagonal: bool = False  # cells on it are right answers


@dataclass(frozen=True)
class Figures:
    """What is drawn where something can be drawn; elsewhere the tables say it."""

    kind: Literal["headline", "confusion", "reliability"]


Block = Paragraph | Items | Facts | Table | Figures


@dataclass(frozen=True)
class Part:
    """One heading with what stands below it."""

    title: str
    blocks: list[Block]
    folded: bool = False  # opened on demand where that can be


def parts(card: "Card") -> list[Part]:
    """Return the whole card in the order in which it is read: what for, how good, how it answers, from what."""
    return [
        Part("Intended use and limits", [Facts(_stated(card, USE)), Items(card.limits)]),
        Part("Test", _test(card)),
        Part("By class", [_by_class(card)]),
        Part("Confusion matrix", [_confusion(card)]),
        Part("Calibration", _calibration(card)),
        Part("Decision", _decision(card)),
        Part("Data", _data(card)),
        Part("Where images and labels come from", [Facts(_stated(card, (*ORIGIN, *LABELS)))]),
        Part("Candidates", _candidates(card)),
        Part("Network", [Facts(_network(card)), *_settings(card)]),
        Part("Input", [Facts(_input(card))]),
        Part("Explanation", [Paragraph(card.explanation.text), Paragraph(card.explanation.caution)]),
        Part("Promotion", [Paragraph(_promotion(card))]),
        Part("Who answers for it", [Facts(_stated(card, RESPONSIBLE))]),
        Part("Seeds, versions and files", _versions(card)),
        Part("CLAIM 2024", _claim(card), folded=True),
    ]


def summary(card: "Card") -> str:
    """Return what it is, in two sentences."""
    names = ", ".join(card.class_names)
    return (
        f"An image classifier of {counted(len(card.class_names), 'class', 'classes')} ({names}). Version "
        f"{card.model.version}, {card.model.stage}, made on {card.model.created[:10]}: candidate "
        f"{card.network.candidate} ({card.network.backbone}), fitted on {counted(card.network.n_fitted, 'image')}, "
        f"tested on {counted(card.test.n, 'image')}."
    )


def _stated(card: "Card", keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(WORDS.get(key) or key.replace("_", " ").capitalize(), card.statement[key]) for key in keys]


def _test(card: "Card") -> list[Block]:
    test, validation = card.test, card.validation
    held_out = _held_out(card)
    theirs = {each.key: each for each in validation.figures}
    rows: list[list[Cell]] = [[Named(each.name, each.about), each, theirs[each.key]] for each in test.figures]
    always = Named("Majority baseline", "accuracy of always answering the most frequent class")
    rows.append([always, figure(test.majority_baseline), figure(validation.majority_baseline)])
    head = ["figure", f"test, n = {count(test.n)}", f"{held_out}, n = {count(validation.n)}"]
    return [
        Figures("headline"),
        Table(head, rows, f"In brackets: {percent(test.confidence)} intervals."),
        Paragraph(f"Test: {test.intervals}", soft=True),
        Paragraph(f"On training data, {held_out}: {validation.intervals} The winner was chosen by them.", soft=True),
    ]


def _held_out(card: "Card") -> str:
    return "out of fold" if card.selection.method == "cross_validation" else "validation split"


def _by_class(card: "Card") -> Table:
    head = ["class", "n", "AUROC", "AUPRC", "sensitivity", "specificity", "precision", "F1"]
    caption = f"Each class against the rest, on {counted(card.test.n, 'test image')}."
    return Table(head, [_class_row(each) for each in card.test.per_class], caption)


def _class_row(each: ClassMetrics) -> list[Cell]:
    return [each.name, count(each.n), *(getattr(each, key) for key in CLASS_FIGURES)]


def _confusion(card: "Card") -> Block:
    head = ["truth", *(f"predicted {name}" for name in card.class_names), "n"]
    pairs = zip(card.class_names, card.test.confusion, strict=True)
    rows: list[list[Cell]] = [[name, *map(count, row), count(sum(row))] for name, row in pairs]
    at = " at the operating point" if card.decision.operating_point else ""
    caption = f"Rows: truth. Columns: prediction{at}. {count(card.test.n_wrong)} of {count(card.test.n)} are wrong."
    return Table(head, rows, caption, diagonal=True)


def _calibration(card: "Card") -> list[Block]:
    known = card.calibration
    rows: list[list[Cell]] = [
        [f"{part.low:.1f} to {part.high:.1f}", count(part.n), figure(part.confidence), figure(part.accuracy)]
        for part in known.reliability
        if part.n
    ]
    head = ["probability of the answer", "test images", "mean probability", "share that is right"]
    return [
        Facts(
            [
                ("Method", f"{known.method}; temperature {figure(known.temperature)}"),
                ("Calibration error before", estimate(known.before)),
                ("Calibration error after", estimate(known.after)),
            ]
        ),
        Paragraph(known.finding),
        Figures("reliability"),
        Table(head, rows, "The most probable class of each test image, after calibration."),
    ]


def _decision(card: "Card") -> list[Block]:
    rule = card.decision
    point, doubt, known = rule.operating_point, rule.abstention, rule.familiarity
    rows = [("Class", rule.label)]
    if point and point.sensitivity and point.specificity:
        reached = f"sensitivity {estimate(point.sensitivity)}, specificity {estimate(point.specificity)}"
        rows.append(("On the test split", f"{reached}, n = {count(card.test.n)}"))
    between = "never: no band was set"
    if doubt:
        named = f"of “{point.positive_class}” between {figure(doubt.low)} and" if point else "of the answer below"
        share = f"this leaves out {percent(doubt.share)} of held-out training images"
        between = f"probability {named} {figure(doubt.high)}; {share}"
    rows.append(("“uncertain”", between))
    foreign = "never: nothing is stored to tell by"
    if known:
        foreign = (
            f"further from the training images than the {known.percentile:g}th percentile of "
            f"{counted(known.n, 'held-out training image')}; answers give the distance as a multiple of that limit"
        )
    rows.append(("“out of distribution”", foreign))
    if known:
        rows.append(("Distance", f"{known.method}; limit {figure(known.threshold)}"))
    return [Facts(rows), *(_decided(rule.test) if rule.test else [])]


def _decided(decisions: Decisions) -> list[Block]:
    rows: list[list[Cell]] = [
        [Named("ok", "answered"), count(decisions.n_ok), decisions.ok],
        [Named("uncertain", "better not relied on"), count(decisions.n_uncertain), decisions.uncertain],
        [
            Named("out of distribution", "here all of them false alarms"),
            count(decisions.n_out_of_distribution),
            decisions.out_of_distribution,
        ],
    ]
    among = [
        ("Accuracy of those decided “ok”", estimate(decisions.accuracy)),
        ("AUROC of the same", estimate(decisions.auroc)),
        *_had_it_answered(decisions),
    ]
    caption = f"Decisions on {counted(decisions.n, 'test image')}."
    return [Table(["decision", "images", "share"], rows, caption), Facts(among)]


def _had_it_answered(decisions: Decisions) -> list[tuple[str, str]]:
    if not decisions.n_uncertain:
        return []
    return [("Accuracy of those decided “uncertain”", f"{estimate(decisions.accuracy_of_uncertain)}, had they counted")]


def _data(card: "Card") -> list[Block]:
    data = card.data
    splits = [split for split in SPLITS if split in data.counts]
    rows = [_counts(name, [data.counts[split][name] for split in splits]) for name in data.class_names]
    rows.append(_counts("all classes", [sum(data.counts[split].values()) for split in splits]))
    origin = [
        ("Source", data.source),
        ("Layout", data.layout),
        ("Files found", count(data.n_found)),
        ("Used", count(data.n_used)),
        ("Left out", count(data.n_left_out)),
        *((f"Left out: {each.reason}", count(each.n)) for each in data.left_out),
        (
            "Sets of images that look alike",
            f"{count(data.n_alike)}, kept together in folds and in splits that are made",
        ),
        ("Splits", " ".join(data.splits)),
        ("Training and test", data.separation),
        *([("Folds", data.folds)] if data.folds else []),
        ("Fingerprint", data.fingerprint),
    ]
    found: list[Block] = [Items(data.kept)] if data.kept else []
    return [Table(["class", *splits, "all"], rows, "Images that are used."), Facts(origin), *found]


def _counts(name: str, counts: list[int]) -> list[Cell]:
    return [name, *map(count, counts), count(sum(counts))]


def _candidates(card: "Card") -> list[Block]:
    metric = score_name(card.selection.metric)
    head = ["candidate", f"{metric}, groups whole", f"{metric}, image by image"]
    head += ["billion multiply-adds", "ms per image", "MB", "fitting, s"]
    rows: list[list[Cell]] = [
        [
            Named(f"{each.name} (winner)" if each.won else each.name, each.backbone),
            figure(each.score),
            "not measured" if each.plain_score is None else figure(each.plain_score),
            brief(each.gigamacs),
            figure(each.milliseconds, 1),
            figure(each.megabytes, 1),
            figure(each.seconds, 1),
        ]
        for each in card.candidates
    ]
    won = next(i for i, each in enumerate(card.candidates) if each.won)
    caption = (
        f"On training data, {_held_out(card)}, n = {count(card.candidates[won].n)}; no test image was used. "
        "Milliseconds are of the machine that trained."
    )
    made = Facts([(each.name, each.description) for each in card.candidates])
    return [Paragraph(card.selection.reason), Table(head, rows, caption, marked=won), made]


def _network(card: "Card") -> list[tuple[str, str]]:
    network = card.network
    return [
        ("Backbone", network.backbone),
        ("Made of", network.description),
        ("Initial weights", network.initialisation),
        ("Training", network.training),
        ("Ensemble", network.ensemble),
        ("Chosen", brief(network.chosen)),
        ("Fitted on", f"{counted(network.n_fitted, 'image')} (train and validation)"),
        ("Precision", network.precision),
        ("Size", f"{figure(network.megabytes, 1)} MB, {brief(network.gigamacs)} billion multiply-adds per image"),
    ]


def _settings(card: "Card") -> list[Block]:
    given = {key: value for key, value in card.network.settings.items() if value not in (None, [], "")}
    said = "; ".join(f"{key.replace('_', ' ')}: {brief(value)}" for key, value in given.items())
    return [Paragraph(f"Settings. {said}.", soft=True)] if said else []


def _input(card: "Card") -> list[tuple[str, str]]:
    taken = card.input
    return [
        ("Formats", ", ".join(taken.formats)),
        ("Largest image", f"{count(taken.max_pixels)} pixels; a service may take fewer"),
        ("Decoding", taken.decoding),
        ("Preparation", taken.preparation),
        ("Resizing", taken.resize),
        ("The network sees", f"{taken.size} by {taken.size} pixels, {taken.channels}, {taken.dtype}"),
        ("Normalisation", taken.normalisation),
    ]


def _promotion(card: "Card") -> str:
    return card.promotion.reason if card.promotion else "No decision about promotion was recorded."


def _versions(card: "Card") -> list[Block]:
    return [
        Facts([(f"Seed of {name}", str(seed)) for name, seed in card.seeds.items()]),
        Facts(list(card.versions.items())),
        Facts([(f"SHA-256 of {name}", digest) for name, digest in card.files.items()]),
    ]


def _claim(card: "Card") -> list[Block]:
    from diascope.card.claim import REFERENCE

    rows: list[list[Cell]] = [[Named(f"{each.item}. {each.title}", each.status), each.text] for each in card.claim]
    words = ", ".join(f"{status} {n}" for status, n in Counter(each.status for each in card.claim).items())
    intro = f"What this card has for each of the {len(rows)} items, whose titles are in our words: {words}."
    meaning = "“partly”: people would have to say more; “paper”: it belongs into the publication."
    return [
        Paragraph(f"{intro} {meaning}"),
        Table(["item", "what the card says"], rows, words=2),
        Paragraph(REFERENCE, soft=True),
    ]
