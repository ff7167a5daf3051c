"""What should anyone know of a model before using it, as a page and as Markdown?"""

from typing import TYPE_CHECKING

from diascope.metrics import Estimate
from diascope.reports import plots
from diascope.reports.card_markdown import markdown
from diascope.reports.card_sections import Facts, Figures, Items, Named, Paragraph, Table, parts, summary
from diascope.reports.figures import synthetic
from diascope.reports.page import render

if TYPE_CHECKING:
    from diascope.card.schema import Card, Figure

__all__ = ["card_page", "markdown"]
KINDS: dict[type, str] = {
    **{Paragraph: "paragraph", Items: "items", Facts: "facts", Table: "table", Figures: "figures"},
    **{Named: "named", Estimate: "estimate"},
}


def _kind(shown: object) -> str:
    """What a template must do with a part of the card."""
    return next((kind for known, kind in KINDS.items() if isinstance(shown, known)), "text")


def card_page(card: "Card") -> str:
    """The page of a model card as one HTML file; no inline style but that of its one `<style>` element."""
    calibration = card.calibration
    return render(
        "card_page.html",
        level=2,
        card=card,
        summary=summary(card),
        synthetic=synthetic(card.data.source),
        headline=headline(card),
        parts=parts(card),
        kind=_kind,
        reliability=plots.reliability(calibration.reliability, card.test.confidence),
    )


def headline(card: "Card") -> list["Figure"]:
    """The figures that a reader sees first."""
    two = ("auroc", "sensitivity", "specificity", "accuracy")
    wanted = two if len(card.class_names) == 2 else ("auroc", "balanced_accuracy", "accuracy")
    return [each for key in wanted for each in card.test.figures if each.key == key]
