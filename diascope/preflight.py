"""Is what the experiment names there? Asked before anything expensive is imported."""

import os
from collections.abc import Mapping
from pathlib import Path

from diascope import hub
from diascope.config import DEMO, DatasetConfig, Experiment
from diascope.errors import InputError, nearest
from diascope.kaggle import handle, is_kaggle
from diascope.sweep_space import values_of

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
    for key, folder in _presets(experiment).items():
        if not is_remote(folder) and not os.path.isfile(os.path.join(folder, hub.CONFIG_FILE)):
            raise InputError(
                f"{key}: there is no preset of KerasHub in {folder!r}: name a folder with a {hub.CONFIG_FILE} and "
                "weights, or one of KerasHub's presets by its name."
            )


def local_inputs(experiment: Experiment) -> dict[str, str]:
    """Return what the experiment reads from this machine: the keys of the configuration, and the paths they give."""
    read = experiment.dataset.source != DEMO and experiment.dataset.version is None
    source = {"dataset.source": experiment.dataset.source} if read else {}
    return {key: path for key, path in (source | _networks(experiment)).items() if not is_remote(path)}


def refuse_local(local: Mapping[str, str], stack: str) -> None:
    """Raise InputError where steps that run elsewhere would need paths of this machine, each under what names it."""
    if local:
        said = " and ".join(f"{key} ({path})" for key, path in local.items())
        raise InputError(
            f"Steps of the stack {stack!r} run elsewhere and cannot read {said}: add --upload, which puts what they "
            "need beside the artifacts in S3, once, or copy it to S3 and name its s3:// address."
        )


def _networks(experiment: Experiment) -> dict[str, str]:
    """What of the user's networks are made of."""
    return _weights(experiment) | _presets(experiment)


def _presets(experiment: Experiment) -> dict[str, str]:
    """The folders with presets by their key."""
    said = {f"candidates.{i}.backbone": each.backbone for i, each in enumerate(experiment.candidates)}
    folders = {key: hub.folder_of(name) for key, name in (said | _swept(experiment, "backbone")).items()}
    return {key: folder for key, folder in folders.items() if folder}


def _weights(experiment: Experiment) -> dict[str, str]:
    """The weights files by their key."""
    said = {f"candidates.{index}.weights": each.weights for index, each in enumerate(experiment.candidates)}
    said |= _swept(experiment, "weights")
    return {key: os.path.expanduser(weights) for key, weights in said.items() if weights not in KERAS_WEIGHTS}


def _swept(experiment: Experiment, key: str) -> dict[str, str]:
    """What a sweep gives a key of the candidate, by where it is said."""
    return values_of(experiment.sweep, key) if experiment.sweep else {}


def is_remote(path: str) -> bool:
    """Whether a source or file is somewhere else, where every machine can read it."""
    return "://" in path or is_kaggle(path)


def _check_source(config: DatasetConfig) -> tuple[str, ...]:
    """The classes, as far as they can be told without opening anything."""
    if config.version is not None:  # then the source is not read
        return ()
    if is_kaggle(config.source):
        handle(config.source)
    if config.source == DEMO or is_remote(config.source):
        return ()
    if not os.path.exists(config.source):  # Path.exists raises where the name is too long
        raise InputError(
            f"dataset.source: there is no file or folder {config.source!r}; give a folder, an archive or a link with "
            "--set dataset.source=PATH."
        )
    if os.path.isfile(config.source):
        return ()
    if not os.path.isdir(config.source):  # reading a pipe or device may never end
        raise InputError(f"dataset.source: {config.source!r} is neither a file nor a folder.")
    from diascope.layouts import read_layout

    return read_layout(Path(config.source), config).class_names
