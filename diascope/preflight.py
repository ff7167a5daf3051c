"""Is what the experiment names there? Asked before anything expensive is imported."""

import os
from pathlib import Path

from diascope.config import DEMO, DatasetConfig, Experiment
from diascope.errors import InputError, nearest

KERAS_WEIGHTS = ("imagenet", "none")


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
    for key, weights in _weights(experiment).items():
        if not weights.startswith("s3://") and not os.path.isfile(weights):
            raise InputError(
                f"{key}: there is no file {weights!r}; say imagenet, none, or where a Keras weights file is, as a path "
                "or s3://."
            )


def local_inputs(experiment: Experiment) -> dict[str, str]:
    """Return what the experiment reads from this machine: the keys of the configuration, and the paths they give."""
    source = {} if experiment.dataset.source == DEMO else {"dataset.source": experiment.dataset.source}
    return {key: path for key, path in (source | _weights(experiment)).items() if not _is_remote(path)}


def refuse_local_inputs(experiment: Experiment, stack: str) -> None:
    """Raise InputError where steps that run elsewhere would need files of this machine."""
    if local := local_inputs(experiment):
        said = " and ".join(f"{key} ({path})" for key, path in local.items())
        raise InputError(
            f"Steps of the stack {stack!r} run elsewhere and cannot read {said}: add --upload, which puts what they "
            "need beside the artifacts in S3, once, or copy it to S3 and name its s3:// address."
        )


def _weights(experiment: Experiment) -> dict[str, str]:
    """The weights files by their key."""
    return {
        f"candidates.{index}.weights": candidate.weights
        for index, candidate in enumerate(experiment.candidates)
        if candidate.weights not in KERAS_WEIGHTS
    }


def _is_remote(path: str) -> bool:
    return "://" in path


def _check_source(config: DatasetConfig) -> tuple[str, ...]:
    """The classes, as far as they can be told without opening anything."""
    if config.source == DEMO or _is_remote(config.source):
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
