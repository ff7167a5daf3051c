"""How are servers started, watched and stopped?"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
STARTING = 180  # seconds until a server that does not answer counts as broken


@dataclass(frozen=True)
class Server:
    """A server that answers on `port`; `processes` gives those that work for it."""

    port: int
    startup: float  # seconds until it was ready
    processes: Callable[[], list[psutil.Process]]

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def megabytes(self) -> float:
        """Return the memory of its processes; what they share counts once."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 1e6

    def workers(self) -> list[float]:
        """Return the resident memory of each process in megabytes, the largest first."""
        return sorted((process.memory_info().rss / 1e6 for process in self.processes()), reverse=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(command: list[str], ready: str, environment: dict[str, str], log: Path) -> Iterator[Server]:
    """Run a server while the block runs; `{port}` in the command becomes its port.

    Raises RuntimeError, with the end of its log, where it does not become ready.
    """
    port = free_port()
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        top = psutil.Process(process.pid)
        try:
            await_ready(f"http://127.0.0.1:{port}{ready}", lambda: process.poll() is None, log)
            startup = time.perf_counter() - start
            yield Server(port, startup, lambda: [top, *top.children(recursive=True)])
        finally:
            children = top.children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                if child.is_running():
                    child.kill()


def await_ready(address: str, alive: Callable[[], bool], log: Path) -> None:
    """Return once the address answers 200; raises RuntimeError with the end of the log."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + STARTING
    while alive() and time.monotonic() < until:
        try:
            with direct.open(address, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"{address} does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def tool(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).with_name(name))
