"""What do the figures of the data exploration look like?"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from diascope.reports.figures import brief, percent
from diascope.reports.svg import Frame, Point, colour, drawing, element, nice_ticks, padded, shorten

SIDE = 46  # pixels of a picture on the map


def shares(title: str, rows: Sequence[tuple[str, Sequence[int]]]) -> Markup:
    """One bar for each row, from 0 to 100 %, with the share of each class; rows are (name, counts)."""
    kept = [(name, counts) for name, counts in rows if sum(counts)]
    frame = Frame(110, 6, 470, 34 * len(kept), (0, 1), (len(kept) - 0.5, -0.5))
    ticks = [(v, percent(v) if v else "0") for v in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    parts = [frame.axes("share of the images", "", ticks, [])]
    for i, (name, counts) in enumerate(kept):
        start = 0.0
        for index, n in enumerate(counts):
            share = n / sum(counts)
            (left, y), (right, _) = frame.at((start, i)), frame.at((start + share, i))
            said = f"{name}: {percent(share)} ({n:,})"
            if n:
                size = {"x": left, "y": y - 12, "width": max(right - left - 1, 0.5), "height": 24}
                parts.append(element("rect", element("title", said), **size, fill=colour(index)))
            start += share
        y = frame.at((0, i))[1] + 4
        parts.append(element("text", shorten(name, 16), x=102, y=y, text_anchor="end"))
    return drawing(604, 34 * len(kept) + 50, title, *parts)


def densities(title: str, x_label: str, edges: np.ndarray, rows: Sequence[tuple[int, np.ndarray]]) -> Markup:
    """Lines over bins; edges (bins + 1,), rows are (style index, share of each bin (bins,)).

    The axis ends above the highest bin between the first and the last: of images, these are black borders and white
    marks, and would leave little room for the rest.
    """
    top = max((float(values[1:-1].max()) for _, values in rows), default=0.0) or 1.0
    frame = Frame(60, 10, 530, 260, (float(edges[0]), float(edges[-1])), (0, top * 1.05))
    ticks = ([(v, brief(v)) for v in nice_ticks(*span)] for span in (frame.x, frame.y))
    parts = [frame.axes(x_label, "share per bin", *ticks)]
    for index, values in rows:
        steps = [
            point
            for left, right, value in zip(edges[:-1], edges[1:], values, strict=True)
            for point in ((float(left), min(float(value), top * 1.05)), (float(right), min(float(value), top * 1.05)))
        ]
        parts.append(frame.line(steps, index, stroke_width=1.8))
    return drawing(604, 312, title, *parts)


def picture_map(title: str, labels: tuple[str, str], pictures: Sequence[tuple[Point, int, str, str]]) -> Markup:
    """Small images at their places; pictures are (point, style index of the frame, data URI, name)."""
    points = [point for point, _, _, _ in pictures]
    x_range, y_range = (padded([p[i] for p in points], 0.08) for i in (0, 1))
    frame = Frame(60, 10, 980, 560, x_range, y_range)
    ticks = ([(v, brief(v)) for v in nice_ticks(*span)] for span in (x_range, y_range))
    parts = [frame.axes(*labels, *ticks)]
    for point, index, uri, name in pictures:
        x, y = (v - SIDE / 2 for v in frame.at(point))
        box = {"x": x - 2, "y": y - 2, "width": SIDE + 4, "height": SIDE + 4}
        image = element("image", href=uri, x=x, y=y, width=SIDE, height=SIDE, preserveAspectRatio="xMidYMid slice")
        parts.append(element("g", element("title", name), element("rect", **box, fill=colour(index)), image))
    return drawing(1054, 612, title, *parts)


def spread(points: np.ndarray, columns: int, rows: int) -> list[int]:
    """Rows of points (n, 2) that are one of each cell of a grid, the first of each."""
    low, high = points.min(axis=0), points.max(axis=0)
    cells = np.floor((points - low) / np.maximum(high - low, 1e-12) * [columns, rows] * (1 - 1e-9)).astype(int)
    taken: dict[tuple[int, int], int] = {}
    for row, (a, b) in enumerate(cells.tolist()):
        taken.setdefault((a, b), row)
    return sorted(taken.values())


def binned(histogram: np.ndarray, bins: int) -> np.ndarray:
    """A histogram (n,) in fewer bins of equal width; n must be a multiple."""
    return histogram.reshape(bins, -1).sum(axis=1)


def ratios(widths: np.ndarray, heights: np.ndarray, bins: int, limit: float) -> np.ndarray:
    """Share of the images in each bin of log2(width / height) from -limit to limit; what is beyond is in the last."""
    logs = np.clip(np.log2(widths / heights), -limit, limit)
    counts = np.histogram(logs, bins=bins, range=(-limit, limit))[0]
    return counts / max(int(counts.sum()), 1)
