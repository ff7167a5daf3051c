"""How well does a linear head tell the classes of held-out images by their inner products alone?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diascope.calibration import fit_temperature, softmax
from diascope.config import CandidateConfig
from diascope.development import Development, Fold
from diascope.heads import RIDGE_SCALE
from diascope.metrics import log_loss
from diascope.weighting import weigh

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """Calibrated out-of-fold logits (m, n_classes), the place of their weight decay in DECAYS, their temperature."""

    logits: Floats
    decay: int
    temperature: float


def out_of_fold(
    gram: np.ndarray, development: Development, pairs: list[Fold], candidate: CandidateConfig, seed: int
) -> Tuned:
    """Return what the folds hold out, fold by fold, with the weight decay that leaves the least log loss.

    The logits are those of `diascope.heads.fit_ridge`, solved in the dual (Saunders, Gammerman and Vovk, ICML 1998).
    `gram` (n, n) are the inner products of the development images.
    """
    truth = RIDGE_SCALE * np.eye(len(development.class_names))[development.labels]
    parts: list[list[Floats]] = []
    for fit, held_out in pairs:
        rows, weights = weigh(fit, development, candidate, seed).once()
        parts.append(ridge(gram[np.ix_(rows, rows)], gram[np.ix_(held_out, rows)], truth[rows], weights))
    labels = development.labels[np.concatenate([held_out for _, held_out in pairs])]
    found = []
    for decay, each in enumerate(zip(*parts, strict=True)):
        logits = np.concatenate(each)
        temperature = fit_temperature(logits, labels)
        found.append(Tuned(logits / temperature, decay, temperature))
    return min(found, key=lambda each: log_loss(labels, softmax(each.logits)))


def ridge(fitted: np.ndarray, others: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> list[Floats]:
    """Return what ridge regression answers to other images (m, k), for each weight decay.

    Parameters
    ----------
    fitted, others: inner products with the fitted images, of these (n, n) and of the others (m, n).
    targets: (n, k); weights: how much each fitted image counts (n,).
    """
    from scipy.linalg import cho_factor, cho_solve

    share = weights / weights.sum()
    a, b = fitted.astype(np.float64), others.astype(np.float64)
    to_mean, mean = a @ share, share @ targets
    b += share @ to_mean - to_mean - (b @ share)[:, None]
    a += share @ to_mean - to_mean - to_mean[:, None]
    diagonal = np.diag_indices_from(a)
    answers = []
    for decay in DECAYS:
        penalised = a.copy()
        penalised[diagonal] += decay / share
        factor = cho_factor(penalised, lower=True, overwrite_a=True, check_finite=False)
        answers.append(b @ cho_solve(factor, targets - mean, check_finite=False) + mean)
    return answers
