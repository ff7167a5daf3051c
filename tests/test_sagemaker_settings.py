"""Settings for SageMaker that do not go together, refused when the file is read."""

from pathlib import Path

import pytest
import yaml

from diascope.experiment import ConfigurationError, load

ROOT = Path(__file__).resolve().parent.parent
BASE = {
    "dataset": {"source": "demo"},
    "candidates": [{"name": "a", "backbone": "VGG16"}],
    "promotion": {"model": "m"},
}
SPOT = {"use_spot_instances": True}


def problems(tmp_path: Path, settings: dict, step: dict | None = None) -> list[str]:
    document = {"parameters": BASE, "settings": {"orchestrator.sagemaker": settings}}
    if step is not None:
        document["steps"] = {"train_model": {"settings": {"orchestrator.sagemaker": step}}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    try:
        load(path)
    except ConfigurationError as error:
        return error.lines
    return []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_says_what_its_steps_need(path: Path) -> None:
    found = load(path).settings["orchestrator.sagemaker"]
    assert found["instance_type"].startswith("ml.")
    assert found["max_runtime_in_seconds"] <= 14_400
    assert found["tags"]["project"] == "diascope"


def test_what_goes_together(tmp_path: Path) -> None:
    assert problems(tmp_path, {"max_runtime_in_seconds": 60, "estimator_args": SPOT | {"max_wait": 60}}) == []
    assert problems(tmp_path, {"max_runtime_in_seconds": 60}, {"estimator_args": SPOT | {"max_wait": 60}}) == []
    assert problems(tmp_path, {"keep_alive_period_in_seconds": 600}) == []


@pytest.mark.parametrize(
    ("settings", "step", "line"),
    [
        ({"instance_type": "g5.xlarge"}, None, "settings.orchestrator.sagemaker.instance_type: 'g5.xlarge' is none"),
        (
            {"estimator_args": SPOT},
            None,
            "settings.orchestrator.sagemaker.estimator_args.max_wait: spot instances need a max_wait of at least "
            "max_runtime_in_seconds, which is 86400",
        ),
        (
            {"max_runtime_in_seconds": 61},
            {"estimator_args": SPOT | {"max_wait": 60}},
            "steps.train_model.settings.orchestrator.sagemaker.estimator_args.max_wait: spot instances need a max_wait "
            "of at least max_runtime_in_seconds, which is 61",
        ),
        (
            {"keep_alive_period_in_seconds": 600, "max_runtime_in_seconds": 60},
            {"estimator_args": SPOT | {"max_wait": 60}},
            "steps.train_model.settings.orchestrator.sagemaker.keep_alive_period_in_seconds: spot instances cannot be",
        ),
        ({"instance_type": 5}, None, "settings.orchestrator.sagemaker.instance_type: should be text"),
    ],
)
def test_what_sagemaker_would_refuse_later(tmp_path: Path, settings: dict, step: dict | None, line: str) -> None:
    (found,) = problems(tmp_path, settings, step)
    assert line in found
