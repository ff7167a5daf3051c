"""How far is the run?"""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

Progress = Callable[[str, int, int | None], None]  # what is being done, how much is done, of how much where known

STARTED = re.compile(r"^Step `(.+)` has started\.$")
CACHED = re.compile(r"^Using cached version of step `(.+)`\.$")
FINISHED = re.compile(r"^Step `(.+)` has finished in ")
FAILED = re.compile(r"^Failed to run step `(.+)`:")
# What TensorFlow's libraries say before they can be told to be quiet.
CHATTER = re.compile(
    rb"WARNING: All log messages before absl|[IW]0000 \d|To enable the following instructions|"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
)


@dataclass
class StepState:
    """What is known of one step."""

    state: str = "waiting"  # running, done, cached, failed
    started: float = 0.0
    seconds: float = 0.0
    note: str = ""  # what it is at


class StepLog(logging.Handler):
    """Follows the steps of a run through what ZenML logs about them."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(logging.INFO)
        self.steps = {name: StepState() for name in steps}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        for pattern, state in ((STARTED, "running"), (CACHED, "cached"), (FINISHED, "done"), (FAILED, "failed")):
            if match := pattern.match(message):
                self._enter(match[1], state)

    def _enter(self, name: str, state: str) -> None:
        step = self.steps.setdefault(name, StepState())
        if state == "running":
            step.started = time.monotonic()
        elif step.state == "running":
            step.seconds = time.monotonic() - step.started
        step.state = state

    def tell(self, what: str, done: int, total: int | None) -> None:
        """Note how far the running step is."""
        for step in self.steps.values():
            if step.state == "running":
                step.note = f"{what} {done / total:.0%}" if total else f"{what} {done:,}"

    def __rich__(self) -> "Table":
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        marks = {"waiting": "[dim]·", "done": "[green]✓", "cached": "[cyan]✓", "failed": "[red]✗"}
        table = Table.grid(padding=(0, 1))
        for name, step in self.steps.items():
            running = step.state == "running"
            seconds = time.monotonic() - step.started if running else step.seconds
            shown = "cached" if step.state == "cached" else f"{seconds:.1f} s" if seconds else ""
            note = Text(step.note if running else "", style="dim")
            table.add_row(Spinner("dots") if running else marks[step.state], name, f"[dim]{shown}", note)
        return table


_shown: list[StepLog] = []  # of the run that goes on in this process, if one does


def tell(what: str, done: int, total: int | None) -> None:
    """Show how far the running step is, where a run is shown: `done` of `total` bytes or images."""
    for log in _shown:
        log.tell(what, done, total)


@contextmanager
def show_progress(steps: Sequence[str], *, live: bool, debug: bool = False) -> Iterator[StepLog]:
    """Show the steps with their state and seconds on stderr while the run goes on, which may print what it likes.

    With `live` false nothing is shown. Standard output stays free for the result either way. Unless `debug`,
    TensorFlow's native messages at start-up, which no setting turns off, are left out.
    """
    log = StepLog(steps)
    zenml = logging.getLogger("zenml")
    zenml.addHandler(log)
    _shown.append(log)
    try:
        with (
            redirect_stdout(sys.stderr),
            nullcontext(sys.stderr) if debug else _without_chatter() as terminal,
            _live(log, terminal) if live else nullcontext(),
        ):
            yield log
    finally:
        zenml.removeHandler(log)
        _shown.remove(log)


def _live(log: StepLog, terminal: TextIO) -> "Live":
    from rich.console import Console
    from rich.live import Live

    return Live(log, console=Console(file=terminal), refresh_per_second=8)


@contextmanager
def _without_chatter() -> Iterator[TextIO]:
    """Let through what is written to file descriptor 2, but for lines that match CHATTER; gives the way around."""
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as real:
        read, write = os.pipe()
        os.dup2(write, 2)
        os.close(write)
        reader = Thread(target=_pass_on, args=(read, real.fileno()), daemon=True)
        reader.start()
        try:
            yield real
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)  # closes the pipe, so that the reader comes to its end
            reader.join(timeout=1)


def _pass_on(source: int, target: int) -> None:
    with open(source, "rb") as lines:
        for line in lines:
            if not CHATTER.match(line):
                os.write(target, line)
