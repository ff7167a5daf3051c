"""How are logits turned into probabilities that can be believed?"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diascope.errors import InputError

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (n, k) of logits (n, k) divided by the temperature; the last axis sums to 1."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature in [0.05, 20] that minimises the log loss of logits (n, k) not used in fitting the classifier.

    Temperature scaling: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Where every image is
    classified rightly, the log loss has no minimum and certainty would be promised on the ground of n images: then the
    targets are those of Platt, Probabilistic Outputs for Support Vector Machines, 1999, which allow for one error that
    was not seen. Raises InputError on logits that are empty or not finite.
    """
    from scipy.optimize import minimize_scalar

    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.intp)
    if values.ndim != 2 or len(values) == 0 or values.shape[0] != len(truth) or not np.isfinite(values).all():
        raise InputError("a temperature needs finite logits (n, k) with a label each, n at least 1")
    targets = _targets(values, truth)

    def loss(log_temperature: float) -> float:
        return _cross_entropy(values / np.exp(log_temperature), targets)

    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return float(np.clip(np.exp(found.x), LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))


def _targets(logits: NDArray[np.float64], labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """One-hot labels (n, k), softened after Platt where the logits separate the classes completely."""
    n, k = logits.shape
    one_hot = np.eye(k)[labels]
    others = np.where(one_hot == 1, -np.inf, logits).max(axis=1)
    if k == 1 or (logits[np.arange(n), labels] <= others).any():
        return one_hot
    unseen = 1 / (one_hot.sum(axis=0)[labels] + 2)[:, None]
    return np.where(one_hot == 1, 1 - unseen, unseen / (k - 1))


def _cross_entropy(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-(targets * log_probabilities).sum(axis=1).mean())
