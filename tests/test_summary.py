import io
import json

import pytest
from rich.console import Console

from diascope.checks import Finding
from diascope.dataset import DatasetInfo
from diascope.metrics import ClassMetrics, Estimate, Metrics, OperatingPoint
from diascope.promotion import Case, Decision
from diascope.results import CandidateResult, Evaluation
from diascope.summary import Outcome, as_json, print_table

CLASSES = ["benign", "malignant", "normal"]
UNDEFINED = Estimate(value=None)
# The keys that programs rely on.
KEYS = {"pipeline", "run_name", "status", "stack", "model", "winner", "validation", "test", "data"}
KEYS |= {"promotion", "report", "exploration", "sweep", "seconds"}


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.05, high=value + 0.04)


def metrics(n: int, auroc: float) -> Metrics:
    names = ("accuracy", "balanced_accuracy", "auprc", "sensitivity", "specificity", "precision", "f1")
    per_class = [
        ClassMetrics(
            name=name,
            n=n // 3,
            auroc=UNDEFINED if name == "normal" else estimate(auroc),
            **{each: estimate(0.7) for each in ("auprc", "sensitivity", "specificity", "precision", "f1")},
        )
        for name in CLASSES
    ]
    return Metrics(
        n=n,
        n_groups=12,
        interval_unit="patient",
        confidence=0.95,
        resamples=2000,
        class_names=CLASSES,
        confusion=[[8, 1, 1], [0, 9, 1], [2, 0, 8]],
        auroc=estimate(auroc),
        **{name: estimate(0.8) for name in names},
        **{name: estimate(0.1) for name in ("brier", "log_loss", "ece", "ece_uncalibrated")},
        majority_baseline=0.4,
        per_class=per_class,
        reliability=[],
    )


def candidate(name: str, auroc: float) -> CandidateResult:
    return CandidateResult(
        name=name,
        backbone="MobileNetV2",
        description="224 px",
        n=100,
        scores={"auroc": auroc, "balanced_accuracy": 0.7, "log_loss": 0.6},
        plain_scores={"auroc": 0.991, "balanced_accuracy": 0.8, "log_loss": 0.5},
        chosen={"weight_decay": 0.01},
        curve_axis="weight decay",
        curve=[],
        milliseconds=3.25,
        megabytes=1.6,
        seconds=4.0,
    )


@pytest.fixture
def outcome() -> Outcome:
    return make_outcome()


def make_outcome(*, promoted: bool = True, case: Case = "first") -> Outcome:
    reason = ("Promoted" if promoted else "Not promoted") + ": AUROC 0.90 [0.85, 0.94]."
    winner, other = candidate("small", 0.87), candidate("large", 0.86)
    findings = [
        Finding(
            kind="leaks", files=["train/a", "test/a", "test/b"], action="dropped", detail=".", split="test", n_dropped=2
        ),
        Finding(kind="conflicts", files=["x", "y"], action="dropped", detail=".", n_dropped=2),
    ]
    return Outcome(
        run_name="training-1",
        status="completed",
        stack="local",
        model_name="diascope-demo",
        model_version="3",
        model_stage="production" if promoted else None,
        evaluation=Evaluation(
            class_names=CLASSES,
            winner=winner,
            candidates=[other, winner],
            selection="small won: it ties with large and is faster.",
            metric="auroc",
            method="cross_validation",
            groups="patient",
            temperature=1.3,
            validation=metrics(100, 0.88),
            test=metrics(30, 0.9),
            mistakes=[],
            dataset_fingerprint="f" * 64,
            seed=20,
        ),
        decision=Decision(promoted=promoted, case=case, reason=reason, n=30),
        dataset=DatasetInfo(
            source="demo",
            layout="split_folders",
            class_names=CLASSES,
            grouping="patient",
            counts={"train": dict.fromkeys(CLASSES, 30), "test": dict.fromkeys(CLASSES, 10)},
            fingerprint="f" * 64,
            n_found=124,
            findings=findings,
            splits_made=[],
            notices=[],
        ),
        report="/tmp/report.html",
        mlflow_uri="sqlite:////tmp/mlflow.db",
        seconds=65.25,
        step_seconds={"ingest_data": 0.0, "train_small": 12.5},
    )


def printed(outcome: Outcome, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(outcome, console)
    return console.file.getvalue()


def test_json_has_the_keys_that_programs_rely_on(outcome):
    result = json.loads(json.dumps(as_json(outcome), allow_nan=False))

    assert set(result) == KEYS
    assert result["model"] == {"name": "diascope-demo", "version": "3", "stage": "production"}
    assert result["winner"] == {"name": "small", "backbone": "MobileNetV2"}
    assert result["promotion"] == {"promoted": True, "reason": "Promoted: AUROC 0.90 [0.85, 0.94]."}
    assert result["seconds"] == {"total": 65.25, "steps": {"ingest_data": 0.0, "train_small": 12.5}}


def test_json_gives_every_estimate_with_its_interval(outcome):
    result = as_json(outcome)
    test = result["test"]

    assert (test["n"], test["auroc"]) == (30, 0.9)
    assert test["auroc_ci95"] == pytest.approx([0.85, 0.94])
    wanted = {"accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1", "brier", "ece"}
    assert wanted | {f"{name}_ci95" for name in wanted} <= set(test)
    assert test["per_class"]["malignant"]["sensitivity_ci95"] == pytest.approx([0.65, 0.74])
    assert test["per_class"]["normal"]["auroc"] is None
    assert test["per_class"]["normal"]["auroc_ci95"] is None
    assert result["validation"]["auroc"] == 0.88
    assert result["validation"]["candidates"]["large"]["scores"]["auroc"] == 0.86


def test_interval_keys_name_their_confidence(outcome):
    evaluation = outcome.evaluation
    at_90 = evaluation.model_copy(update={"test": evaluation.test.model_copy(update={"confidence": 0.9})})
    result = as_json(Outcome(**{**vars(outcome), "evaluation": at_90}))

    assert "auroc_ci90" in result["test"]
    assert "auroc_ci95" not in result["test"]


def test_json_has_null_for_what_is_not_a_number(outcome):
    first = outcome.evaluation.candidates[0].model_copy(update={"scores": {"auroc": float("nan")}})
    evaluation = outcome.evaluation.model_copy(update={"candidates": [first]})
    result = as_json(Outcome(**{**vars(outcome), "evaluation": evaluation}))

    assert json.loads(json.dumps(result, allow_nan=False))["validation"]["candidates"]["large"]["scores"] == {
        "auroc": None
    }


def test_json_counts_the_data(outcome):
    data = as_json(outcome)["data"]

    assert (data["n"], data["n_found"], data["dropped"]) == (120, 124, 4)
    assert (data["leaks"], data["conflicts"]) == (2, 1)
    assert data["splits"] == {"train": 90, "test": 30}


def test_table_says_what_a_person_needs(outcome):
    text = printed(outcome)

    for each in ("small *", "large", "0.870", "0.991", "3.2", "it ties with large"):  # candidates
        assert each in text
    for each in ("30 images", "12 patients", "0.900", ".850-.940", "malignant (10)", "0.400"):  # test split
        assert each in text
    assert "120 of 124 images used, 4 dropped" in text
    assert "The images are synthetic." in text
    assert "Promoted: AUROC 0.90 [0.85, 0.94]." in text
    for each in ("ingest_data", "cached", "train_small", "12.5", "65.2"):  # seconds
        assert each in text
    for each in ("zenml login --local", "mlflow ui --backend-store-uri sqlite:////tmp/mlflow.db", "/tmp/report.html"):
        assert each in text


def test_table_says_that_the_gate_refused():
    assert "Not promoted: AUROC 0.90 [0.85, 0.94]" in printed(make_outcome(promoted=False))


def test_figures_of_two_classes_are_those_of_the_class_that_is_looked_for(outcome):
    test = outcome.evaluation.test
    point = OperatingPoint(positive_class="malignant", threshold=0.4, target_sensitivity=0.9)
    changes = {"per_class": test.per_class[:2], "class_names": CLASSES[:2], "operating_point": point, "n_groups": None}
    two = test.model_copy(update=changes | {"interval_unit": "image"})
    evaluation = outcome.evaluation.model_copy(update={"test": two})

    text = printed(Outcome(**{**vars(outcome), "evaluation": evaluation}))

    assert "intervals over images" in text
    assert "malignant (10)" in text
    assert "all classes" not in text


def test_remote_mlflow_is_an_address(outcome):
    remote = Outcome(**{**vars(outcome), "mlflow_uri": "https://mlflow.example.org"})

    text = printed(remote)

    assert "https://mlflow.example.org" in text
    assert "backend-store-uri" not in text


def test_class_names_are_shown_as_they_are(outcome):
    test = outcome.evaluation.test
    odd = [each.model_copy(update={"name": "[/bold] [red]"}) for each in test.per_class]
    evaluation = outcome.evaluation.model_copy(update={"test": test.model_copy(update={"per_class": odd})})

    assert "[/bold] [red]" in printed(Outcome(**{**vars(outcome), "evaluation": evaluation}))


def test_no_figure_is_cut_off_in_a_narrow_terminal(outcome):
    long = outcome.evaluation.winner.model_copy(update={"name": "a_candidate_with_a_long_name_of_its_own"})
    evaluation = outcome.evaluation.model_copy(update={"winner": long, "candidates": [long]})

    text = printed(Outcome(**{**vars(outcome), "evaluation": evaluation}), width=80)

    assert "…" not in text
    for figure in ("0.870", "0.991", "3.2", "1.6", "4.0", ".850-.940"):
        assert figure in text


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "log_loss"])
def test_names_are_whole_in_a_terminal_of_80_columns(outcome, metric):
    evaluation = outcome.evaluation
    first = evaluation.candidates[0].model_copy(update={"name": "mobilenet_random", "backbone": "InceptionResNetV2"})
    names = ["squamous.cell.carcinoma", "large_cell_carcinoma", "adenocarcinoma"]
    per_class = [each.model_copy(update={"name": n}) for each, n in zip(evaluation.test.per_class, names, strict=True)]
    test = evaluation.test.model_copy(update={"per_class": per_class})
    changes = {"candidates": [first, *evaluation.candidates[1:]], "test": test, "metric": metric}
    text = printed(Outcome(**{**vars(outcome), "evaluation": evaluation.model_copy(update=changes)}), width=80)

    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for each in ("mobilenet_random", "InceptionResNetV2", "sensitivity  specificity  precision", "adenocarcinoma"):
        assert each in text
    for start, rest in (("squamous.cell.", "carcinoma (10)"), ("large_cell_", "carcinoma (10)")):
        at = next(i for i, line in enumerate(lines) if line.split()[:1] == [start])
        assert lines[at + 1].strip().startswith(rest)
