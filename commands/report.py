"""What does `run.py --report` do?"""

import argparse

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE


def report(options: argparse.Namespace) -> int:
    """Write the production model's report, and print its path."""
    configuration = read_configuration(options)
    start_zenml(options.debug)
    from pipelines.report import report_production

    print(report_production(configuration.parameters.promotion.model))
    return DONE
