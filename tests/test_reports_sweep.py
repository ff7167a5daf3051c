"""Does the page of a sweep say what was tried, what came of it and how far it is to be believed?"""

import re
from typing import Any

import pytest
from tiny import candidate_result

from diascope.reports import candidate_page, sweep_page
from diascope.reports.sweep_plots import Scale, label, shown_scores
from diascope.results import CandidateResult
from diascope.sweep_config import SweepConfig
from diascope.sweep_results import Sweep, Trial
from diascope.sweep_space import Axis

OVER = {
    "head": ["ridge", "logistic"],
    "weight_decay": {"low": 1e-6, "high": 1.0, "log": True},
    "network": [{"backbone": "VGG16"}, {"backbone": "<b>"}],
}


def trial(number: int, **options: Any) -> Trial:
    settings = {
        "head": OVER["head"][number % 2],
        "weight_decay": 10.0 ** -(number % 6),
        "network": OVER["network"][number % 2],
    }
    scores = {"auroc": 0.8 + number / 100, "log_loss": 0.5, "accuracy": 0.7}
    known = {"number": number, "settings": settings, "scores": scores, "milliseconds": 2 + number % 2, "seconds": 0.25}
    return Trial.model_validate({**known, **options})


def sweep(**options: Any) -> Sweep:
    known = {
        "config": SweepConfig(trials=12, over=OVER),
        "base": "plain",
        "base_score": 0.812,
        "metric": "auroc",
        "trials": [trial(number) for number in range(11)] + [trial(11, failure="its loss is <nan>.", scores={})],
        "best": 10,
        "tied": 3,
        "resumed": 0,
        "ended": "trials",
        "seconds": 3.0,
        "corrected": 0.876,
        "importances": {"weight_decay": 0.7, "head": 0.2, "network": 0.1},
    }
    return Sweep.model_validate({**known, **options})


def test_the_figures_are_there_with_their_reserve() -> None:
    page = sweep_page(sweep())
    for text in ("12 settings", "0.900", "0.812", "0.876", "trial 11 of 12", "3 settings are", "Optuna"):
        assert text in page
    assert "score that is too good" in page
    assert "Tsamardinos" in page
    assert "test split was not read" in page
    assert "Research use only" in page


def test_the_page_stands_alone_and_everything_is_escaped() -> None:
    page = sweep_page(sweep())
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=", page)
    assert "<b>" not in page
    assert "its loss is &lt;nan&gt;." in page


def test_every_trial_is_a_line_through_every_axis() -> None:
    page = sweep_page(sweep())
    drawing = next(svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "Parallel coordinates" in svg)
    lines = re.findall(r'<polyline points="([^"]*)"', drawing)
    assert len(lines) == 11
    assert {len(line.split()) for line in lines} == {5}  # three settings, the time per image, and the score
    for name in ("head", "weight_decay", "network", "ms per image", "AUROC"):
        assert f">{name}</text>" in drawing
    assert drawing.count("#d55e00") == 1
    assert drawing.rindex("<polyline") == drawing.index('<polyline points="' + lines[-1])
    assert "#d55e00" in drawing[drawing.rindex("<polyline") :]  # what was taken lies on top


def test_shares_are_bars_as_long_as_they_are_large() -> None:
    page = sweep_page(sweep())
    drawing = next(svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "Importance of each" in svg)
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', drawing)]
    assert widths[0] / widths[2] == pytest.approx(7, rel=0.02)
    assert "too few trials" in sweep_page(sweep(importances={}))


def test_one_trial_makes_a_page_too() -> None:
    one = sweep(trials=[trial(0)], best=0, tied=1, corrected=None, importances={}, ended="minutes")
    page = sweep_page(one)
    assert "1 setting of candidate" in page
    assert "corrected for the choice" not in page
    assert "minutes that were allowed are used up" in page


def test_where_less_is_better_the_least_is_first() -> None:
    trials = [trial(i, scores={"log_loss": 0.9 - i / 100, "accuracy": 0.5}) for i in range(5)]
    page = sweep_page(sweep(trials=trials, best=4, metric="log_loss"))
    table = page[page.index("<caption>The best first") :]
    assert re.findall(r'<th scope="row">(\d+)', table)[:5] == ["5", "4", "3", "2", "1"]
    assert shown_scores([0.1, 0.2, 0.3, 5.0], higher_is_better=False) == (0.1, 5.0)
    assert shown_scores([*(0.9 + i / 1000 for i in range(20)), 0.1], higher_is_better=True) == (0.9, 0.919)


def test_values_have_their_place_on_an_axis() -> None:
    scale = Scale(Axis("weight_decay", (), 1e-4, 1.0, log=True))
    assert [round(scale(value), 3) for value in (1e-4, 1e-2, 1.0, 5.0, 1e-9)] == [0, 0.5, 1, 1, 0]
    assert [text for _, text in scale.ticks] == ["0.0001", "0.001", "0.01", "0.1", "1"]
    assert [Scale(Axis("head", ("a", "b")))(value) for value in ("a", "b")] == [0.25, 0.75]
    assert Scale(Axis("x", (1, True)))(True) == 0.75  # which Python calls equal
    assert label([224, 448]) == "224+448"
    assert label({"backbone": "VGG16", "alpha": None}) == "backbone VGG16, alpha null"


def test_a_candidate_that_was_found_says_of_how_many() -> None:
    plain = CandidateResult.model_validate_json(candidate_result())
    assert "Settings tried" not in candidate_page(plain)
    found = plain.model_copy(update={"trials": 200, "corrected": 0.876})
    page = candidate_page(found)
    assert "Settings tried" in page
    assert "200; the best has a score that is too good" in page
    assert "0.876" in page
