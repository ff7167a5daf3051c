"""What happens before an action: which experiment is meant, and how is ZenML started quietly?"""

import argparse
import os
from pathlib import Path

from diascope.experiment import RunConfiguration, find_configuration, load

ROOT = Path(__file__).resolve().parent.parent


def read_configuration(options: argparse.Namespace) -> RunConfiguration:
    """The checked configuration that `--config` and `--set` say; raises InputError where they are wrong."""
    return load(find_configuration(options.config, ROOT / "configs"), options.set)


def start_zenml(debug: bool) -> None:
    """Import ZenML with its console logs off unless they were asked for; what a step logs is stored all the same."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "INFO" if debug else "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # a minute; MLflow's own 7 are four
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3")
    os.environ["ZENML_LOGGING_VERBOSITY"] = "DEBUG" if debug else "INFO"  # progress is read from INFO

    import logging

    from zenml.logger import ZenMLConsoleHandler
    from zenml.utils.source_utils import set_custom_source_root

    set_custom_source_root(str(ROOT))  # also where run.py is not the main module
    root = logging.getLogger()
    if not debug:
        root.handlers = [handler for handler in root.handlers if not isinstance(handler, ZenMLConsoleHandler)]
        logging.getLogger("sagemaker.config").setLevel(logging.WARNING)  # where it looks for defaults
