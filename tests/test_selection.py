"""Which candidate wins?"""

import json

import pytest
from tiny import candidate_result

from diascope.config import SelectionConfig
from diascope.results import CandidateResult
from diascope.selection import SAME_COST, select


def result(name: str, score: float, gigamacs: float = 10, metric: str = "auroc") -> CandidateResult:
    scores = {"auroc": 0.5, "balanced_accuracy": 0.5, "log_loss": 0.5, metric: score}
    return CandidateResult.model_validate_json(candidate_result(name=name, scores=scores, gigamacs=gigamacs))


def config(**options: object) -> SelectionConfig:
    return SelectionConfig.model_validate({"tolerance": 0.01, **options})


def test_the_best_wins_beyond_the_tolerance_however_slow() -> None:
    results = [result("fast", 0.80, 1), result("best", 0.90, 100), result("third", 0.889, 1)]
    winner, sentence = select(results, config())
    assert winner.name == "best"
    assert sentence == "best has the best macro AUROC 0.900 in cross-validation, by more than the tolerance of 0.01."


def test_a_tie_goes_to_the_one_that_costs_less() -> None:
    results = [result("best", 0.90, 100), result("fast", 0.895, 20), result("worse", 0.88, 1)]
    winner, sentence = select(results, config())
    assert winner.name == "fast"
    assert (
        "fast (macro AUROC 0.895 in cross-validation, 20 billion multiply-adds per image) is tied with best" in sentence
    )
    assert "worse" not in sentence


def test_the_sentence_says_that_the_best_of_many_counts_for_less_than_its_score() -> None:
    lucky = result("lucky", 0.91).model_copy(update={"corrected": 0.88})
    winner, sentence = select([result("plain", 0.90), lucky], config())
    assert winner.name == "plain"
    assert sentence.endswith(" What is the best of many counts without what that choice adds.")


def test_a_difference_of_just_the_tolerance_is_a_tie() -> None:
    assert select([result("best", 0.75, 100), result("fast", 0.5, 20)], config(tolerance=0.25))[0].name == "fast"
    assert select([result("best", 0.75, 100), result("fast", 0.5, 20)], config(tolerance=0.2499))[0].name == "best"


def test_costs_that_are_almost_the_same_are_and_the_earlier_wins() -> None:
    for times, expected in ((SAME_COST - 0.01, "first"), (SAME_COST + 0.01, "second")):
        results = [result("first", 0.90, 10 * times), result("second", 0.90, 10), result("third", 0.90, 10)]
        assert select(results, config())[0].name == expected


def test_all_tied_candidates_are_named() -> None:
    results = [result(name, 0.9, 10) for name in ("a", "b", "c")]
    winner, sentence = select(results, config())
    assert winner.name == "a"
    assert "tied with b and c within the tolerance of 0.01" in sentence
    assert "then to the earlier in the configuration" in sentence


def test_a_lower_log_loss_is_better() -> None:
    results = [result(name, loss, metric="log_loss") for name, loss in (("a", 0.9), ("b", 0.3), ("c", 0.6))]
    winner, sentence = select(results, config(metric="log_loss"))
    assert winner.name == "b"
    assert "log loss 0.300" in sentence
    tied = [result("slow", 0.3, 50, "log_loss"), result("fast", 0.305, 5, "log_loss")]
    assert select(tied, config(metric="log_loss"))[0].name == "fast"


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy", "log_loss"])
def test_only_the_chosen_metric_counts(metric: str) -> None:
    best = 0.1 if metric == "log_loss" else 0.9
    assert select([result("a", 0.5), result("b", best, 99, metric)], config(metric=metric))[0].name == "b"


def test_the_only_candidate_wins() -> None:
    winner, sentence = select([result("alone", 0.4)], config(method="validation", metric="balanced_accuracy"))
    assert winner.name == "alone"
    assert sentence == "alone is the only candidate (balanced accuracy 0.500 in the validation split)."


def test_the_test_split_has_no_say() -> None:
    assert "test" not in json.loads(candidate_result())
    assert not any("test" in field for field in CandidateResult.model_fields)
