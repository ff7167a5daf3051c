"""`run.py --data`, and training on a version that is stored, with a real ZenML."""

import pytest

from commands.data import compared_versions
from diascope.errors import InputError
from diascope.experiment import INGESTS

SMALL = {
    "dataset.source": "/gone",  # it is not read
    "dataset.version": "1",
    "candidates": "[{name: small, backbone: MobileNetV2, alpha: 0.35, weights: none, image_sizes: [32], head: ridge}]",
    "selection.folds": "2",
    "evaluation.resamples": "100",
    "promotion.model": "data-versions",
}


@pytest.fixture(scope="module")
def on_version_1(demo_run, train):
    """A small training on the dataset that the demo has stored."""
    said = (word for key, value in SMALL.items() for word in ("--set", f"{key}={value}"))
    return train("--training", "--json", *said)


def test_a_run_on_a_stored_version_uses_that_very_artifact(demo_run, on_version_1):
    assert on_version_1.status == 0, on_version_1.err
    result = on_version_1.result
    assert result["data"] == demo_run.result["data"]
    assert INGESTS not in result["seconds"]["steps"]

    from zenml.client import Client

    run = Client().get_pipeline_run(result["run_name"])
    used = {step.inputs["dataset"][0].id for step in run.steps.values() if "dataset" in step.inputs}
    assert used == {Client().list_artifact_versions(artifact="dataset", version="1").items[0].id}


def test_versions_are_listed(demo_run, on_version_1, train):
    listed = train("--data", "--json")
    assert listed.status == 0, listed.err
    first = listed.result["versions"][0]
    assert (first["version"], first["run"]) == (1, demo_run.result["run_name"])
    assert first["fingerprint"] == demo_run.result["data"]["fingerprint"]
    assert sum(first["images"].values()) == sum(n for split in first["counts"].values() for n in split.values())
    for words in (["--data"], ["--data", "list"]):
        shown = train(*words)
        assert "Version 1, stored" in shown.out


def test_two_versions_are_compared(demo_run, train):
    compared = train("--data", "diff", "1", "1", "--json")
    assert compared.status == 0, compared.err
    assert compared.result["n_same"] == compared.result["n_before"] > 100
    assert not compared.result["came"]


@pytest.mark.parametrize(
    "arguments", [("--data", "diff", "1", "99"), ("--training", "--set", "dataset.version=99", "--json")]
)
def test_a_version_that_does_not_exist_is_one_sentence(arguments, demo_run, train):
    refused = train(*arguments)
    assert refused.status == 2
    last = refused.err.strip().splitlines()[-1]
    assert last.startswith("There is no version 99 of the stored dataset: the last is ")


def test_a_version_whose_files_are_gone_is_one_sentence(demo_run, train, monkeypatch):
    from pathlib import Path

    from zenml.client import Client

    found = Client().list_artifact_versions(artifact="dataset", version="1").items[0]
    folder = Path(found.uri)
    folder.rename(folder.with_name("elsewhere"))
    try:
        refused = train("--data", "diff", "1", "1")
        trained = train("--training", "--set", "dataset.version=1")
    finally:
        folder.with_name("elsewhere").rename(folder)
    for run in (refused, trained):
        assert run.status == 2
        assert "Version 1 of the stored dataset can no longer be read (" in run.err
        assert "leave out dataset.version" in run.err


@pytest.mark.parametrize("words", [["diff"], ["diff", "1"], ["diff", "one", "2"], ["show"], ["diff", "1", "2", "3"]])
def test_other_words_are_refused(words):
    with pytest.raises(InputError, match="`diff A B` with the numbers of two versions"):
        compared_versions(words)
