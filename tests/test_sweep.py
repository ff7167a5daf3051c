"""What does a sweep try, share, keep and find?"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeping import OVER, SEED, SELECTION, config, ground, images, run
from tiny import candidate, groups, imagined, scratch

from diascope import linear_fit, sweep_journal, sweep_trials
from diascope.candidates import frozen_fit, train_candidate
from diascope.config import SelectionConfig
from diascope.development import Development
from diascope.errors import InputError
from diascope.features import Backbone, FeatureSpec
from diascope.heads import Reduced
from diascope.reductions import Reductions
from diascope.results import Search
from diascope.selection import select
from diascope.sweep import chosen_base, sweep_candidate
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import Seen
from diascope.sweep_results import Sweep, Trial
from diascope.sweep_space import with_settings
from diascope.trained_candidate import TrainedCandidate

ROOT = Path(__file__).resolve().parent.parent


def measured(trials: list[Trial]) -> list[dict[str, Any]]:
    """Trials without what a clock says."""
    return [trial.model_dump(exclude={"seconds", "waited"}) for trial in trials]


def test_a_trial_is_measured_as_a_candidate_is(tmp_path: Path) -> None:
    _, sweep = run(config(), tmp_path)
    base, seen = ground()
    for trial in sweep.trials[:3]:
        alone = train_candidate(
            with_settings(base.candidate, trial.settings),
            seen.backbone,
            images(),
            seen.features,
            groups(images()),
            SELECTION,
            SEED,
            scratch(),
        )
        assert trial.scores == pytest.approx(alone.result.scores)
        assert trial.chosen == pytest.approx(alone.result.chosen)
        assert (trial.milliseconds, trial.megabytes) == (alone.result.milliseconds, alone.result.megabytes)


def test_the_best_trial_becomes_a_candidate_like_any_other(tmp_path: Path) -> None:
    found, sweep = run(config(), tmp_path)
    base, seen = ground()
    best = max(trial.scores["auroc"] for trial in sweep.trials)
    assert sweep.winner.scores["auroc"] == best
    assert found.result.name == "small_swept"
    assert found.base == "small"
    assert found.candidate == with_settings(base.candidate, sweep.winner.settings)
    assert found.result.scores == sweep.winner.scores
    assert found.result.plain_scores is not None
    assert found.result.trials == 8
    rows, logits = found.out_of_fold()
    assert sorted(rows) == list(range(60))
    assert logits.shape == (60, 2)
    assert found.backbone(seen.backbone) is seen.backbone  # nothing of the pipeline's is stored again
    assert found.features(seen.features) is seen.features
    assert Sweep.model_validate_json((found.root / "sweep.json").read_text()) == sweep


def test_trials_share_the_decomposition_of_each_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = Reduced.of.__func__
    monkeypatch.setattr(Reduced, "of", classmethod(lambda cls, *args: made.append(1) or original(cls, *args)))
    run(config(trials=12, over={**OVER, "head": ["blend", "logistic", "ridge"]}), tmp_path)
    assert len(made) == 3 + 3  # folds of the trials, and the plain ones of the one that was taken


def test_a_shared_decomposition_changes_nothing() -> None:
    _, seen = ground()
    development = Development.of(images(), groups(images()))
    folds = development.folds(SELECTION, SEED)
    shared, cramped = Reductions(), Reductions(room=1)
    assert seen.inputs is not None
    for options in (
        {"head": "ridge"},
        {"head": "logistic", "class_weights": "balanced"},
        {"resampling": "undersample"},
    ):
        config = candidate(**options)
        alone = frozen_fit(config, seen.backbone, seen.inputs, development, SEED).compare(folds)
        for reductions in (shared, cramped):
            fit = frozen_fit(config, seen.backbone, seen.inputs, development, SEED, (), reductions)
            np.testing.assert_array_equal(fit.compare(folds).logits, alone.logits)


def test_settings_that_make_the_same_candidate_are_tried_once(tmp_path: Path) -> None:
    over = {"head": ["ridge", "logistic"], "epochs": [50, 60, 70], "weight_decay": [0.1]}
    for method in ("grid", "random", "tpe"):
        trials = None if method == "grid" else 50
        _, sweep = run(config(method=method, trials=trials, over=over), tmp_path / method)
        assert sweep.ended == "everything"
        tried = [(t.settings["head"], t.settings["epochs"]) for t in sweep.trials]
        assert len(tried) == 4  # ridge reads no epochs
        assert len({pair for pair in tried if pair[0] == "logistic"}) == 3


@pytest.mark.parametrize("method", ["grid", "random", "tpe"])
def test_the_same_sweep_again_tries_the_same(method: str, tmp_path: Path) -> None:
    over = {**OVER, "weight_decay": [1e-4, 1e-2, 1.0]}
    said = config(method=method, trials=12, over=over)
    one, other = run(said, tmp_path / "one")[1], run(said, tmp_path / "other")[1]
    assert measured(one.trials) == measured(other.trials)
    assert len({json.dumps(trial.settings) for trial in one.trials}) == 12
    elsewhere = run(said, tmp_path / "seed", seed=SEED + 1)[1]
    assert [t.settings for t in elsewhere.trials] != [t.settings for t in one.trials]


def test_a_larger_budget_goes_on_from_the_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(config(method="tpe", trials=5), tmp_path)[1]
    tried = []
    original = sweep_trials._try
    monkeypatch.setattr(sweep_trials, "_try", lambda number, *args: tried.append(number) or original(number, *args))
    more = run(config(method="tpe", trials=9), tmp_path)[1]
    assert tried == [5, 6, 7, 8]
    assert more.resumed == 5
    assert more.trials[:5] == first.trials
    assert run(config(method="tpe", trials=5), tmp_path)[1].trials == first.trials
    assert tried == [5, 6, 7, 8]


def test_other_data_folds_or_candidates_begin_anew(tmp_path: Path) -> None:
    run(config(trials=3), tmp_path)
    assert run(config(trials=3), tmp_path)[1].resumed == 3
    assert run(config(trials=3), tmp_path, seed=SEED + 1)[1].resumed == 0
    assert run(config(trials=3), tmp_path, selection=SelectionConfig(folds=4))[1].resumed == 0
    assert run(config(trials=3, over={**OVER, "head": ["ridge"]}), tmp_path)[1].resumed == 0
    base, seen = ground()
    own = {FeatureSpec.of(base.candidate).key: seen}
    elsewhere = {name: f"x{group}" for name, group in groups(images()).items()}
    arguments = config(trials=3), base, own, images(), elsewhere, SELECTION, SEED
    assert sweep_candidate(*arguments, "", scratch(), cache=tmp_path)[1].resumed == 0
    assert sweep_candidate(*arguments, "other weights", scratch(), cache=tmp_path)[1].resumed == 0


@pytest.mark.parametrize("library", ["scikit-learn", "pillow", "openvino"])
def test_other_folds_pixels_or_features_of_another_library_begin_anew(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(trials=2), tmp_path)
    known = sweep_journal._version
    monkeypatch.setattr(sweep_journal, "_version", lambda name: "another" if name == library else known(name))
    assert run(config(trials=2), tmp_path)[1].resumed == 0


def test_a_sweep_keeps_its_sampler_and_its_study_quiet(tmp_path: Path) -> None:
    import optuna

    for method in ("random", "tpe"):
        optuna.logging.set_verbosity(optuna.logging.INFO)
        run(config(method=method, trials=10), tmp_path)
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING


KILLED = """
import sys, time
from pathlib import Path
from sweeping import config, run

def told(trial, candidate):
    print(trial.number, flush=True)
    time.sleep(0.2)

run(config(method="tpe", trials=16), Path(sys.argv[1]), told)
"""


def test_a_killed_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 11:
                child.send_signal(signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    (lines,) = (tmp_path / "cache").rglob("trials.jsonl")
    with lines.open("a") as file:
        file.write('{"number": 99, "sett')  # as if it had been killed while it wrote
    _, resumed = run(config(method="tpe", trials=16), tmp_path / "cache")
    assert 12 <= resumed.resumed < 16
    _, whole = run(config(method="tpe", trials=16), tmp_path / "other")
    assert measured(resumed.trials) == measured(whole.trials)
    assert (resumed.best, resumed.corrected, resumed.importances) == (whole.best, whole.corrected, whole.importances)


def test_minutes_that_are_used_up_end_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sweep_trials._try
    monkeypatch.setattr(
        sweep_trials, "_try", lambda *args: original(*args).model_copy(update={"seconds": 20.0, "waited": 0.0})
    )
    _, sweep = run(config(trials=None, minutes=1.0), tmp_path)
    assert len(sweep.trials) == 3
    assert sweep.ended == "minutes"
    assert sweep.seconds == 60


def test_a_trial_that_fails_is_told_and_the_others_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = linear_fit.LinearFit.compare

    def compare(self: linear_fit.LinearFit, pairs: Any) -> Any:
        if self.candidate.head == "ridge":
            raise InputError("the loss is no longer a number.")
        return original(self, pairs)

    monkeypatch.setattr(linear_fit.LinearFit, "compare", compare)
    _, sweep = run(config(trials=10), tmp_path)
    failed = [trial for trial in sweep.trials if trial.failed]
    assert 0 < len(failed) < 10
    assert {trial.settings["head"] for trial in failed} == {"ridge"}
    assert sweep.winner.settings["head"] == "logistic"
    with pytest.raises(InputError, match=r"None of 4 trials of the sweep could be fitted: the loss is no longer"):
        run(config(trials=4, over={"head": ["ridge"], "weight_decay": [0.1, 0.2, 0.3, 0.4]}), tmp_path)


def test_a_bug_is_no_failed_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(*args: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(linear_fit.LinearFit, "compare", compare)
    with pytest.raises(KeyError):
        run(config(), tmp_path)


def trial(number: int, auroc: float, gigamacs: float) -> Trial:
    return Trial(number=number, settings={}, scores={"auroc": auroc, "log_loss": 1 - auroc}, gigamacs=gigamacs)


def test_of_tied_trials_the_cheapest_is_taken_and_of_equally_cheap_ones_the_best() -> None:
    trials = [trial(0, 0.9, 5), trial(1, 0.897, 1), trial(2, 0.898, 1.05), trial(3, 0.89, 0.1)]
    best, tied = sweep_trials.best_of(trials, SelectionConfig(tolerance=0.005))
    assert (best.number, tied) == (2, 3)
    best, tied = sweep_trials.best_of(trials, SelectionConfig(tolerance=0, metric="log_loss"))
    assert (best.number, tied) == (0, 1)


def test_the_winner_of_the_comparison_is_swept_unless_another_is_named(tmp_path: Path) -> None:
    found, _ = run(config(), tmp_path)
    base, _ = ground()
    both = [base, found]
    winner, _ = select([each.result for each in both], SELECTION)
    assert chosen_base(config(), both, SELECTION).result.name == winner.name
    assert chosen_base(config(candidate="small"), both, SELECTION) is base


def test_what_the_winner_sees_comes_along_where_it_is_not_its_bases(tmp_path: Path) -> None:
    base, seen = ground()
    assert seen.inputs is not None
    labels = Development.of(images(), groups(images())).labels
    better = seen.inputs + 2 * labels[:, None]
    other = with_settings(base.candidate, {"image_sizes": [40]})
    own = {FeatureSpec.of(base.candidate).key: seen, FeatureSpec.of(other).key: Seen(*imagined(better, images()))}
    over = {"image_sizes": [[32], [40]], "weight_decay": [1e-3, 1e-2]}
    arguments = config(method="grid", trials=None, over=over), base, own, images(), groups(images()), SELECTION, SEED
    found, sweep = sweep_candidate(*arguments, "", scratch(), cache=tmp_path)
    assert sweep.winner.settings["image_sizes"] == [40]
    inputs = found.inputs(seen.features)
    assert inputs is not None
    np.testing.assert_allclose(inputs, better, atol=1e-6)
    assert found.backbone(seen.backbone).root == found.root / "backbone"
    assert {path.name for path in (tmp_path / "sweeps").iterdir()} == {next((tmp_path / "sweeps").iterdir()).name}


def test_a_frozen_trial_of_a_base_that_is_trained_brings_its_features_along(tmp_path: Path) -> None:
    base, seen = ground()
    trained = TrainedCandidate(Path(shutil.copytree(base.root, tmp_path / "tuned")))
    tuned = candidate(fine_tune_layers=2, feature_norm="none")
    result = trained.result.model_copy(update={"candidate": tuned})
    (trained.root / "result.json").write_text(result.model_dump_json())
    own = {FeatureSpec.of(tuned).key: seen}  # which a frozen candidate may see as well
    over = {"fine_tune_layers": [0], "weight_decay": [1e-3, 1e-2]}
    said = config(method="grid", trials=None, over=over)
    arguments = said, TrainedCandidate(trained.root), own, images(), groups(images()), SELECTION, SEED
    found, _ = sweep_candidate(*arguments, "", scratch(), cache=tmp_path / "cache")
    np.testing.assert_array_equal(found.inputs(None), seen.inputs)  # of the base the pipeline has none


def corrected_after(search: Search | None, said: SweepConfig, cache: Path) -> tuple[float | None, Sweep]:
    base, seen = ground()
    root = Path(shutil.copytree(base.root, scratch() / "base"))
    (root / "result.json").write_text(base.result.model_copy(update={"search": search}).model_dump_json())
    arguments = said, TrainedCandidate(root), {FeatureSpec.of(base.candidate).key: seen}, images(), groups(images())
    found, sweep = sweep_candidate(*arguments, SELECTION, SEED, "", scratch(), cache=cache)
    assert found.result.corrected == sweep.corrected
    return sweep.corrected, sweep


def test_what_a_search_has_added_to_its_base_is_taken_off_every_trial(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"sets": [], "taken": 0, "known": 1, "images": 60, "seconds": 0}
    search = Search(metric="auroc", optimism=0.02, **nothing)
    plain, sweep = corrected_after(None, config(), tmp_path)
    assert plain is not None
    assert plain <= sweep.winner.scores["auroc"]
    assert corrected_after(search, config(), tmp_path)[0] == pytest.approx(plain - 0.02)
    one = config(trials=1)
    assert corrected_after(None, one, tmp_path)[0] is None
    alone, sweep = corrected_after(search, one, tmp_path)
    assert alone == pytest.approx(sweep.winner.scores["auroc"] - 0.02)


def test_the_correction_is_of_the_trial_that_is_taken(tmp_path: Path) -> None:
    """With a tolerance that ties all of them nothing is chosen by its score, and nothing is taken off."""
    base, seen = ground()
    assert seen.inputs is not None
    cheap = with_settings(base.candidate, {"image_sizes": [40]})
    noise = np.random.default_rng(4).normal(size=seen.inputs.shape)
    own = {}
    for made, inputs, gigamacs in ((base.candidate, seen.inputs, 2), (cheap, noise, 1)):
        backbone, features = imagined(inputs, images())
        described = backbone.info.model_copy(update={"gigamacs": gigamacs})
        (backbone.root / "backbone.json").write_text(described.model_dump_json())
        own[FeatureSpec.of(made).key] = Seen(Backbone(backbone.root), features)
    over = {"image_sizes": [[32], [40]]}
    said, tied = config(method="grid", trials=None, over=over), SelectionConfig(folds=3, tolerance=1)
    arguments = said, base, own, images(), groups(images()), tied, SEED
    found, sweep = sweep_candidate(*arguments, "", scratch(), cache=tmp_path)
    assert sweep.winner.settings["image_sizes"] == [40]
    assert found.result.corrected == sweep.winner.scores["auroc"]


def test_what_a_search_left_of_the_features_is_what_trials_see(tmp_path: Path) -> None:
    base, seen = ground()
    pruned = TrainedCandidate(Path(shutil.copytree(base.root, tmp_path / "pruned")))
    columns = np.arange(0, 30, 2)
    np.save(pruned.root / "columns.npy", columns)
    backbone, _ = imagined(np.zeros((60, 15)), images())
    own = {FeatureSpec.of(base.candidate).key: Seen(backbone, seen.features, columns)}
    arguments = config(trials=3), pruned, own, images(), groups(images()), SELECTION, SEED
    found, sweep = sweep_candidate(*arguments, "", scratch(), cache=tmp_path / "cache")
    assert np.load(found.root / "columns.npy").tolist() == columns.tolist()
    assert sweep.winner.scores["auroc"] != run(config(trials=3), tmp_path / "cache")[1].winner.scores["auroc"]
