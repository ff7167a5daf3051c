"""What do `run.py --deployment --status` and `--delete` do with a service that is there?"""

import argparse

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE, FAILED
from commands.terminal import print_result


def show_status(options: argparse.Namespace) -> int:
    """Say how the service at `--target` is doing."""
    parameters = read_configuration(options).parameters
    start_zenml(options.debug)
    from diascope.deployment import print_rows
    from pipelines.service import service_status

    status = service_status(parameters.promotion.model, options.target, parameters.deployment)
    print_result(status.model_dump(), dict, print_rows, options)
    return FAILED if status.state == "failed" else DONE


def delete(options: argparse.Namespace) -> int:
    """Remove the service at `--target`."""
    parameters = read_configuration(options).parameters
    start_zenml(options.debug)
    from diascope.deployment import print_removed
    from pipelines.service import delete_service

    removed = delete_service(parameters.promotion.model, options.target, parameters.deployment)
    print_result({"target": options.target, "removed": removed}, dict, print_removed, options)
    return DONE
