import os
from pathlib import Path

import pytest

from diascope.config import Experiment
from diascope.errors import InputError
from diascope.preflight import check_inputs, local_inputs, refuse_local


def experiment(source: str, weights: str = "none", positive_class: str | None = None) -> Experiment:
    candidate = {"name": "a", "backbone": "VGG16", "weights": weights}
    return Experiment.model_validate(
        {
            "dataset": {"source": source},
            "candidates": [candidate],
            "evaluation": {"positive_class": positive_class},
            "promotion": {"model": "m"},
        }
    )


def class_folders(root: Path) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        (root / name / "1.png").write_bytes(b"not looked at yet")
    return root


@pytest.mark.parametrize("source", ["demo", "https://example.org/a.zip", "s3://bucket/folder"])
def test_what_is_not_local_is_not_looked_at(source):
    check_inputs(experiment(source))


def test_class_folders_pass(tmp_path):
    check_inputs(experiment(str(class_folders(tmp_path / "data"))))


def test_a_missing_path_is_named():
    with pytest.raises(InputError, match=r"dataset\.source: there is no file or folder '/nowhere/data'"):
        check_inputs(experiment("/nowhere/data"))


def test_a_name_that_is_too_long_is_missing():
    with pytest.raises(InputError, match=r"dataset\.source: there is no file or folder 'xxx"):
        check_inputs(experiment("x" * 5000))
    with pytest.raises(InputError, match=r"candidates\.0\.weights: there is no file 'xxx"):
        check_inputs(experiment("demo", weights="x" * 5000))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"dataset\.source: '.*pipe' is neither a file nor a folder"):
        check_inputs(experiment(str(tmp_path / "pipe")))


def test_a_positive_class_that_the_folders_do_not_have_is_named(tmp_path):
    source = str(class_folders(tmp_path / "data"))
    check_inputs(experiment(source, positive_class="dog"))
    with pytest.raises(InputError, match=r"evaluation\.positive_class: there is no class 'dogs'; the nearest is 'dog'"):
        check_inputs(experiment(source, positive_class="dogs"))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=f"no image in '{tmp_path}'"):
        check_inputs(experiment(str(tmp_path)))


def test_missing_weights_are_named(tmp_path):
    here = tmp_path / "my.weights.h5"
    here.touch()
    check_inputs(experiment("demo", weights=str(here)))
    with pytest.raises(InputError, match=r"candidates\.0\.weights: there is no file 'imagenette'"):
        check_inputs(experiment("demo", weights="imagenette"))


def test_weights_in_s3_are_not_looked_at():
    check_inputs(experiment("demo", weights="s3://bucket/my.weights.h5"))
    with pytest.raises(InputError, match=r"candidates\.0\.weights: there is no file 'https://example\.org/w\.h5'"):
        check_inputs(experiment("demo", weights="https://example.org/w.h5"))


@pytest.mark.parametrize("source", ["demo", "s3://bucket/folder", "https://example.org/a.zip"])
def test_what_is_not_of_this_machine_may_be_read_elsewhere(source):
    refuse_local(local_inputs(experiment(source, weights="s3://bucket/my.weights.h5")), "aws")
    assert local_inputs(experiment(source)) == {}


def test_files_of_this_machine_are_refused_with_the_way_out():
    both = experiment("/data/ct", weights="my.weights.h5")
    assert local_inputs(both) == {"dataset.source": "/data/ct", "candidates.0.weights": "my.weights.h5"}
    with pytest.raises(InputError) as raised:
        refuse_local(local_inputs(both), "aws")
    assert str(raised.value) == (
        "Steps of the stack 'aws' run elsewhere and cannot read dataset.source (/data/ct) and candidates.0.weights "
        "(my.weights.h5): add --upload, which puts what they need beside the artifacts in S3, once, or copy it to S3 "
        "and name its s3:// address."
    )
