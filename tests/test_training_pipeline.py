"""The real pipeline through ZenML, on the demo and on changed copies of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diascope.classifier import Classifier
from diascope.config import CandidateConfig
from diascope.demo import write_demo
from diascope.evaluation import EvaluationRecord, probability_columns
from diascope.experiment import load, step_ids
from diascope.promotion import Decision

ROOT = Path(__file__).resolve().parent.parent
MODEL = "diascope-demo"
# One weak candidate, so that further runs take seconds.
WEAK = "candidates=[{name: weak, backbone: MobileNetV2, alpha: 0.35, weights: none, image_sizes: [32]}]"


@pytest.fixture(scope="module")
def client(demo_run):
    from zenml.client import Client

    return Client()


@pytest.fixture(scope="module")
def zenml_run(client, demo_run):
    return client.get_pipeline_run(demo_run.result["run_name"])


@pytest.fixture(scope="module")
def version(client, demo_run):
    return client.get_model_version(MODEL, demo_run.result["model"]["version"])


@pytest.fixture(scope="module")
def mlflow_client(client, demo_run):
    from mlflow import MlflowClient

    client.active_stack.experiment_tracker.configure_mlflow()
    return MlflowClient()


def test_the_demo_ends_promoted_with_what_was_planted_found(demo_run):
    assert demo_run.status == 0, demo_run.err
    result = demo_run.result
    assert result["status"] == "completed"
    assert result["stack"] == "local"
    assert result["winner"] == {"name": "compact_cnn", "backbone": "compact_cnn"}
    assert result["test"]["auroc"] >= 0.95
    low, high = result["test"]["auroc_ci95"]
    assert low <= result["test"]["auroc"] <= high
    assert result["promotion"]["promoted"] is True
    assert result["model"] == {"name": MODEL, "version": "1", "stage": "production"}
    data = result["data"]
    assert (data["unreadable"], data["blank"], data["leaks"], data["conflicts"]) == (1, 1, 1, 1)
    assert data["n"] + data["dropped"] == data["n_found"]
    assert "compact_cnn" in Path(result["report"]).read_text(encoding="utf-8")


def test_nothing_but_the_json_is_on_stdout(demo_run):
    assert len(demo_run.out.strip().splitlines()) == 1


def test_every_step_ran_under_the_id_that_configurations_may_name(zenml_run):
    experiment = load(ROOT / "configs" / "demo.yaml").parameters
    assert set(zenml_run.steps) == set(step_ids(experiment.candidates))
    assert all(step.status.value == "completed" for step in zenml_run.steps.values())


def test_candidates_see_the_same_images(zenml_run):
    candidates = [
        zenml_run.steps[name].outputs["candidate"][0].load() for name in ("train_compact_cnn", "train_mobilenet_random")
    ]
    rows = [sorted(candidate.out_of_fold()[0]) for candidate in candidates]
    assert rows[0] == rows[1] == list(range(candidates[0].result.n))


@pytest.mark.parametrize(
    ("step", "output", "words"),
    [
        ("ingest_data", "dataset", "synthetic_p005_s9.png"),
        ("check_data", "data_report", "synthetic_p005_s9.png"),
        ("extract_features_mobilenet_random", "features", "vary most"),
        ("base_model_compact_cnn", "backbone", "out.</p>"),
        ("group_images", "groups", "Groups are patients."),
        ("explore_data", "data_exploration", "This page contains images of the data set."),
        ("train_compact_cnn", "candidate", "epoch"),
        ("train_mobilenet_random", "candidate", "weight decay"),
        ("select_model", "selected_classifier", "The test split has not been read yet."),
        ("evaluate_model", "classifier", "On the test split"),
        ("evaluate_model", "evaluation", "Synthetic images"),
    ],
)
def test_artifacts_have_a_page_in_the_dashboard(zenml_run, step, output, words):
    artifact = zenml_run.steps[step].outputs[output][0]
    pages = [shown for shown in artifact.visualizations if shown.type.value == "html"]
    assert len(pages) == 1
    text = Path(pages[0].uri).read_text(encoding="utf-8")
    assert words in text
    assert "esearch use only" in text


def test_the_stored_classifier_answers_as_it_was_evaluated(version):
    classifier: Classifier = version.get_artifact("classifier").load()
    record: EvaluationRecord = version.get_artifact("evaluation").load()
    dataset = version.get_artifact("dataset").load()
    table = record.predictions()
    test = table[table["split"] == "test"]
    encoded = dataset.read(test["sample_id"].tolist())
    again = classifier.predict(list(encoded.values()))
    assert np.abs(again.probabilities - probability_columns(test)).max() < 1e-5
    accuracy = np.mean(np.array(again.labels) == np.array(classifier.info.class_names)[test["label"]])
    assert accuracy == pytest.approx(record.evaluation.test.accuracy.value)
    assert classifier.info.test == record.evaluation.test


def test_the_test_split_stands_in_no_feature_and_no_fold(zenml_run, version):
    index = version.get_artifact("dataset").load().index()
    test = set(index.loc[index["split"] == "test", "sample_id"])
    features = zenml_run.steps["extract_features_mobilenet_random"].outputs["features"][0].load()
    groups = zenml_run.steps["group_images"].outputs["groups"][0].load()
    assert test
    assert test.isdisjoint(features.sample_ids)
    assert test.isdisjoint(groups)


def test_mlflow_has_a_run_with_a_child_for_each_candidate(zenml_run, mlflow_client):
    experiment = mlflow_client.search_experiments(filter_string="name = 'training'")[0]
    runs = mlflow_client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if run.info.run_name == zenml_run.name]
    assert len(parents) == 1
    parent = parents[0]
    children = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(children) == {"compact_cnn", "mobilenet_random"}
    losses = mlflow_client.get_metric_history(children["compact_cnn"].info.run_id, "loss")
    assert len(losses) > 3
    assert losses[-1].value < losses[0].value
    assert children["compact_cnn"].data.params["backbone"] == "compact_cnn"
    assert children["mobilenet_random"].data.metrics["validation_auroc"] > 0.5
    assert "plain_auroc" in children["mobilenet_random"].data.metrics
    assert parent.data.tags["winner"] == "compact_cnn"
    files = {file.path for file in mlflow_client.list_artifacts(parent.info.run_id)}
    assert "evaluation.html" in files


def test_mlflow_metrics_equal_the_summary(demo_run, zenml_run, mlflow_client):
    experiment = mlflow_client.search_experiments(filter_string="name = 'training'")[0]
    runs = mlflow_client.search_runs([experiment.experiment_id], f"run_name = '{zenml_run.name}'")
    assert runs[0].data.metrics["test_auroc"] == demo_run.result["test"]["auroc"]
    assert runs[0].data.metrics["test_accuracy"] == demo_run.result["test"]["accuracy"]


def test_the_champion_in_mlflow_is_the_promoted_model(version, mlflow_client):
    import mlflow

    champion = mlflow_client.get_model_version_by_alias(MODEL, "champion")
    assert str(champion.version) == version.run_metadata["mlflow_version"]
    info = mlflow.models.get_model_info(f"models:/{MODEL}@champion")
    assert info.signature.inputs.inputs[0].type == np.dtype(np.uint8)
    classifier = version.get_artifact("classifier").load()
    model = mlflow.keras.load_model(f"models:/{MODEL}@champion")
    images = np.random.default_rng(0).integers(0, 255, (3, *model.input_shape[1:]), dtype=np.uint8)
    answers = model(images, training=False).numpy()
    assert np.abs(answers - classifier.predict(list(images)).probabilities).max() < 1e-4


def test_a_second_run_takes_everything_from_the_cache_without_tensorflow(demo_run, workplace):
    program = (
        "import sys, run; status = run.main(['--training', '--json']);"
        "print([name for name in ('tensorflow', 'keras', 'mlflow', 'openvino') if name in sys.modules]);"
        "sys.exit(status)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workplace, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *_, line, imported = done.stdout.strip().splitlines()
    second, first = json.loads(line), demo_run.result
    assert "tensorflow" not in imported
    assert "keras" not in imported
    assert second["test"] == first["test"]
    assert second["model"] == first["model"]  # the same version, not another one
    assert second["promotion"]["promoted"] is False
    assert "same answers" in second["promotion"]["reason"]
    ran = {name for name, seconds in second["seconds"]["steps"].items() if seconds > 0}
    assert ran == {"promote_model"}


def test_a_weaker_model_is_refused_and_production_stays(demo_run, train, client):
    refused = train("--training", "--json", "--require-promotion", "--set", WEAK)
    assert refused.status == 3, refused.err
    result = refused.result
    assert result["promotion"]["promoted"] is False
    assert result["model"]["version"] == "2"
    assert result["model"]["stage"] != "production"
    assert client.get_model_version(MODEL, "production").number == 1


def test_other_classes_cannot_replace_production(demo_run, train, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "images"
    write_demo(folder)
    for path in folder.glob("*/spiculated"):
        shutil.rmtree(path)
    other = ["--set", f"dataset.source={folder}", "--set", "promotion.floors={}"]
    refused = train("--training", "--json", "--set", WEAK, *other)
    assert refused.status == 0, refused.err
    assert refused.result["promotion"]["promoted"] is False
    assert "other classes" in refused.result["promotion"]["reason"]
    assert client.get_model_version(MODEL, "production").number == 1
    assert refused.result["test"]["operating_point"]["positive_class"] == "nodule"


def test_a_better_model_replaces_a_weaker_one(train, client, demo_run):
    other = ["--set", "promotion.model=contest", "--set", "promotion.floors={}"]
    first = train("--training", "--json", "--set", WEAK, *other).result
    assert (first["model"]["version"], first["model"]["stage"]) == ("1", "production")
    second = train("--training", "--json", *other).result
    assert second["promotion"]["promoted"] is True
    assert (second["model"]["version"], second["model"]["stage"]) == ("2", "production")
    assert client.get_model_version("contest", "1").stage == "archived"
    assert "better" in second["promotion"]["reason"]


def test_the_same_run_twice_gives_the_same_numbers(train):
    candidate = "candidates=[{name: small, backbone: compact_cnn, weights: none, image_sizes: [32], epochs: 2}]"
    settings = ("--set", candidate, "--set", "selection.method=validation", "--set", "promotion.model=repeated")
    arguments = ("--training", "--json", "--no-cache", *settings)
    first, second = train(*arguments).result, train(*arguments).result
    assert first["test"] == second["test"]
    one, other = (result["validation"]["candidates"]["small"]["scores"] for result in (first, second))
    assert one == other


def test_report_writes_the_production_models_report(demo_run, train):
    done = train("--report")
    assert done.status == 0
    path = Path(done.out.strip())
    text = path.read_text(encoding="utf-8")
    assert "Promoted as the first model in production" in text
    assert "compact_cnn" in text


def test_the_version_keeps_the_whole_decision(demo_run, version):
    decision = Decision.model_validate(version.run_metadata["decision"])
    assert (decision.promoted, decision.case) == (True, "first")
    assert decision.reason == demo_run.result["promotion"]["reason"]
    assert decision.n == demo_run.result["test"]["n"]


def test_report_of_nothing_says_so(demo_run, train):
    done = train("--report", "--set", "promotion.model=nobody")
    assert done.status == 2
    assert "No version of 'nobody' is in production" in done.err


def test_candidates_with_the_same_features_share_one_extraction(train, client):
    shared = "{backbone: MobileNetV2, alpha: 0.35, weights: none, image_sizes: [32]"
    candidates = f"candidates=[{shared}, name: one}}, {shared}, name: two, class_weights: none}}]"
    result = train("--training", "--json", "--set", candidates, "--set", "promotion.model=shared").result
    steps = client.get_pipeline_run(result["run_name"]).steps
    assert "extract_features_one" in steps
    assert "extract_features_two" not in steps


def test_a_missing_class_ends_the_run_with_one_sentence(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("missing") / "images"
    write_demo(folder)
    shutil.rmtree(folder / "test" / "nodule")
    done = train("--training", "--set", f"dataset.source={folder}")
    assert done.status == 2
    assert "nodule" in done.err
    assert "Traceback" not in done.err


def test_every_candidate_key_is_known_to_the_tracker(zenml_run, mlflow_client):
    experiment = mlflow_client.search_experiments(filter_string="name = 'training'")[0]
    child = mlflow_client.search_runs([experiment.experiment_id], "run_name = 'compact_cnn'")[0]
    assert set(CandidateConfig.model_fields) == {name.partition(".")[0] for name in child.data.params}
