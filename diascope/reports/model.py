"""What is a stored network, what does it take, and how good was it measured to be?"""

from collections.abc import Mapping
from typing import Any

from diascope.classifier import ClassifierInfo
from diascope.features import BackboneInfo, FeatureBlock
from diascope.metrics import Metrics
from diascope.reports.evaluation import headline, undecided, unfamiliar
from diascope.reports.figures import brief, count, counted, figure, interval_sentence, synthetic
from diascope.reports.page import render


def classifier_page(info: ClassifierInfo) -> str:
    """The page of a stored classifier as one HTML file: figures, input, decision, origin, files."""
    return render(
        "classifier_page.html",
        level=2,
        info=info,
        synthetic=synthetic(info.training.dataset_source),
        measured=measured(info),
        use=use(info),
        origin=origin(info),
        candidate=facts(info.training.candidate),
    )


def backbone_page(info: BackboneInfo) -> str:
    """The page of a backbone with its poolings as one HTML file."""
    return render(
        "backbone_page.html", level=2, info=info, settings=facts(info.spec.model_dump()), layers=layers(info.blocks)
    )


def measured(info: ClassifierInfo) -> list[tuple[str, Metrics, list[tuple[str, str, Any]], str]]:
    """Title, metrics, headline and sentence about intervals of each set of images that it was measured on."""
    sets = (("On the test split", info.test), ("On training data, held out", info.validation))
    return [(title, metrics, headline(metrics), interval_sentence(metrics)) for title, metrics in sets if metrics]


def use(info: ClassifierInfo) -> list[tuple[str, str]]:
    """What goes in, what comes out, and how it is decided."""
    taken, point, activation = info.input, info.operating_point, info.activation_map
    decision = "the most probable class"
    if point:
        decision = (
            f"“{point.positive_class}” where its probability is at least {figure(point.threshold)}, chosen on training "
            f"data for a sensitivity of {figure(point.target_sensitivity, 2)}"
        )
    shown = "none"
    if activation:
        exact = "" if activation.exact else ", in part: other poolings add to the answer"
        shown = f"{activation.grid[0]} by {activation.grid[1]} positions per class{exact}"
    return [
        ("Input", f"{taken.size} by {taken.size} pixels, {taken.channels}, {taken.dtype}"),
        ("Preparation", taken.preparation.sentence),
        ("Resizing", taken.resize),
        ("Normalisation", taken.normalisation),
        ("Output", f"calibrated probabilities of {counted(len(info.class_names), 'class', 'classes')}"),
        ("Classes, in order", ", ".join(info.class_names)),
        ("Decision", decision),
        ("Left undecided", undecided(info.abstention, point)),
        ("Unlike training images", unfamiliar(info.familiarity)),
        ("Temperature", f"{figure(info.temperature)}, already inside the network"),
        ("Activation map", shown),
        ("Precision", info.precision),
    ]


def origin(info: ClassifierInfo) -> list[tuple[str, str]]:
    """What it was fitted on."""
    training = info.training
    return [
        ("Fitted on", f"{counted(training.n, 'image')} (train and validation)"),
        ("Source", training.dataset_source),
        ("Data fingerprint", training.dataset_fingerprint),
        ("Groups", {"patient": "patients", "similarity": "inferred from similarity"}.get(training.groups, "none")),
        ("Chosen", brief(training.chosen)),
        ("Seed", str(training.seed)),
    ]


def facts(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """The settings that say something, in words."""
    return [(key.replace("_", " "), brief(value)) for key, value in settings.items() if value not in (None, [], "")]


def layers(blocks: list[FeatureBlock]) -> list[tuple[str, str, str, str]]:
    """Layer, image size, poolings and number of features, one row for each layer at each size."""
    rows: dict[tuple[str, int], list[FeatureBlock]] = {}
    for block in blocks:
        rows.setdefault((block.layer, block.size), []).append(block)
    return [
        (layer, f"{size} px", ", ".join(b.pooling for b in own), count(sum(b.stop - b.start for b in own)))
        for (layer, size), own in rows.items()
    ]
