"""What is in the images, before anything is trained on them?"""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from diascope.reports import exploration_plots as drawn
from diascope.reports import plots
from diascope.reports.data import SPLITS, count_table, samples, sizes
from diascope.reports.features import MAX_POINTS, principal_components
from diascope.reports.figures import figure, synthetic
from diascope.reports.page import render
from diascope.reports.thumbnails import data_uri
from diascope.twins import Pair, find_twins

if TYPE_CHECKING:
    import pandas as pd

    from diascope.dataset import Dataset
    from diascope.exploration import Exploration

BINS = 64
RATIO_BINS, RATIO_LIMIT = 33, 1.5  # of log2(width / height); an odd number, so that squares have a bin of their own
PER_RELATION = 6
GRID = (14, 8)  # of pictures on the map, at most
MAP_THUMBNAIL = 64  # pixels
RELATIONS = {
    "classes": ("Of different classes", "A label may be wrong here, or the classes may be hard to tell apart."),
    "splits": ("Of one class, in different splits", "What is learned from one is half an answer to the other."),
    "neither": ("Of one class and one split", "Slices of one patient, as a rule: they count almost as one image."),
}


def exploration_page(dataset: "Dataset", exploration: "Exploration") -> str:
    """The page of what is in the images, as one HTML file; of the test split it shows twins alone."""
    info, index, looked = dataset.info, dataset.index(), exploration.looked
    names = info.class_names
    return render(
        "exploration_page.html",
        level=2,
        info=info,
        synthetic=synthetic(info.source),
        n=len(index),
        n_looked=len(looked),
        n_development=exploration.n_development,
        table=count_table(names, info.counts),
        shares=_shares(dataset),
        legend_entries=list(enumerate(names)),
        ratio_plot=_ratio_plot(index, names),
        **sizes(index, names),
        **_brightness(exploration, names),
        faces=_faces(exploration, names),
        samples=samples(dataset, index[index["split"] != "test"]),
        twins=_twins(dataset, index, exploration),
        **_map(dataset, index.set_index("sample_id"), exploration, names),
    )


def _shares(dataset: "Dataset") -> Markup:
    counts, names = dataset.info.counts, dataset.info.class_names
    rows = [(split, [counts[split].get(name, 0) for name in names]) for split in SPLITS if split in counts]
    return drawn.shares("Share of each class in every split", rows)


def _ratio_plot(index: "pd.DataFrame", names: list[str]) -> Markup:
    rows = []
    for i, name in enumerate(names):
        own = index[index["label"] == name]
        widths, heights = own["width"].to_numpy(float), own["height"].to_numpy(float)
        rows.append((i, drawn.ratios(widths, heights, RATIO_BINS, RATIO_LIMIT)))
    edges = np.linspace(-RATIO_LIMIT, RATIO_LIMIT, RATIO_BINS + 1)
    label = "width to height, as a power of two (0: square, 1: twice as wide as high)"
    return drawn.densities("Share of images by the ratio of width to height, by class", label, edges, rows)


def _brightness(exploration: "Exploration", names: list[str]) -> dict[str, Any]:
    """Grey values by class: as lines, as a table, and what they and sizes alone would tell."""
    looked = exploration.looked
    present = [i for i, name in enumerate(names) if (looked["label"] == name).any()]
    rows = []
    for i in present:
        own = looked[looked["label"] == names[i]]
        values = [own["mean"].mean(), own["mean"].std(ddof=0), own["deviation"].mean()]
        rows.append((names[i], len(own), [figure(float(v), 1) for v in values], figure(float(own["black"].mean()), 2)))
    lines = [(i, drawn.binned(exploration.histograms[i], BINS)) for i in present]
    edges = np.linspace(0, 256, BINS + 1)
    shortcut = exploration.shortcut
    return {
        "grey_rows": rows,
        "grey_plot": drawn.densities("Share of pixels by grey value, by class", "grey value", edges, lines),
        "shortcut": shortcut if shortcut is not None and np.isfinite(shortcut) else None,
    }


def _faces(exploration: "Exploration", names: list[str]) -> list[tuple[str, str, str]]:
    """Name, mean image and standard deviation of each class that has images; deviations on one scale."""
    present = set(exploration.looked["label"])
    largest = max(float(exploration.deviations.max()), 1.0)
    return [
        (name, _picture(exploration.means[i]), _picture((255 / largest * exploration.deviations[i]).astype(np.uint8)))
        for i, name in enumerate(names)
        if name in present
    ]


def _picture(grey: np.ndarray) -> str:
    """A grey image (height, width) uint8 as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _twins(dataset: "Dataset", index: "pd.DataFrame", exploration: "Exploration") -> list[tuple[str, str, list[Any]]]:
    """Title, meaning and pairs of every relation; a pair is how alike they are, and for both (place, picture)."""
    pairs = find_twins(index, exploration.vectors, exploration.ids, PER_RELATION)
    places = index.set_index("sample_id")
    images = dataset.read(sorted({name for pair in pairs for name in (pair.first, pair.second)}))

    def one(name: str) -> tuple[str, str, str, str]:
        return name, places.at[name, "split"], places.at[name, "label"], data_uri(images[name], name)

    return [
        (title, meaning, [(_alike(pair), one(pair.first), one(pair.second)) for pair in pairs if pair.relation == key])
        for key, (title, meaning) in RELATIONS.items()
    ]


def _alike(pair: Pair) -> str:
    if pair.cosine is not None:
        return f"cosine {figure(pair.cosine)}"
    return "equal hashes" if not pair.bits else f"hashes {pair.bits} of 64 bits apart"


def _map(dataset: "Dataset", places: "pd.DataFrame", exploration: "Exploration", names: list[str]) -> dict[str, Any]:
    """Images along the two directions in which they vary most: by class, by split, and as pictures."""
    vectors, ids = exploration.vectors, exploration.ids
    rows = np.unique(np.linspace(0, len(ids) - 1, min(MAX_POINTS, len(ids))).astype(int))
    chosen = [ids[row] for row in rows if np.isfinite(vectors[row]).all()]
    if len(chosen) < 3:
        return {"map_plots": [], "map_pictures": None, "n_map": len(chosen), "from_features": False}
    wanted = set(chosen)
    points, parts = principal_components(np.asarray(vectors[[row for row in rows if ids[row] in wanted]]))
    across, up = (f"component {i} ({100 * part:.0f} % of the variance)" for i, part in enumerate(parts, 1))
    labels, splits = (places.loc[chosen, key].to_numpy(str) for key in ("label", "split"))
    kinds = [("class", labels, names), ("split", splits, [split for split in SPLITS if split in set(splits)])]
    plotted = []
    for kind, values, order in kinds:
        series = [(i, False, [(float(a), float(b)) for a, b in points[values == name]]) for i, name in enumerate(order)]
        plotted.append((kind, plots.scatter(f"Images by their {kind}", across, up, series), list(enumerate(order))))
    return {
        "map_plots": plotted,
        "map_pictures": _pictures(dataset, points, chosen, labels, names, (across, up)),
        "n_map": len(chosen),
        "from_features": exploration.from_features,
    }


def _pictures(
    dataset: "Dataset", points: np.ndarray, ids: list[str], labels: np.ndarray, names: list[str], axes: tuple[str, str]
) -> Markup:
    shown = drawn.spread(points, *GRID)
    images = dataset.read([ids[row] for row in shown])
    pictures = [
        (
            (float(points[row, 0]), float(points[row, 1])),
            names.index(labels[row]),
            data_uri(images[ids[row]], ids[row], MAP_THUMBNAIL),
            f"{labels[row]}: {ids[row]}",
        )
        for row in shown
    ]
    return drawn.picture_map("Some of the images at their places, framed by class", axes, pictures)
