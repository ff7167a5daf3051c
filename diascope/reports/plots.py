"""What do the figures look like?"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from markupsafe import Markup

from diascope.metrics import ReliabilityBin
from diascope.reports.figures import brief, figure
from diascope.reports.svg import Frame, Point, drawing, element, nice_ticks, padded, shorten

UNIT_TICKS = [(v, f"{v:g}") for v in (0, 0.2, 0.4, 0.6, 0.8, 1)]
SPLIT_COLOURS = ("#0072b2", "#56b4e9", "#e69f00")


def unit_square(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[tuple[int, list[Point]]],
    reference: tuple[Point, Point] | None = None,
    mark: Point | None = None,
) -> Markup:
    """Lines over 0 to 1 on both axes: ROC and precision-recall curves.

    `lines` are (style index, points); `reference` is a dotted line, `mark` a ringed point.
    """
    frame = Frame(46, 10, 300, 300, (0, 1), (0, 1))
    parts = [frame.axes(x_label, y_label, UNIT_TICKS, UNIT_TICKS)]
    if reference:
        parts.append(frame.line(reference, 0, stroke="#767676", stroke_dasharray="2 4", stroke_width=1.2))
    parts += [frame.line(points, index) for index, points in lines]
    if mark:
        x, y = frame.at(mark)
        parts.append(element("circle", cx=x, cy=y, r=6, fill="none", stroke="#000000", stroke_width=2))
    return drawing(358, 350, title, *parts)


def wilson(successes: float, n: int, confidence: float) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability(bins: Sequence[ReliabilityBin], confidence: float) -> Markup:
    """Share of right answers against the probability that was given, with the number of images below."""
    frame = Frame(46, 10, 300, 260, (0, 1), (0, 1))
    parts = [
        frame.axes("", "share that is right", UNIT_TICKS, UNIT_TICKS),
        frame.line([(0, 0), (1, 1)], 0, stroke="#767676", stroke_dasharray="2 4", stroke_width=1.2),
    ]
    filled = [b for b in bins if b.n and b.confidence is not None and b.accuracy is not None]
    points = [(b.confidence or 0.0, b.accuracy or 0.0) for b in filled]
    for part, (x, share) in zip(filled, points, strict=True):
        parts.append(frame.line([(x, v) for v in wilson(share * part.n, part.n, confidence)], 0, stroke_width=1.5))
    parts += [frame.line(points, 0, stroke_width=1.2), frame.markers(points, 0, 4.5)]

    largest = max([b.n for b in bins], default=0) or 1
    strip = Frame(46, 306, 300, 54, (0, 1), (0, largest * 1.3))
    parts.append(strip.axes("probability of the predicted class", "images", UNIT_TICKS, []))
    for part in bins:
        (left, top), (right, bottom) = strip.at((part.low, part.n)), strip.at((part.high, 0))
        parts.append(element("rect", x=left + 1, y=top, width=right - left - 2, height=bottom - top, fill="#9db8c9"))
        if part.n:
            parts.append(element("text", str(part.n), x=(left + right) / 2, y=top - 3, text_anchor="middle"))
    return drawing(358, 400, "Reliability diagram: share of right answers against predicted probability", *parts)


def candidate_scores(metric: str, rows: Sequence[tuple[str, float, float | None, bool]]) -> Markup:
    """Each candidate's score with groups whole (filled) and image by image (hollow), joined by a line.

    A row is (name, score, plain score, whether it won).
    """
    scores = [s for _, a, b, _ in rows for s in (a, b) if s is not None]
    height, low_high = 30 * len(rows), padded(scores, 0.1)
    frame = Frame(170, 8, 420, height, low_high, (len(rows) - 0.5, -0.5))
    ticks = [(v, brief(v)) for v in nice_ticks(*low_high)]
    parts = [frame.axes(metric, "", ticks, [])]
    for i, (name, grouped, plain, won) in enumerate(rows):
        y = frame.at((low_high[0], i))[1] + 4
        weight = "strong" if won else ""
        parts.append(element("text", shorten(name, 24), x=160, y=y, text_anchor="end", class_=weight))
        if plain is not None and math.isfinite(plain) and math.isfinite(grouped):
            parts.append(frame.line([(grouped, i), (plain, i)], 6, stroke_dasharray="", stroke_width=1.5))
            parts.append(frame.markers([(plain, i)], 0, 5, hollow=True))
        if math.isfinite(grouped):
            parts.append(frame.markers([(grouped, i)], 0, 5.5 if won else 4.5))
    return drawing(604, height + 52, f"{metric} of each candidate", *parts)


def training_curve(
    axis: str, x: Sequence[float], lines: Sequence[tuple[int, str, list[float]]], y_label: str, chosen: float | None
) -> Markup:
    """Values over epochs, or over settings that were tried, which are spaced evenly because they differ by factors.

    `lines` are (style index, name, values as long as x); `chosen` is the x that was taken.
    """
    epochs = axis == "epoch"
    at = list(x) if epochs else [float(i) for i in range(len(x))]
    x_range = padded(at, 0.03)
    y_range = padded([v for _, _, values in lines for v in values])
    frame = Frame(52, 10, 292, 210, x_range, y_range)
    if epochs:
        x_ticks = [(v, f"{v:g}") for v in nice_ticks(*x_range) if v == int(v)]
    else:
        every = math.ceil(len(x) / 6)
        x_ticks = [(at[i], brief(float(f"{x[i]:.1g}"))) for i in range(0, len(x), every)]
    parts = [frame.axes(axis, y_label, x_ticks, [(v, brief(v)) for v in nice_ticks(*y_range)])]
    if chosen is not None and chosen in x:
        where = at[list(x).index(chosen)]
        parts.append(frame.line([(where, v) for v in y_range], 6, stroke_dasharray="3 3", stroke_width=1.2))
    for index, _, values in lines:
        points = [(a, v) for a, v in zip(at, values, strict=True) if math.isfinite(v)]
        parts.append(frame.line(points, index))
        if len(points) <= 30:
            parts.append(frame.markers(points, index, 2.5))
    names = " and ".join(name for _, name, _ in lines)
    return drawing(358, 262, f"{names} over {axis}", *parts)


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[tuple[int, bool, list[Point]]],
    from_zero: bool = False,
) -> Markup:
    """Points by class; `series` are (style index, hollow, points)."""
    everything = [point for _, _, points in series for point in points]
    x_range, y_range = (padded([p[i] for p in everything], 0.04) for i in (0, 1))
    if from_zero:
        x_range, y_range = (0, x_range[1]), (0, y_range[1])
    frame = Frame(60, 10, 530, 330, x_range, y_range)
    ticks = ([(v, figure(v, 0) if abs(v) >= 10 else brief(v)) for v in nice_ticks(*r)] for r in (x_range, y_range))
    marks = [frame.markers(points, index, 3.2, hollow) for index, hollow, points in series if points]
    return drawing(604, 382, title, frame.axes(x_label, y_label, *ticks), *marks)


def histogram(series: Sequence[Sequence[int]], x_label: str, end: float) -> Markup:
    """Stacked counts in bins of equal width from 0 to `end`; each series has the colour of the split of its index."""
    n_bins = len(series[0])
    stacked = [sum(counts[i] for counts in series) for i in range(n_bins)]
    frame = Frame(52, 10, 292, 210, (0, end), (0, max(max(stacked) * 1.05, 1)))
    y_ticks = [(v, figure(v, 0)) for v in nice_ticks(*frame.y) if v == int(v)]
    x_ticks = [(v * end, f"{v * end:g}") for v, _ in UNIT_TICKS]
    parts = [frame.axes(x_label, "files", x_ticks, y_ticks)]
    below = [0] * n_bins
    for number, counts in enumerate(series):
        for i, n in enumerate(counts):
            (left, top), (right, bottom) = (
                frame.at((i * end / n_bins, below[i] + n)),
                frame.at(((i + 1) * end / n_bins, below[i])),
            )
            if n:
                size = {"x": left + 0.5, "y": top, "width": right - left - 1, "height": bottom - top}
                parts.append(element("rect", **size, fill=split_colour(number)))
            below[i] += n
    return drawing(358, 262, f"Number of files by {x_label}", *parts)


def split_colour(index: int) -> str:
    """The colour of the split with this index, in bars and their key."""
    return SPLIT_COLOURS[index % len(SPLIT_COLOURS)]


def bar(counts: Sequence[int], largest: int) -> Markup:
    """A stacked bar of one row of counts, scaled to the largest row; decorative, the numbers stand beside it."""
    frame = Frame(0, 0, 160, 14, (0, max(largest, 1)), (0, 1))
    rects, start = [], 0
    for i, n in enumerate(counts):
        left, right = frame.at((start, 0))[0], frame.at((start + n, 0))[0]
        if n:
            rects.append(element("rect", x=left, y=1, width=right - left, height=12, fill=split_colour(i)))
        start += n
    return element("svg", *rects, width=160, height=14, viewBox="0 0 160 14", class_="bar", aria_hidden="true")
