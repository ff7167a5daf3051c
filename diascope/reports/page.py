"""How does a page come to stand alone: one HTML file, no script, nothing loaded from elsewhere?"""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from diascope.reports import figures, svg

SEPARATOR = re.compile(r"(?<=[._/\\-])(?=\w)(?<!\d\.(?=\d))")  # not within a number
FOLDER = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """The templates with the filters that they use; everything that is inserted is escaped."""
    env = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (figures.figure, figures.interval, figures.estimate, figures.count, figures.counted, figures.brief)
    env.filters.update(
        {f.__name__: f for f in filters}, score_name=figures.score_name, percent=figures.percent, breakable=breakable
    )
    env.globals.update(swatch=svg.swatch, style=Markup((FOLDER / "style.css").read_text()))
    return env


def breakable(text: str) -> Markup:
    """The text escaped, with places where a long name may be broken."""
    return Markup("<wbr>").join(escape(part) for part in SEPARATOR.split(text))


def render(template: str, **values: object) -> str:
    """The page of a template as HTML."""
    return environment().get_template(template).render(values)
