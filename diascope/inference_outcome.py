"""What came of a batch, for people and for programs?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diascope.inference_results import BatchSummary
from diascope.inference_table import ERROR

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class BatchOutcome:
    """A finished inference run, read back from its artifacts, and where its result was written."""

    run_name: str
    status: str
    stack: str
    summary: BatchSummary
    output: Path
    page: Path
    seconds: float
    step_seconds: dict[str, float] = field(default_factory=dict)


def as_json(outcome: BatchOutcome) -> dict[str, Any]:
    """The outcome as one JSON object."""
    summary, info = outcome.summary, outcome.summary.info
    return {
        "pipeline": "inference",
        "run_name": outcome.run_name,
        "status": outcome.status,
        "stack": outcome.stack,
        "model": {"name": info.model, "version": str(info.version)},
        "source": info.source,
        "output": str(outcome.output),
        "page": str(outcome.page),
        "n": info.n,
        "n_resumed": info.n - info.n_new,
        "statuses": summary.statuses,
        "counts": summary.counts,
        "images_per_second": info.images_per_second,
        "seconds": {"total": outcome.seconds, "predicting": info.seconds, "steps": outcome.step_seconds},
    }


def print_table(outcome: BatchOutcome, console: "Console") -> None:
    """The outcome as a table, and where the result is."""
    from rich.markup import escape
    from rich.table import Table

    summary, info = outcome.summary, outcome.summary.info
    statuses = list(summary.statuses)
    table = Table(box=None, pad_edge=False)
    table.add_column("predicted class", overflow="fold")
    for status in statuses:
        table.add_column("error" if status == ERROR else status.replace("_", " "), justify="right")
    for name, counts in summary.counts.items():
        table.add_row(escape(name), *(f"{counts.get(status, 0):,}" if status != ERROR else "" for status in statuses))
    table.add_row("all", *(f"{summary.statuses[status]:,}" for status in statuses), style="bold")
    console.print(table)
    kept = f", {info.n - info.n_new:,} kept from before an interrupt" if info.n_new < info.n else ""
    again = "" if outcome.step_seconds.get("predict_images", 1) else "; taken from an earlier run"
    lines = [
        "",
        f"{info.n:,} files of {info.source} by {info.model} version {info.version}: "
        f"{info.images_per_second:,.1f} images per second{kept}{again}",
        f"Result   {outcome.output}",
        f"Page     {outcome.page}",
    ]
    if summary.errors:
        file, error = summary.errors[0]
        why = error if file in error else f"{file}: {error}"
        lines.insert(2, f"{summary.statuses[ERROR]:,} without a prediction, the first: {why}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
