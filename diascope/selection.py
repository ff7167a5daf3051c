"""Which candidate wins?"""

import numpy as np

from diascope.comparison import HIGHER_IS_BETTER
from diascope.config import SelectionConfig
from diascope.results import CandidateResult

SAME_COST = 1.1  # costs this close are the same; the earlier one in the configuration wins


def select(results: list[CandidateResult], config: SelectionConfig) -> tuple[CandidateResult, str]:
    """Return the winner and one sentence that says why it won.

    What was the best of many feature sets or settings counts without what that choice adds to its score. Candidates
    whose score is within the tolerance of the best are tied, and the tie goes to the one that costs least at
    inference, then to the earlier one in the configuration. Cost is counted in multiply-adds: a timing would make the
    winner depend on what else the machine did.
    """
    sign = 1 if HIGHER_IS_BETTER[config.metric] else -1
    best = max(results, key=lambda result: sign * comparable(result, config.metric))
    top = comparable(best, config.metric)
    tied = [r for r in results if sign * (top - comparable(r, config.metric)) <= config.tolerance]
    least = min(r.gigamacs for r in tied)
    winner = next(r for r in tied if r.gigamacs <= SAME_COST * least)
    how = "cross-validation" if config.method == "cross_validation" else "the validation split"
    name = {"auroc": "macro AUROC", "balanced_accuracy": "balanced accuracy", "log_loss": "log loss"}[config.metric]
    figure = f"{name} {comparable(winner, config.metric):.3f} in {how}"
    chosen = any(r.corrected is not None for r in results)
    note = " What is the best of many counts without what that choice adds." if chosen else ""
    if len(results) == 1:
        return winner, f"{winner.name} is the only candidate ({figure}).{note}"
    if winner is best and len(tied) == 1:
        return winner, f"{winner.name} has the best {figure}, by more than the tolerance of {config.tolerance:g}.{note}"
    others = " and ".join(r.name for r in tied if r is not winner)
    return winner, (
        f"{winner.name} ({figure}, {winner.gigamacs:.2g} billion multiply-adds per image) is tied with {others} within "
        f"the tolerance of {config.tolerance:g}; the tie goes to the one that costs less at inference, then to the "
        f"earlier in the configuration.{note}"
    )


def comparable(result: CandidateResult, metric: str) -> float:
    """Return the score that a candidate is compared by."""
    return result.scores[metric] if result.corrected is None else result.corrected


def best_for_its_cost(scores: np.ndarray, gigamacs: np.ndarray, tolerance: float) -> int:
    """Return the place of what is taken of many settings: of those tied with the best it is the cheapest.

    `scores` and `gigamacs` are (n,), higher scores are better. Of equally cheap ones it is the best: nobody has put
    settings in an order, as candidates are.
    """
    tied = scores.max() - scores <= tolerance
    cheap = tied & (gigamacs <= SAME_COST * gigamacs[tied].min())
    return int(np.where(cheap, scores, -np.inf).argmax())
