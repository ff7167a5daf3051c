"""Is what the experiment names there? Asked before anything expensive is imported."""

import os
from pathlib import Path

from diascope.config import DEMO, DatasetConfig, Experiment
from diascope.errors import InputError, nearest


def check_inputs(experiment: Experiment) -> None:
    """Raise InputError where a source, a weights file or a class is missing, or a local folder cannot be a dataset.

    Archives and links are not opened here.
    """
    class_names = _check_source(experiment.dataset)
    positive = experiment.evaluation.positive_class
    if class_names and positive is not None and positive not in class_names:
        raise InputError(
            f"evaluation.positive_class: there is no class {positive!r}; the nearest is "
            f"{nearest(positive, class_names)!r}."
        )
    for index, candidate in enumerate(experiment.candidates):
        if candidate.weights not in ("imagenet", "none") and not os.path.isfile(candidate.weights):
            raise InputError(
                f"candidates.{index}.weights: there is no file {candidate.weights!r}; say imagenet, none, or the path "
                "of a Keras weights file."
            )


def _check_source(config: DatasetConfig) -> tuple[str, ...]:
    """The classes, as far as they can be told without opening anything."""
    if config.source == DEMO or "://" in config.source:
        return ()
    if not os.path.exists(config.source):  # Path.exists raises where the name is too long
        raise InputError(
            f"dataset.source: there is no file or folder {config.source!r}; give a folder, an archive or a link with "
            "--set dataset.source=PATH."
        )
    if not os.path.isdir(config.source):
        return ()
    from diascope.layouts import read_layout

    return read_layout(Path(config.source), config).class_names
