"""How is a small, crisp, accessible plot drawn without a plotting library or a script?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

# Okabe and Ito (2008), distinguishable with any colour vision; yellow is left out because it is too pale on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9", "#444444")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKERS = ("circle", "square", "triangle", "diamond", "cross")
Point = tuple[float, float]


def colour(index: int) -> str:
    """The colour of the series with this index."""
    return PALETTE[index % len(PALETTE)]


def dash(index: int) -> str:
    """The dash pattern of the series with this index, so that lines differ in black and white too."""
    return DASHES[index % len(DASHES)]


def number(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One SVG element; children that are not `Markup` and all attribute values are escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(
            Markup(name.rstrip("_").replace("_", "-")), number(value) if isinstance(value, int | float) else value
        )
        for name, value in attributes.items()
        if value != ""
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), written, Markup("").join(escape(c) for c in children))


def drawing(width: float, height: float, title: str, *children: str) -> Markup:
    """A whole SVG image with its description for screen readers."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
    )


def shorten(text: str, length: int) -> str:
    """The text with its middle left out, at most `length` characters."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - 1 - half]}…{text[-half:]}"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between low and high, about `count` of them."""
    step = 10.0 ** math.floor(math.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def padded(values: Iterable[float], share: float = 0.06) -> tuple[float, float]:
    """The range of the values with room on both sides, never empty."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = (high - low) * share or max(abs(high) * share, 0.05)
    return low - room, high + room


@dataclass(frozen=True)
class Frame:
    """A rectangle of a drawing, in pixels, with the data ranges that it spans."""

    left: float
    top: float
    width: float
    height: float
    x: Point
    y: Point

    def at(self, point: Point) -> Point:
        """Pixel position of a point in data units."""
        (x0, x1), (y0, y1) = self.x, self.y
        across, up = (point[0] - x0) / (x1 - x0), (point[1] - y0) / (y1 - y0)
        return self.left + self.width * across, self.top + self.height * (1 - up)

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
    ) -> Markup:
        """Grid, tick labels and axis names."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value, text in x_ticks:
            x, _ = self.at((value, self.y[0]))
            parts.append(element("path", d=f"M{number(x)} {number(self.top)}V{number(bottom)}", class_="grid"))
            parts.append(element("text", text, x=x, y=bottom + 15, text_anchor="middle"))
        for value, text in y_ticks:
            _, y = self.at((self.x[0], value))
            parts.append(element("path", d=f"M{number(self.left)} {number(y)}H{number(right)}", class_="grid"))
            parts.append(element("text", text, x=self.left - 6, y=y + 4, text_anchor="end"))
        outline = f"M{number(self.left)} {number(self.top)}V{number(bottom)}H{number(right)}"
        parts.append(element("path", d=outline, class_="axis"))
        if x_label:
            parts.append(element("text", x_label, x=self.left + self.width / 2, y=bottom + 33, text_anchor="middle"))
        if y_label:
            x, y = 12.0, self.top + self.height / 2
            turned = f"rotate(-90 {number(x)} {number(y)})"
            parts.append(element("text", y_label, x=x, y=y, text_anchor="middle", transform=turned))
        return Markup("").join(parts)

    def line(self, points: Iterable[Point], index: int, **attributes: str | float) -> Markup:
        """A line through the points in the style of the series with this index."""
        pixels = " ".join(",".join(map(number, self.at(point))) for point in points)
        style = {"stroke": colour(index), "stroke_dasharray": dash(index), "class_": "line"}
        return element("polyline", points=pixels, **(style | attributes))

    def markers(self, points: Iterable[Point], index: int, radius: float = 3.5, hollow: bool = False) -> Markup:
        """Markers at the points in the style of the series with this index, as one path."""
        shape = MARKERS[index % len(MARKERS)]
        path = "".join(marker(shape, *self.at(point), radius) for point in points)
        fill = "#ffffff" if hollow else colour(index)
        return element("path", d=path, fill=fill, stroke=colour(index), stroke_width=1.3, fill_opacity="0.75")


def marker(shape: str, x: float, y: float, radius: float) -> str:
    """The path of one marker around a pixel position."""
    n, r = number, radius
    if shape == "circle":
        return f"M{n(x - r)} {n(y)}a{n(r)} {n(r)} 0 1 0 {n(2 * r)} 0a{n(r)} {n(r)} 0 1 0 {n(-2 * r)} 0z"
    if shape == "square":
        return f"M{n(x - r)} {n(y - r)}h{n(2 * r)}v{n(2 * r)}h{n(-2 * r)}z"
    if shape == "triangle":
        return f"M{n(x)} {n(y - r)}l{n(r)} {n(2 * r)}h{n(-2 * r)}z"
    if shape == "diamond":
        return f"M{n(x)} {n(y - r - 1)}l{n(r)} {n(r + 1)}l{n(-r)} {n(r + 1)}l{n(-r)} {n(-r - 1)}z"
    return f"M{n(x - r)} {n(y - r)}l{n(2 * r)} {n(2 * r)}M{n(x + r)} {n(y - r)}l{n(-2 * r)} {n(2 * r)}"


def swatch(index: int, kind: str = "line", hollow: bool = False) -> Markup:
    """A sample of a series' style for a legend; decorative, the text stands beside it."""
    frame = Frame(0, 0, 22, 12, (0, 22), (0, 12))
    if kind == "line":
        inner = frame.line([(1, 6), (21, 6)], index)
    elif kind == "marker":
        inner = frame.markers([(11, 6)], index, 4, hollow)
    else:
        inner = element("rect", x=3, y=1, width=16, height=10, fill=colour(index))
    return element("svg", inner, width=22, height=12, viewBox="0 0 22 12", class_="swatch", aria_hidden="true")
