"""Is what the experiment names there? Asked before anything expensive is imported."""

from pathlib import Path

from diascope.config import DatasetConfig, Experiment
from diascope.errors import InputError

DEMO = "demo"


def check_inputs(experiment: Experiment) -> None:
    """Raise InputError where a local source or a weights file is missing, or a local folder cannot be a dataset.

    Archives and links are not opened here.
    """
    _check_source(experiment.dataset)
    for index, candidate in enumerate(experiment.candidates):
        if candidate.weights not in ("imagenet", "none") and not Path(candidate.weights).is_file():
            raise InputError(
                f"candidates.{index}.weights: there is no file {candidate.weights!r}; say imagenet, none, or the path "
                "of a Keras weights file."
            )


def _check_source(config: DatasetConfig) -> None:
    if config.source == DEMO or "://" in config.source:
        return
    source = Path(config.source)
    if not source.exists():
        raise InputError(
            f"dataset.source: there is no file or folder {config.source!r}; give a folder, an archive or a link with "
            "--set dataset.source=PATH."
        )
    if source.is_dir():
        from diascope.layouts import read_layout

        read_layout(source, config)
