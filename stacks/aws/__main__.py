"""Register the AWS stacks, or take them away: `python -m stacks.aws [--delete]`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from diascope.errors import InputError
from diascope.failures import in_a_line
from stacks.aws.values import PREFIX, VALUES_FILE, read_secrets, read_values

DONE, FAILED, WRONG_INPUT = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stacks.aws", description=__doc__, allow_abbrev=False)
    parser.add_argument("--values", type=Path, default=VALUES_FILE, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="find out whether everything is there, register nothing")
    parser.add_argument("--delete", action="store_true", help="take away what was registered; AWS itself is untouched")
    options = parser.parse_args(argv)
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("ZENML_LOGGING_VERBOSITY", "CRITICAL")  # what goes wrong is said here
    try:
        _delete(options.values) if options.delete else _register(options.values, only_check=options.check)
    except InputError as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    except Exception as error:
        from zenml.exceptions import ZenMLBaseException

        if not isinstance(error, RuntimeError | OSError | ZenMLBaseException):
            raise
        # its server went away in between, or does not let us in
        print(f"ZenML failed: {in_a_line(error)}; run again.", file=sys.stderr)
        return FAILED
    return DONE


def _register(path: Path, *, only_check: bool) -> None:
    values, given = read_values(path), read_secrets()
    from stacks.aws.checks import check_values
    from stacks.aws.registration import known_secrets, register
    from stacks.server import check_server

    check_server()
    check_values(values, known_secrets(values.stack) | given)
    print("Everything is there.")
    if only_check:
        return
    names = register(values, given)
    print(f"Registered the stacks {' and '.join(names)}. Use one with `zenml stack set {names[0]}`.")


def _delete(path: Path) -> None:
    from stacks.aws.registration import unregister
    from stacks.server import check_server

    stack = os.environ.get(f"{PREFIX}STACK") or (read_values(path).stack if path.exists() else "aws")
    check_server()
    removed = unregister(stack)
    print(f"Removed {', '.join(removed)}." if removed else f"Nothing of a stack {stack!r} was registered.")


if __name__ == "__main__":
    sys.exit(main())
