"""What is counted? Shown under /metrics, beside BentoML's own figures, summed over all workers."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter, Histogram

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
DECISIONS = ("ok", "uncertain", "out_of_distribution")

predictions = Counter("diascope_predictions", "Images answered", ["label", "decision", "model", "version"])
problems = Counter("diascope_input_problems", "Requests and images refused", ["kind"])
stages = Histogram("diascope_stage_seconds", "Time that an image spends", ["stage"], buckets=SECONDS)


class Counts:
    """The figures of one model; those of every class and decision are there from the start, at 0."""

    def __init__(self, class_names: Iterable[str], model: str, version: str) -> None:
        self._predictions = {
            (label, decision): predictions.labels(label, decision, model, version)
            for label in class_names
            for decision in DECISIONS
        }
        self._decode, self._network = stages.labels("decode"), stages.labels("network")

    def prediction(self, label: str, decision: str) -> None:
        """Count an answer."""
        self._predictions[label, decision].inc()

    def seconds(self, decode: float, network: float) -> None:
        """Count what an image took."""
        self._decode.observe(decode)
        self._network.observe(network)


@cache
def _problem(kind: str) -> Counter:
    return problems.labels(kind)


def problem(kind: str) -> None:
    """Count a refusal."""
    _problem(kind).inc()
