"""How does a model card read as Markdown?"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from diascope.metrics import Estimate
from diascope.reports.card_sections import Block, Cell, Facts, Items, Named, Paragraph, Table, parts, summary
from diascope.reports.figures import estimate, synthetic

if TYPE_CHECKING:
    from diascope.card.schema import Card

# What Markdown would take for its own marks: of emphasis, code, links, HTML and tables.
SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")


def markdown(card: "Card") -> str:
    """Return the card as GitHub's Markdown."""
    drawn = synthetic(card.data.source)
    title = f"# {escaped(card.model.name)}, version {escaped(card.model.version)}: model card"
    opening = [title, f"**{card.research_use_only}**", escaped(summary(card)), *([f"**{drawn}**"] if drawn else [])]
    rest = [text for part in parts(card) for text in (f"## {part.title}", *map(block, part.blocks)) if text]
    return "\n\n".join([*opening, *rest]) + "\n"


def escaped(text: str) -> str:
    """The text on one line, with nothing that Markdown reads."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def block(each: Block) -> str:
    """One part of a section; figures have their tables beside them and are left out."""
    if isinstance(each, Paragraph):
        return escaped(each.text)
    if isinstance(each, Items):
        return "\n".join(f"- {escaped(text)}" for text in each.texts)
    if isinstance(each, Facts):
        return _table(["", ""], each.rows, 2) if each.rows else ""
    if isinstance(each, Table):
        return "\n\n".join(filter(None, [escaped(each.caption), _table(each.head, each.rows, each.words)]))
    return ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]], words: int) -> str:
    marks = ["---" if i < words else "---:" for i in range(len(head))]
    lines = [list(map(_cell, head)), marks, *(list(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Estimate):
        return escaped(estimate(cell))
    return escaped(f"{cell.name}, {cell.remark}" if isinstance(cell, Named) else cell)
