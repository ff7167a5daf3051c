"""What does `run.py --inference` do?"""

import argparse
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE
from commands.terminal import print_result, show_steps

if TYPE_CHECKING:
    from zenml.models import ModelVersionResponse

REPORTS = Path("reports")


def infer(options: argparse.Namespace) -> int:
    """Predict every image of a source, and write a table of the answers with a page beside it."""
    from diascope.downloads import shown
    from diascope.inference_images import check_source, fingerprint, is_local
    from diascope.inference_table import check_output

    configuration, source = read_configuration(options), options.inference
    if options.output is not None:
        check_output(Path(options.output), source)
    check_source(source)
    start_zenml(options.debug)
    from diascope.inference_outcome import as_json, print_table
    from stacks.local import ensure_tracking_stack
    from stacks.ready import reachable

    stack, parameters = ensure_tracking_stack(), configuration.parameters
    from pipelines.inference_run import find_model, predict

    version = find_model(parameters.promotion.model, options.model_version)
    uploaded = reachable({"--inference": source} if is_local(source) else {}, upload=options.upload)
    source = uploaded.get(source, source)
    state = fingerprint(source)
    output = Path(options.output) if options.output else _default_output(options.inference, version)
    from pipelines.inference import STEPS

    model = f"{version.model.name} version {version.number}"
    announced = f"Predicting {shown(options.inference)} with {model} on stack {stack!r}."
    with show_steps(STEPS, announced, options):
        outcome = predict(
            version,
            source,
            state,
            parameters.dataset,
            configuration.surroundings(),
            output,
            cached=not options.no_cache,
        )
    print_result(outcome, as_json, print_table, options)
    return DONE


def _default_output(source: str, version: "ModelVersionResponse") -> Path:
    """Below the working directory, named after the source and the model; raises InputError where it cannot be."""
    from diascope.downloads import shown
    from diascope.errors import InputError
    from diascope.inference_table import check_output

    name = re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(shown(source)).name).strip("-")[:60] or "images"
    path = REPORTS / f"{name}-{version.model.name}-{version.number}.parquet"
    try:
        REPORTS.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {str(REPORTS.absolute())!r} cannot be made: {error.strerror}.") from error
    check_output(path)
    return path
