"""What does `run.py --rollback` do?"""

import argparse

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE
from commands.terminal import print_result


def roll_back(options: argparse.Namespace) -> int:
    """Put the model before back into production."""
    configuration = read_configuration(options)
    start_zenml(options.debug)
    from pipelines.rollback import Rollback, roll_back
    from stacks.local import ensure_tracking_stack

    ensure_tracking_stack()
    rolled = roll_back(configuration.parameters.promotion.model)
    print_result(rolled, Rollback.as_json, lambda done, console: console.print(done.sentence, soft_wrap=True), options)
    return DONE
