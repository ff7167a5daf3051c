"""What do the trials of a sweep look like?"""

import math
from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from diascope.reports.figures import brief
from diascope.reports.svg import Frame, Point, drawing, element, nice_ticks, number, padded, shorten
from diascope.sweep_space import Axis

SHADES = ("#d3dde4", "#b3cad9", "#86b0cb", "#4f91b8", "#0072b2")  # the worst fifth of the trials to the best
TAKEN = "#d55e00"
BETWEEN = 150.0  # pixels from one axis to the next


class Scale:
    """Where the values of an axis lie between 0 and 1, and which of them are written beside it."""

    def __init__(self, axis: Axis) -> None:
        self._choices = axis.choices
        self._log = axis.log
        self._low, self._high = (0.0, 1.0) if axis.choices else (self._length(axis.low), self._length(axis.high))
        if axis.choices:
            self.ticks = [(self(value), label(value)) for value in axis.choices]
        else:
            self.ticks = [(self(value), brief(float(f"{value:.3g}"))) for value in self._round_values()]

    def __call__(self, value: object) -> float:
        """The share of the way from the first value to the last; what lies beyond is at the end."""
        if self._choices:
            place = next(i for i, each in enumerate(self._choices) if each == value and type(each) is type(value))
            return (place + 0.5) / len(self._choices)
        assert isinstance(value, int | float)
        return min(max((self._length(value) - self._low) / (self._high - self._low), 0.0), 1.0)

    def _length(self, value: float) -> float:
        return math.log10(value) if self._log else float(value)

    def _round_values(self) -> list[float]:
        if not self._log:
            return nice_ticks(self._low, self._high)
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        steps = (1,) if len(powers) > 3 else (1, 2, 5)
        values = [step * 10.0**power for power in powers for step in steps]
        return [v for v in values if self._low - 1e-9 <= math.log10(v) <= self._high + 1e-9]


def label(value: object) -> str:
    """A value as a person would write it, of keys that change together each with its name."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {label(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "+".join(map(label, value)) or "none"
    return value if isinstance(value, str) else brief(value) if value is not None else "null"


def parallel_coordinates(
    columns: Sequence[tuple[str, Scale]], lines: Sequence[tuple[list[float], float]], taken: int
) -> Markup:
    """One line a trial through one upright axis for each setting and its score.

    `lines` are the places on each axis, and the rank of the trial from 0 (worst) to 1; `taken` is the line's place.
    """
    top, height = 30.0, 300.0
    width = BETWEEN * (len(columns) - 1)
    left = 70.0
    parts = []
    for place, (values, rank) in sorted(enumerate(lines), key=lambda line: (line[0] == taken, line[1][1])):
        points = [(left + BETWEEN * i, top + height * (1 - value)) for i, value in enumerate(values)]
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        chosen = place == taken
        shade = TAKEN if chosen else SHADES[min(int(rank * len(SHADES)), len(SHADES) - 1)]
        weight = 3 if chosen else 1.2
        parts.append(element("polyline", points=path, fill="none", stroke=shade, stroke_width=weight))
    for i, (name, scale) in enumerate(columns):
        x = left + BETWEEN * i
        parts.append(element("path", d=f"M{number(x)} {number(top)}V{number(top + height)}", class_="axis"))
        parts.append(element("text", shorten(name, 22), x=x, y=16, text_anchor="middle", class_="strong"))
        parts += [_beside(text, x + 5, top + height * (1 - at) + 4) for at, text in scale.ticks]
    return drawing(
        left + width + 110, top + height + 14, "Parallel coordinates: settings and score of each trial", *parts
    )


def importance_bars(shares: Sequence[tuple[str, float]]) -> Markup:
    """The share of each setting, the largest first."""
    height = 26.0 * len(shares)
    frame = Frame(190, 6, 330, height, (0, 1), (len(shares), 0))
    ticks = [(v, f"{v:g}") for v in (0, 0.25, 0.5, 0.75, 1)]
    parts = [frame.axes("share of the score's variance", "", ticks, [])]
    for i, (name, share) in enumerate(shares):
        (left, y), (right, _) = frame.at((0, i)), frame.at((share, i))
        parts.append(element("rect", x=left, y=y + 5, width=max(right - left, 1), height=16, fill=SHADES[-1]))
        parts.append(element("text", shorten(name, 28), x=left - 8, y=y + 17, text_anchor="end"))
        parts.append(_beside(f"{share:.2f}", right + 5, y + 17))
    return drawing(600, height + 48, "Importance of each setting", *parts)


def course(scores: Sequence[Point], best: Sequence[Point], shown: Point, metric: str) -> Markup:
    """The score of each trial in the order they were made, and the best so far as steps.

    `shown` are the lowest and the highest score that are drawn.
    """
    frame = Frame(66, 10, 494, 220, padded([x for x, _ in scores], 0.02), padded(shown))
    ticks = [(v, f"{v:g}") for v in nice_ticks(*frame.x) if v == int(v)]
    steps = [corner for (_, before), (x, now) in pairwise(best) for corner in ((x, before), (x, now))]
    return drawing(
        574,
        284,
        f"{metric} of each trial",
        frame.axes("trial", metric, ticks, [(v, brief(v)) for v in nice_ticks(*frame.y)]),
        frame.markers(_within(scores, shown), 0, 2.6, hollow=True),
        frame.line(_within([*best[:1], *steps], shown), 1),
    )


def slice_plot(name: str, scale: Scale, points: Sequence[Point], shown: Point, metric: str) -> Markup:
    """The score over one setting, whatever the others were; points are (place from 0 to 1, score)."""
    frame = Frame(62, 8, 282, 190, (-0.04, 1.04), padded(shown))
    ticks = [(at, shorten(text, 12)) for at, text in scale.ticks[:: math.ceil(len(scale.ticks) / 5)]]
    return drawing(
        358,
        252,
        f"{metric} over {name}",
        frame.axes(shorten(name, 40), metric, ticks, [(v, brief(v)) for v in nice_ticks(*frame.y)]),
        frame.markers(_within(points, shown), 0, 2.6, hollow=True),
    )


def shown_scores(scores: Sequence[float], higher_is_better: bool) -> Point:
    """The lowest and the highest score that are drawn: all but the worst tenth, to tell the better ones apart."""
    ordered = sorted(scores, reverse=higher_is_better)
    ends = ordered[0], ordered[min(math.ceil(0.9 * len(ordered)), len(ordered) - 1)]
    return min(ends), max(ends)


def _within(points: Sequence[Point], shown: Point) -> list[Point]:
    return [(x, min(max(y, shown[0]), shown[1])) for x, y in points]


def _beside(text: str, x: float, y: float) -> Markup:
    """Text that stays readable over lines."""
    style = {"stroke": "#ffffff", "stroke_width": "3", "paint_order": "stroke"}
    return element("text", shorten(text, 18), x=x, y=y, **style)
