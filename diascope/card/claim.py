"""Which items of the CLAIM 2024 checklist does the card answer, and with what?

Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update.
Radiology: Artificial Intelligence 2024;6(4):e240300. Titles are in our words.
"""

from typing import TYPE_CHECKING

from diascope.card.schema import ClaimItem, ClaimStatus
from diascope.reports.figures import brief, count, counted
from diascope.statement import NOT_STATED

if TYPE_CHECKING:
    from diascope.card.schema import Card

REFERENCE = (
    "Tejani AS, Klontzas ME, Gatti AA, et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 "
    "Update. Radiology: Artificial Intelligence 2024;6(4):e240300. https://doi.org/10.1148/ryai.240300"
)
SECTIONS = {
    1: "Title",
    2: "Abstract",
    3: "Introduction",
    5: "Methods: study design",
    7: "Methods: data",
    14: "Methods: reference standard",
    19: "Methods: data partitions",
    21: "Methods: testing data",
    22: "Methods: model",
    25: "Methods: training",
    28: "Methods: evaluation",
    35: "Results: data",
    37: "Results: model performance",
    40: "Discussion",
    42: "Other information",
}
TITLES = {
    1: "Named as AI, with its kind",
    2: "Structured summary",
    3: "Background and intended use",
    4: "Aims and hypotheses",
    5: "Prospective or retrospective",
    6: "Goal of the study",
    7: "Sources of data",
    8: "Who and what was included and excluded",
    9: "Preprocessing",
    10: "Choice of subsets of the data",
    11: "De-identification",
    12: "Missing data",
    13: "Image acquisition",
    14: "How the reference standard was obtained",
    15: "Why this reference standard",
    16: "Who annotated",
    17: "Annotation of the test set",
    18: "Agreement between and within annotators",
    19: "Assignment to partitions",
    20: "Level at which partitions do not overlap",
    21: "Planned sample size",
    22: "Description of the model",
    23: "Software and versions",
    24: "Initial parameters",
    25: "Training",
    26: "Selection of the final model",
    27: "Ensembles",
    28: "Measures of performance",
    29: "Measures of uncertainty",
    30: "Robustness and sensitivity",
    31: "Explainability",
    32: "Testing on internal data",
    33: "Testing on external data",
    34: "Registration as a clinical trial",
    35: "Numbers included and excluded",
    36: "Demographic and clinical characteristics",
    37: "Performance with its uncertainty",
    38: "Diagnostic performance with its precision",
    39: "Analysis of failures",
    40: "Limitations",
    41: "Implications for practice",
    42: "Protocol and further technical detail",
    43: "Availability of software, model and data",
    44: "Funding and role of funders",
}
PAPER = {
    2: "The summary of a study belongs into its publication.",
    4: "Aims and hypotheses belong into the publication.",
    6: "The goal of a study belongs into its publication. What was done: candidates were compared and one was tested.",
    15: "Reasons for the reference standard belong into the publication.",
    41: "What it means for practice belongs into the publication. Until then: research use only.",
}
STATED = {
    5: "design",
    11: "de_identification",
    13: "devices",
    16: "annotators",
    18: "agreement",
    34: "registration",
    36: "demographics",
    42: "protocol",
    44: "funding",
}
Answer = tuple[ClaimStatus, str]


def claim(card: "Card") -> list[ClaimItem]:
    """Return all 44 items, with those that a card cannot answer."""
    answers: dict[int, Answer] = {number: ("paper", text) for number, text in PAPER.items()}
    answers |= {number: _stated(card.statement[key]) for number, key in STATED.items()}
    answers |= _about_data(card) | _about_model(card) | _about_testing(card)
    items, section = [], ""
    for number, title in TITLES.items():
        section = SECTIONS.get(number, section)
        status, text = answers[number]
        items.append(ClaimItem(item=number, section=section, title=title, status=status, text=text))
    return items


def _stated(text: str) -> Answer:
    return ("not stated" if text == NOT_STATED else "answered"), text


def _partly(known: str, rest: dict[str, str]) -> Answer:
    """What the program knows, and what people would have to say: name of it -> their text."""
    words = [f"{name}: {text.rstrip('.')}." for name, text in rest.items()]
    return ("partly" if NOT_STATED in rest.values() else "answered"), " ".join([known, *words])


def _about_data(card: "Card") -> dict[int, Answer]:
    data, said = card.data, card.statement
    reasons = "; ".join(f"{each.reason}: {count(each.n)}" for each in data.left_out) or "none"
    left_out = f"{counted(data.n_found, 'file')} found, {count(data.n_used)} used. Left out: {reasons}."
    labels = f"Labels are those of the source ({data.layout})."
    intended = f"Background belongs into the publication. Intended use: {card.intended_use.rstrip('.')}."
    return {
        3: ("not stated" if card.intended_use == NOT_STATED else "partly", intended),
        7: _partly(f"{data.source}.", {"Sites": said["sites"], "Period": said["period"]}),
        8: _partly(left_out, {"Patients": said["eligibility"]}),
        9: ("answered", f"{_input(card)} See Input."),
        10: ("partly", "Every usable file of the source was used. Whether the source is a selection: not stated."),
        12: ("answered", f"Nothing is imputed and nothing but pixels is used. {left_out}"),
        14: _partly(labels, {"How they came about": said["reference_standard"]}),
        17: _partly("Test images are labelled as all others are.", {"How": said["reference_standard"]}),
        19: ("answered", " ".join([*data.splits, data.folds]).strip()),
        20: ("answered", data.separation),
        35: ("answered", f"{left_out} See Data; numbers are of files, not of patients."),
    }


def _input(card: "Card") -> str:
    taken = card.input
    prepared = "" if taken.preparation == "none" else f"{taken.preparation}; "
    return (
        f"{taken.decoding}; {prepared}{taken.resize}, {taken.size} by {taken.size} pixels; normalisation "
        f"{taken.normalisation}."
    )


def _about_model(card: "Card") -> dict[int, Answer]:
    network, said = card.network, card.statement
    chosen = f" Chosen: {brief(network.chosen)}." if network.chosen else ""
    software = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return {
        1: ("answered", f"Classification of images by deep learning ({network.backbone})."),
        22: ("answered", f"{network.backbone}: {network.description}. See Network and Decision."),
        23: ("answered", f"{software}." if software else NOT_STATED),
        24: ("answered", f"{network.initialisation[:1].upper()}{network.initialisation[1:]}."),
        25: ("answered", f"{network.training}{chosen} All settings are under Network."),
        26: ("answered", f"On training data alone. {card.selection.reason}"),
        27: ("answered", network.ensemble),
        31: ("partly" if card.explanation.available else "not done", _explained(card)),
        43: _partly("Software: Diascope.", {"Model and data": said["availability"], "Licence": said["licence"]}),
    }


def _explained(card: "Card") -> str:
    if not card.explanation.available:
        return card.explanation.text
    return f"{card.explanation.text} {card.explanation.caution} It was not validated on these images."


def _about_testing(card: "Card") -> dict[int, Answer]:
    test = card.test
    plain = any(each.plain_score is not None for each in card.candidates)
    folds = "Folds with groups whole against folds image by image, see Candidates. No other analysis is stored."
    return {
        21: _partly(f"{counted(test.n, 'test image')}.", {"How many were planned": NOT_STATED}),
        28: ("answered", "Those of the table under Test, and the expected calibration error."),
        29: ("answered", test.intervals),
        30: ("partly", folds) if plain else ("not done", "No such analysis is stored."),
        32: ("answered", f"{counted(test.n, 'test image')}, read once, after every choice was made. See Test."),
        33: ("not done", "There was no test on images of another source."),
        37: ("answered", "All figures with their intervals, on test images and held-out training images. See Test."),
        38: ("answered", "Sensitivity, specificity, precision and AUROC of each class with intervals. See By class."),
        39: ("answered", f"{count(test.n_wrong)} of {counted(test.n, 'test image')} wrong: see the confusion matrix. "
            "The evaluation's report shows the most confident mistakes."),
        40: ("answered", "See Limits."),
    }  # fmt: skip
