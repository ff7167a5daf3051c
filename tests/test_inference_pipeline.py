"""The real pipeline on the demo: what a batch answers is what was measured, and ZenML knows where it comes from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import run
from diascope.errors import InputError
from diascope.evaluation import EvaluationRecord, probability_columns

ROOT = Path(__file__).resolve().parent.parent
MODEL = "diascope-demo"
KEYS = {
    *("pipeline", "run_name", "status", "stack", "model", "source", "output", "page", "n", "n_resumed", "statuses"),
    *("counts", "images_per_second", "seconds"),
}


@pytest.fixture(scope="module")
def number(demo_run) -> str:
    return demo_run.result["model"]["version"]


@pytest.fixture(scope="module")
def predicted(demo_run, train, number, workplace):
    return train("--inference", "demo", "--output", "demo.csv", "--model-version", number, "--json")


@pytest.fixture(scope="module")
def table(predicted, workplace: Path) -> pd.DataFrame:
    return pd.read_csv(workplace / "demo.csv")


@pytest.fixture(scope="module")
def zenml_run(predicted):
    from zenml.client import Client

    return Client().get_pipeline_run(predicted.result["run_name"])


def test_the_result_says_what_was_predicted(predicted, table, workplace, number):
    assert predicted.status == 0, predicted.err
    result = predicted.result
    assert set(result) == KEYS
    assert (result["pipeline"], result["status"], result["n_resumed"]) == ("inference", "completed", 0)
    assert result["model"] == {"name": MODEL, "version": number}
    assert (result["output"], result["page"]) == (str(workplace / "demo.csv"), str(workplace / "demo.html"))
    assert result["n"] == len(table) == sum(result["statuses"].values())
    assert result["statuses"] == {s: int((table["status"] == s).sum()) for s in result["statuses"]}
    assert result["statuses"]["error"] == 1  # the demo has a broken file on purpose
    assert result["images_per_second"] > 0
    assert list(result["seconds"]["steps"]) == ["find_images", "predict_images", "summarise_predictions"]
    assert len(predicted.out.strip().splitlines()) == 1
    assert "<svg" in (workplace / "demo.html").read_text()


def test_what_is_answered_is_what_was_measured(table, number):
    from zenml.client import Client

    record: EvaluationRecord = Client().get_model_version(MODEL, number).get_artifact("evaluation").load()
    measured = record.predictions()
    measured = measured[measured["split"] == "test"].set_index("sample_id")
    answered = table.set_index("file").loc[measured.index]
    columns = [f"probability_{name}" for name in record.evaluation.class_names]
    probabilities = probability_columns(measured)
    assert len(answered) > 80
    np.testing.assert_allclose(answered[columns].to_numpy(), probabilities, atol=1e-6)
    np.testing.assert_allclose(answered["distance"], measured["distance"], rtol=1e-4)
    assert answered["label"].tolist() == [record.evaluation.class_names[i] for i in probabilities.argmax(axis=1)]
    assert set(table["status"]) == {"ok", "uncertain", "out_of_distribution", "error"}


def test_zenml_knows_model_source_and_result(zenml_run, number):
    from zenml.client import Client

    version = Client().get_model_version(MODEL, number)
    assert zenml_run.model_version.id == version.id
    step = zenml_run.steps["predict_images"]
    (classifier,) = step.inputs["classifier"]
    assert classifier.id == version.get_artifact("classifier").id
    (predictions,) = step.outputs["predictions"]
    assert predictions.run_metadata["source"] == "demo"
    assert predictions.run_metadata["version"] == int(number)
    assert version.get_artifact("predictions").id == predictions.id
    summarise = zenml_run.steps["summarise_predictions"]
    assert summarise.inputs["predictions"][0].id == predictions.id
    assert summarise.outputs["prediction_page"][0].visualizations


def test_the_same_again_comes_from_the_cache_in_the_other_format(train, predicted, table, number, workplace):
    again = train("--inference", "demo", "--output", "demo.parquet", "--model-version", number, "--json")
    assert again.status == 0, again.err
    assert set(again.result["seconds"]["steps"].values()) == {0.0}
    pd.testing.assert_frame_equal(pd.read_parquet(workplace / "demo.parquet"), table, check_dtype=False)


def test_wrong_input_is_one_sentence(train, predicted, workplace):
    before = sorted(workplace.iterdir())
    asked = {
        ("demo", "--output", "demo.txt"): "say .parquet or .csv",
        ("demo", "--output", "nowhere/demo.csv"): "there is no folder 'nowhere'",
        ("/nowhere",): "--inference /nowhere: there is no such file or folder.",
        ("demo", "--set", "promotion.model=nobody"): "No version of 'nobody' is in production: run --training first.",
        ("demo", "--model-version", "99"): f"There is no version 99 of '{MODEL}'",
        ("demo", "--model-version", "99", "--set", "promotion.model=nobody"): "There is no version 99 of 'nobody'",
        ("demo", "--config", "demmo"): "did you mean 'demo'?",
    }
    for arguments, sentence in asked.items():
        done = train("--inference", *arguments)
        assert (done.status, done.out) == (2, ""), arguments
        assert sentence in done.err.splitlines()[-1]
    assert [path for path in sorted(workplace.iterdir()) if path not in before] in ([], [workplace / "reports"])


def test_a_source_without_any_image_is_one_sentence(train, predicted, tmp_path):
    (tmp_path / "notes.bin").write_bytes(b"no image")
    done = train("--inference", str(tmp_path), "--output", str(tmp_path / "out.csv"))
    assert done.status == 2
    assert "Of 1 file none could be predicted, the first because notes.bin is not an image" in done.err
    assert not (tmp_path / "out.csv").exists()


def test_a_path_of_this_machine_is_refused_where_steps_run_elsewhere(train, predicted, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"image")
    monkeypatch.setattr("stacks.here.runs_here", lambda: False)
    done = train("--inference", str(tmp_path))
    assert done.status == 2
    assert f"run elsewhere and cannot read --inference ({tmp_path}): add --upload" in done.err


def test_an_upload_is_what_is_predicted(predicted, monkeypatch, tmp_path):
    from stacks import ready

    monkeypatch.setattr("stacks.here.runs_here", lambda: False)
    monkeypatch.setattr("stacks.preflight.check_stack", lambda: None)
    monkeypatch.setattr(
        ready, "upload_paths", lambda local: {path: f"s3://bucket/{key}" for key, path in local.items()}
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert ready.reachable({"--inference": "/images"}, upload=True) == {"/images": "s3://bucket/--inference"}
    assert ready.reachable({}, upload=False) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--training", "--output", "a.csv"],
        ["--report", "--model-version", "1"],
        ["--inference"],
        ["--inference", "a", "--training"],
        ["--inference", "a", "--model-version", "latest"],
        ["--inference", "a", "--target", "bento"],
        ["--data", "--config", "folder"],
        ["--data", "--set", "promotion.model=a"],
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(arguments)
    assert stopped.value.code == 2


def test_nothing_of_training_is_loaded_to_predict(tmp_path):
    named = "steps.find_images, steps.predict_images, steps.summarise_predictions"
    script = tmp_path / "import_them.py"  # ZenML wants a file, by which it tells whose code a step is
    script.write_text(f"import {named}, sys; print(*sys.modules)")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"tensorflow", "keras", "mlflow", "sklearn"} & {name.partition(".")[0] for name in done.stdout.split()}


def test_a_model_without_a_classifier_is_named(workplace, predicted):
    from zenml.client import Client

    from pipelines.inference_run import find_model
    from pipelines.production import find_artifact

    client = Client()
    client.create_model("without-classifier")
    client.create_model_version("without-classifier")
    with pytest.raises(InputError, match="has no classifier: train it again"):
        find_artifact(find_model("without-classifier", 1), "classifier")
