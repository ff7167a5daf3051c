"""What is a benchmark's result, and how is it shown?"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One claim: bars that can be compared, and the ratio that is to reach a target."""

    name: str
    unit: str
    bars: dict[str, float]
    ratio: float
    target: float
    bound: Literal["at least", "at most"]
    notes: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether the ratio keeps its target."""
        return self.ratio >= self.target if self.bound == "at least" else self.ratio <= self.target

    @property
    def verdict(self) -> str:
        """The ratio, its target, and which of the two won."""
        return f"{self.ratio:.2f}, {self.bound} {self.target:g}: {'met' if self.met else 'MISSED'}"


def medians(repeats: int, runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the median of each run's figure; the runs alternate, so that a slow minute slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(run())
    return {name: statistics.median(values) for name, values in taken.items()}


def as_text(figure: Figure) -> str:
    """Return the figure in lines for a terminal."""
    width = max(map(len, figure.bars))
    bars = [f"  {name:<{width}}  {value:10,.2f} {figure.unit}" for name, value in figure.bars.items()]
    return "\n".join([figure.name, *bars, f"  ratio {figure.verdict}", *(f"  {note}" for note in figure.notes)])


def publish(figures: Iterable[Figure], title: str, path: Path) -> None:
    """Print each figure as soon as it is there, then write the plot and say how many targets were met."""
    print(title, end="\n\n")
    found = []
    for figure in figures:
        print(as_text(figure), end="\n\n", flush=True)
        found.append(figure)
    plot(found, title, path)
    print(f"{sum(figure.met for figure in found)} of {len(found)} targets met; plot: {path}")


def plot(figures: Sequence[Figure], title: str, path: Path) -> None:
    """Draw one panel per figure into a PNG file."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 0.8 + sum(0.7 + 0.35 * len(f.bars) for f in figures)), layout="constrained")
    heights = [2 + len(figure.bars) for figure in figures]
    panels = canvas.subplots(len(figures), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, figure in zip(panels, figures, strict=True):
        colour = "tab:green" if figure.met else "tab:orange"
        drawn = panel.barh(list(figure.bars), list(figure.bars.values()), color=colour)
        panel.bar_label(drawn, fmt=f"%.3g {figure.unit}", padding=4, fontsize=8)
        panel.set_title(f"{figure.name}: {figure.verdict}", loc="left", fontsize=9)
        panel.margins(x=0.15)
        panel.invert_yaxis()
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=120)
