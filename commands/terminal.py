"""How does an action show what it does and what came of it?"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

R = TypeVar("R")


def show_steps(steps: Sequence[str], announced: str, options: argparse.Namespace) -> AbstractContextManager[object]:
    """Show the steps live on a terminal; elsewhere one line says what begins."""
    from diascope.progress import show_progress

    live = sys.stderr.isatty() and not options.debug
    if not live:
        print(announced, file=sys.stderr)
    return show_progress(steps, live=live, debug=options.debug)


def print_result(
    result: R,
    as_json: Callable[[R], dict[str, Any]],
    print_table: Callable[[R, "Console"], None],
    options: argparse.Namespace,
) -> None:
    """Print the result for people, or with `--json` as one object on the last line."""
    if options.json:
        import json

        print(json.dumps(as_json(result), allow_nan=False))
    else:
        from rich.console import Console

        print_table(result, Console())
