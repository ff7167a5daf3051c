"""How is a classifier fitted on stored features?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.config import CandidateConfig

if TYPE_CHECKING:
    import keras

# Strength of the L2 penalty as in mean(loss) + decay / 2 * |w|^2, on features scaled to a mean squared length of 1.
WEIGHT_DECAYS = tuple(10.0**exponent for exponent in range(-8, 0))


@dataclass(frozen=True)
class Head:
    """Dense layers from features to logits, with ReLU between them; each is (weights (d_in, d_out), bias (d_out,))."""

    layers: list[tuple[np.ndarray, np.ndarray]]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (n, n_classes) of features (n, d)."""
        x = features
        for position, (weights, bias) in enumerate(self.layers):
            x = x @ weights + bias
            if position < len(self.layers) - 1:
                x = np.maximum(x, 0)
        return x

    def scaled(self, temperature: float) -> "Head":
        """Return the head whose softmax is calibrated: logits divided by the temperature."""
        *hidden, (weights, bias) = self.layers
        return Head([*hidden, (weights / temperature, bias / temperature)])

    def attach(self, features: "keras.KerasTensor") -> "keras.KerasTensor":
        """Continue a Keras graph from features to logits."""
        from keras import layers

        x = features
        for position, (weights, bias) in enumerate(self.layers):
            last = position == len(self.layers) - 1
            dense = layers.Dense(
                len(bias), activation=None if last else "relu", name="logits" if last else f"hidden_{position}"
            )
            x = dense(x)
            dense.set_weights([weights, bias])
        return x

    def save(self, path: Path) -> None:
        """Write the head as .npz."""
        np.savez(path, *[array for layer in self.layers for array in layer])  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read a head that `save` wrote."""
        with np.load(path) as stored:
            arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
        return cls(list(zip(arrays[::2], arrays[1::2], strict=True)))


@dataclass(frozen=True)
class Standardiser:
    """Mean 0 and standard deviation 1 per feature, as seen on the images that were fitted."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Standardiser":
        deviation = features.std(axis=0, dtype=np.float64)
        constant = deviation < 1e-6 * max(float(deviation.max(initial=0)), 1e-12)
        return cls(features.mean(axis=0, dtype=np.float64), np.where(constant, np.inf, deviation))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) / self.scale

    def fold_into(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the layer on raw features that equals the given layer on standardised ones."""
        raw = weights / self.scale[:, None]
        return raw.astype(np.float32), (bias - self.mean @ raw).astype(np.float32)

    def with_equal_blocks(self, widths: list[int]) -> "Standardiser":
        """Return the one that gives every block of features the same share of a mean squared length of 1."""
        shares = np.repeat([np.sqrt(width * len(widths)) for width in widths], widths)
        return Standardiser(self.mean, self.scale * shares)


def class_weights(labels: np.ndarray, n_classes: int, config: CandidateConfig) -> np.ndarray:
    """Return one weight per class, mean 1 over images; `balanced` gives every class the same total."""
    if config.class_weights == "none":
        return np.ones(n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    return len(labels) / (n_classes * np.maximum(counts, 1))


def fit_logistic(
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    decays: Sequence[float],
    config: CandidateConfig,
    widths: list[int] | None = None,
) -> list[Head]:
    """Fit one multinomial logistic regression per weight decay; returns heads on the raw features.

    Parameters
    ----------
    features: (n, d); labels: (n,), every class must occur.
    decays: in any order; fits are warm-started from the strongest to the weakest.
    widths: of the blocks that features consist of, each of which then counts the same; None: one block.

    The penalty is rotation invariant, so the fit happens in the at most n dimensions that the images span and is mapped
    back: exact, and many times faster where d is larger than n.
    """
    from threadpoolctl import threadpool_limits

    standardise = Standardiser.of(features).with_equal_blocks(widths or [features.shape[1]])
    z = standardise(features)
    weight = class_weights(labels, n_classes, config)[labels]
    with threadpool_limits(1):  # the matrices are small: threads would spend their time waiting for each other
        reduced, rotation = _rotated(z)
        fitted = _descend_path(reduced, labels, n_classes, weight / weight.sum(), sorted(decays)[::-1], config.epochs)
    heads = {decay: Head([standardise.fold_into(rotation @ w, b)]) for decay, (w, b) in fitted.items()}
    return [heads[decay] for decay in decays]


def _rotated(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z (n, d) in the basis of its principal axes (n, r), and those axes (d, r)."""
    if z.shape[1] <= len(z):
        _, axes = np.linalg.eigh(z.T @ z)
        return z @ axes, axes
    squares, left = np.linalg.eigh(z @ z.T)
    kept = squares > 1e-10 * squares.max()
    lengths = np.sqrt(squares[kept])
    return left[:, kept] * lengths, z.T @ (left[:, kept] / lengths)


def _descend_path(
    z: np.ndarray, labels: np.ndarray, n_classes: int, share: np.ndarray, decays: list[float], iterations: int
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """Minimise the penalised cross-entropy for each decay by L-BFGS, scaled by its approximate curvature.

    The columns of z are uncorrelated, so the curvature is close to diagonal: dividing by its root lets even a weak
    penalty converge in few iterations (Nocedal and Wright, Numerical Optimization, 2006, chapter 5.1).
    """
    from scipy.optimize import minimize

    truth = np.eye(n_classes)[labels]
    r = z.shape[1]
    weights, bias = np.zeros((r, n_classes)), np.log((truth * share[:, None]).sum(axis=0))
    variance = share @ z**2
    fitted = {}
    for decay in decays:
        step = 1 / np.sqrt(variance / n_classes + decay)[:, None]

        def loss(flat: np.ndarray, step: np.ndarray = step, decay: float = decay) -> tuple[float, np.ndarray]:
            w, b = flat[: r * n_classes].reshape(r, n_classes) * step, flat[r * n_classes :]
            logits = z @ w + b
            logits -= logits.max(axis=1, keepdims=True)
            exponential = np.exp(logits)
            total = exponential.sum(axis=1)
            value = share @ (np.log(total) - (logits * truth).sum(axis=1)) + decay / 2 * (w**2).sum()
            error = (exponential / total[:, None] - truth) * share[:, None]
            return value, np.concatenate([((z.T @ error + decay * w) * step).ravel(), error.sum(axis=0)])

        start = np.concatenate([(weights / step).ravel(), bias])
        options = {"maxiter": iterations, "gtol": 1e-5, "ftol": 1e-9}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        weights, bias = found[: r * n_classes].reshape(r, n_classes) * step, found[r * n_classes :]
        fitted[decay] = weights, bias
    return fitted
