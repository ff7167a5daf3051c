"""What does `run.py --data` do?"""

import argparse
from collections.abc import Sequence

from commands.start import start_zenml
from commands.statuses import DONE
from commands.terminal import print_result
from diascope.errors import InputError

USAGE = "--data takes nothing or `list`, or `diff A B` with the numbers of two versions"


def show_data(options: argparse.Namespace) -> int:
    """List the stored versions of the dataset, or say how two of them differ."""
    compared = compared_versions(options.data)
    start_zenml(options.debug)
    if compared:
        _show_difference(*compared, options)
    else:
        _show_list(options)
    return DONE


def compared_versions(words: Sequence[str]) -> tuple[int, int] | None:
    """Return the two versions that are to be compared, or None where all are to be listed; raises InputError."""
    if list(words) in ([], ["list"]):
        return None
    if len(words) != 3 or words[0] != "diff" or not all(word.isdecimal() for word in words[1:]):
        raise InputError(f"{USAGE}; {' '.join(words)!r} is neither.")
    return int(words[1]), int(words[2])


def _show_list(options: argparse.Namespace) -> None:
    from diascope.dataset_versions import list_as_json, print_list
    from pipelines.data import stored_versions

    print_result(stored_versions(), list_as_json, print_list, options)


def _show_difference(before: int, after: int, options: argparse.Namespace) -> None:
    from diascope.dataset_versions import difference, difference_as_json, print_difference
    from pipelines.data import open_version

    found = difference(open_version(before).index(), open_version(after).index())
    print_result(found, difference_as_json, print_difference, options)
