"""A sweep in the real pipeline: its step, its runs in MLflow, its page, and what becomes of the best setting."""

import json

import pytest

CANDIDATE = "{name: weak, backbone: MobileNetV2, alpha: 0.35, weights: none, image_sizes: [32], weight_decay: 1e-7}"
SWEEP = "{method: random, trials: 5, over: {weight_decay: {low: 0.1, high: 100, log: true}, head: [ridge, logistic]}}"


@pytest.fixture(scope="module")
def swept(train):
    done = train(
        *("--training", "--json", "--set", f"candidates=[{CANDIDATE}]", "--set", f"sweep={SWEEP}"),
        *("--set", "selection.tolerance=0", "--set", "promotion.model=swept", "--set", "promotion.floors={}"),
    )
    assert done.status == 0, done.err
    return done.result


@pytest.fixture(scope="module")
def steps(swept):
    from zenml.client import Client

    return Client().get_pipeline_run(swept["run_name"]).steps


def test_the_best_setting_is_one_more_candidate_and_may_win(swept, steps):
    candidates = swept["validation"]["candidates"]
    assert list(candidates) == ["weak", "weak_swept"]
    assert candidates["weak"]["trials"] == 0
    assert candidates["weak_swept"]["trials"] == 5
    assert candidates["weak_swept"]["corrected"] is not None
    assert swept["winner"]["name"] == "weak_swept"
    assert swept["promotion"]["promoted"] is True
    trained = steps["sweep_settings"].outputs["swept_candidate"][0].load()
    classifier = steps["evaluate_model"].outputs["classifier"][0].load()
    assert classifier.info.training.candidate == trained.candidate.model_dump(mode="json")
    assert classifier.info.training.candidate["weight_decay"] >= 0.1
    with open(swept["report"], encoding="utf-8") as file:
        assert "best of 5 settings" in file.read()
    assert swept["sweep"] == swept["report"].replace(".html", "-sweep.html")
    with open(swept["sweep"], encoding="utf-8") as file:
        assert file.read() == (trained.root / "sweep.html").read_text(encoding="utf-8")


def test_every_trial_is_a_run_below_that_of_the_step(swept, steps):
    from mlflow import MlflowClient
    from zenml.client import Client

    Client().active_stack.experiment_tracker.configure_mlflow()
    client = MlflowClient()
    experiment = client.search_experiments(filter_string="name = 'training'")[0]
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if run.info.run_name == swept["run_name"])
    below = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert set(below) == {"weak", "weak_swept"}
    assert below["weak_swept"].data.metrics["trials"] == 5
    assert "sweep.html" in {file.path for file in client.list_artifacts(below["weak_swept"].info.run_id)}
    parent_id = below["weak_swept"].info.run_id
    children = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent_id}
    trained = steps["sweep_settings"].outputs["swept_candidate"][0].load()
    trials = json.loads((trained.root / "sweep.json").read_text())["trials"]
    assert set(children) == {f"weak_swept_{number:03}" for number in range(1, 6)}
    for trial in trials:
        run = children[f"weak_swept_{trial['number'] + 1:03}"]
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: str(value) for name, value in trial["settings"].items()}
        assert run.data.metrics["validation_auroc"] == pytest.approx(trial["scores"]["auroc"])
        assert run.data.metrics["seconds"] == pytest.approx(trial["seconds"])
        assert run.data.metrics["milliseconds"] > 0


def test_the_page_is_shown_with_the_artifact(steps):
    shown = steps["sweep_settings"].outputs["swept_candidate"][0].visualizations
    assert {view.uri.rpartition("/")[2] for view in shown} == {"candidate.html", "sweep.html"}
