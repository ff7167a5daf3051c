"""What does `run.py --training` do?"""

import argparse

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE, NOT_PROMOTED
from commands.terminal import print_result, show_steps


def train(options: argparse.Namespace) -> int:
    """Train, compare, evaluate and promote what the configuration says."""
    from diascope.preflight import check_inputs

    configuration = read_configuration(options)
    check_inputs(configuration.parameters)
    start_zenml(options.debug)
    from diascope.summary import as_json, print_table
    from stacks.local import ensure_tracking_stack
    from stacks.ready import make_ready

    announced = f"Training {options.config} on stack {ensure_tracking_stack()!r}."
    configuration = make_ready(configuration, upload=options.upload)
    from pipelines.training_run import train as run_training  # after the checks: it imports what the steps import

    with show_steps(list(configuration.step_ids()), announced, options):
        outcome = run_training(configuration.resolved(), cached=not options.no_cache)
    print_result(outcome, as_json, print_table, options)
    refused = not outcome.decision.promoted and outcome.decision.case != "identical"  # which is in production already
    return NOT_PROMOTED if options.require_promotion and refused else DONE
