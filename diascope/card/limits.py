"""What should nobody expect of it?"""

from typing import TYPE_CHECKING

from diascope.reports.figures import count, counted, listed, synthetic

if TYPE_CHECKING:
    from diascope.card.schema import Card
    from diascope.statement import Statement

FEW = 30  # test images of a class; of fewer, even a share of 100 % has an interval that is 11 points wide


def of(card: "Card", statement: "Statement") -> list[str]:
    """Return what limits the use of a model, one sentence or two each: what its makers say, then what the data says."""
    said = [text for text in (statement.out_of_scope, statement.limitations) if text]
    found = [synthetic(card.data.source), *_scope(card), *_test(card), *_data(card), *_answers(card)]
    return [*said, *filter(None, found)]


def _scope(card: "Card") -> list[str]:
    names = listed([f"“{name}”" for name in card.class_names])
    foreign = "Images of anything else get one of them as well."
    if card.decision.familiarity:
        foreign = "Images unlike those it was trained on are marked as out of distribution; some are missed."
    return [
        f"It knows the classes {names} and nothing else. {foreign}",
        "It judges one image at a time: no examination as a whole, no earlier images, no clinical information.",
    ]


def _test(card: "Card") -> list[str]:
    limits = [
        "It was tested on images of the same source as those it was trained on (internal testing). Nothing is known "
        "of other hospitals, devices, protocols or times."
    ]
    few = [f"{each.n} of “{each.name}”" for each in card.test.per_class if each.n < FEW]
    if few:
        limits.append(f"Few test images: {listed(few)}. Figures of so few are rough; see their intervals.")
    if card.test.interval_unit == "image":
        limits.append("Intervals take test images as independent; where a patient has several, they are too narrow.")
    return limits


def _data(card: "Card") -> list[str]:
    limits = [] if card.data.disjoint == "patient" else [card.data.separation]
    if card.statement["demographics"] == "not stated":
        limits.append("Age, sex and origin of the patients are not recorded, so nothing was measured in subgroups.")
    if card.data.kept:
        limits.append(" ".join(card.data.kept))
    return limits


def _answers(card: "Card") -> list[str]:
    return [
        _shares(card),
        card.calibration.finding,
        f"Maps of attention: {card.explanation.caution}" if card.explanation.available else "",
    ]


def _shares(card: "Card") -> str:
    if card.network.settings.get("class_weights", "none") != "none":
        return "Classes were weighted as if equally frequent: where they are not, probabilities are off."
    fitted = [counts for split, counts in card.data.counts.items() if split != "test"]
    shares = {name: sum(counts[name] for counts in fitted) for name in card.class_names}
    said = listed([f"{count(n)} of “{name}”" for name, n in shares.items()])
    return (
        f"Probabilities suit the shares of classes in training data ({said} among "
        f"{counted(sum(shares.values()), 'image')}); where a class is rarer or more frequent, they are off."
    )
