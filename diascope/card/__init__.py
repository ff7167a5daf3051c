"""What should anyone know of a model before using it? One card: for programs, for GitHub and for people."""

from diascope.card.making import make_card
from diascope.card.schema import Card
from diascope.reports.card import markdown

__all__ = ["Card", "make_card", "markdown"]
