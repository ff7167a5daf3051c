"""What do clients see of a server, and what does that cost the server?"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks import child
from benchmarks.servers import Server


@dataclass(frozen=True)
class Answered:
    """How a server answered some clients; times and rates are of answers with status 200."""

    p50: float  # milliseconds
    p95: float
    per_second: float
    cpu: float  # of the server, milliseconds per request
    megabytes: float
    failed: dict[str, int]  # statuses other than 200, and errors by name


def load(server: Server, requests: Path, clients: int, seconds: float) -> Answered:
    """Let some clients send requests for some seconds; raises RuntimeError where none is answered."""
    cpu = server.cpu_seconds()
    where = {"host": "127.0.0.1", "port": server.port, "requests": str(requests)}
    seen = child.run("load", clients=clients, seconds=seconds, **where)
    took, failed = seen["milliseconds"], seen["failed"]
    if not took:
        raise RuntimeError(f"The server on port {server.port} answers nothing: {failed}.")
    return Answered(
        p50=statistics.median(took),
        p95=statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0],
        per_second=len(took) / seen["seconds"],
        cpu=1000 * (server.cpu_seconds() - cpu) / (len(took) + sum(failed.values())),
        megabytes=server.megabytes(),
        failed=failed,
    )


def as_line(name: str, answered: Answered) -> str:
    """Return it as a line for a terminal."""
    return (
        f"  {name:<23} p50 {answered.p50:8.2f} ms  p95 {answered.p95:8.2f} ms  {answered.per_second:7.1f} per s  "
        f"CPU {answered.cpu:7.2f} ms  {answered.megabytes:6.0f} MB  {answered.failed or ''}"
    ).rstrip()
