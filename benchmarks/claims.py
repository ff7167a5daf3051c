"""Which claims about serving does a measurement bear out?"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.clients import Answered
from benchmarks.figure import Figure

MANY = 16  # clients
FASTER = {"flask": 8.0, "mlflow": 30.0}  # times


@dataclass(frozen=True)
class Measured:
    """One contestant, asked by one client and by many."""

    single: Answered
    busy: Answered


def against_raw(model: str, raw: Answered, name: str, measured: Measured) -> Iterator[Figure]:
    """Hold the service to what decoding, resizing and the network cost alone."""
    allowed = 1.5 * raw.p50 + 1
    bars = {"raw": raw.p50, "allowed": allowed, name: measured.single.p50}
    title = f"{model}: one client, p50 of {name} against 1.5 x raw + 1 ms"
    yield Figure(title, "ms", bars, measured.single.p50 / allowed, 1, "at most")
    bars = {"raw": raw.cpu, name: measured.busy.cpu}
    title = f"{model}: {MANY} clients, CPU per request of {name}"
    yield Figure(title, "ms", bars, measured.busy.cpu / raw.cpu, 1.6, "at most")


def against_rival(model: str, ours: Measured, name: str, rival: Measured) -> Figure:
    """Compare the service with what people would use instead."""
    bars = {"ours": ours.single.p50, name: rival.single.p50}
    notes = [f"{MANY} clients: {ours.busy.per_second:.0f} against {rival.busy.per_second:.0f} per second"]
    ratio = rival.single.p50 / ours.single.p50
    return Figure(f"{model}: one client, p50 against {name}", "ms", bars, ratio, FASTER[name], "at least", notes)


def on_one_core(model: str, raw: Answered, busy: Answered) -> Figure:
    """Compare rates on one core, with the clients on others."""
    bars = {"raw": raw.per_second, "ours": busy.per_second}
    title = f"{model}: {MANY} clients on other cores, one core for the service"
    return Figure(title, "per s", bars, busy.per_second / raw.per_second, 0.6, "at least")


def under_load(model: str, minutes: float, rounds: list[Answered]) -> Figure:
    """Compare memory at the end with that after the first round; a failure misses the target."""
    held = [each.megabytes for each in rounds]
    failed = {kind: sum(each.failed.get(kind, 0) for each in rounds) for each in rounds for kind in each.failed}
    bars = {"after the first minute": held[0], "largest": max(held), "at the end": held[-1]}
    notes = [f"{minutes:g} minutes, {MANY} clients, failures: {failed or 'none'}"]
    ratio = float("inf") if failed else held[-1] / held[0]
    return Figure(f"{model}: memory under load without a failure", "MB", bars, ratio, 1.05, "at most", notes)
