"""Which of the settings mattered?"""

import math
from collections.abc import Sequence

from diascope.sweep_config import SweepConfig
from diascope.sweep_results import Trial
from diascope.sweep_samplers import distribution, new_study, params_of
from diascope.sweep_space import axes

FEWEST = 10  # trials; of fewer, a forest says nothing


def importances(config: SweepConfig, trials: Sequence[Trial], metric: str, seed: int) -> dict[str, float]:
    """Return the share of the score's variance that each axis explains by itself, the largest first; they sum to 1.

    Functional analysis of variance over a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014), as Optuna has it.
    Empty where there are too few trials, or all have the same score.
    """
    import optuna

    found = axes(config)
    complete = [trial for trial in trials if not trial.failed]
    if len(complete) < FEWEST or len({trial.scores[metric] for trial in complete}) == 1:
        return {}
    study = new_study()
    distributions = {axis.name: distribution(axis) for axis in found}
    for trial in complete:
        params, score = params_of(found, trial.settings), trial.scores[metric]
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: share for name, share in shares.items() if math.isfinite(share)}
