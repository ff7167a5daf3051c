"""How is a classifier fitted on stored features?"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from diascope.block_lengths import SHORTEST, of_length_1
from diascope.config import CandidateConfig

if TYPE_CHECKING:
    import keras
    from threadpoolctl import ThreadpoolController

# Strength of the L2 penalty as in mean(loss) + decay / 2 * |w|^2, on features scaled to a mean squared length of 1.
WEIGHT_DECAYS = tuple(10.0**exponent for exponent in range(-8, 0))
OUTLIER = 10.0  # standard deviations
RIDGE_SCALE = 10.0  # of the class indicators, so that temperatures of both kinds of head are of the same order

RegularisationPath = Callable[
    [np.ndarray, np.ndarray, int, np.ndarray, list[float], int], dict[float, tuple[np.ndarray, np.ndarray]]
]


@dataclass(frozen=True)
class Head:
    """From features to logits: scaling, where there is one, then dense layers with ReLU between them.

    Each layer is (weights (d_in, d_out), bias (d_out,)).
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    scaling: "BlockScaling | None" = None

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (n, n_classes) of features (n, d)."""
        return self.logits_of_scaled(self.scaling(features) if self.scaling else features)

    def logits_of_scaled(self, x: np.ndarray) -> np.ndarray:
        """Return logits of features that the head's scaling has been applied to."""
        for position, (weights, bias) in enumerate(self.layers):
            x = x @ weights + bias
            if position < len(self.layers) - 1:
                x = np.maximum(x, 0)
        return x

    def scaled(self, temperature: float) -> "Head":
        """Return the head whose softmax is calibrated: logits divided by the temperature."""
        *hidden, (weights, bias) = self.layers
        return Head([*hidden, (weights / temperature, bias / temperature)], self.scaling)

    def attach(self, features: "keras.KerasTensor") -> "keras.KerasTensor":
        """Continue a Keras graph from features to logits."""
        from keras import layers

        x = self.scaling.attach(features) if self.scaling else features
        for position, (weights, bias) in enumerate(self.layers):
            last = position == len(self.layers) - 1
            dense = layers.Dense(
                len(bias), activation=None if last else "relu", name="logits" if last else f"hidden_{position}"
            )
            x = dense(x)
            dense.set_weights([weights, bias])
        return x


@dataclass(frozen=True)
class BlockScaling:
    """Standardises every feature, cuts outliers, and gives every block of features (layer, size, pooling) length 1."""

    mean: np.ndarray
    scale: np.ndarray
    widths: list[int]

    @classmethod
    def of(cls, features: np.ndarray, widths: list[int]) -> "BlockScaling":
        """Return the scaling of the images that are fitted (n, d)."""
        standardise = Standardiser.of(features)
        return cls(standardise.mean.astype(np.float32), standardise.scale.astype(np.float32), widths)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return scaled features (n, d)."""
        z = self._standardised(features)
        for start, stop in self.bounds:
            z[:, start:stop] /= np.maximum(np.linalg.norm(z[:, start:stop], axis=1, keepdims=True), SHORTEST)
        return z

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Where each block starts and stops."""
        ends = np.cumsum(self.widths).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def attach(self, features: "keras.KerasTensor") -> "keras.KerasTensor":
        """Continue a Keras graph from features to scaled features."""
        return of_length_1(self.attach_standardised(features), self.widths)

    def attach_standardised(self, features: "keras.KerasTensor") -> "keras.KerasTensor":
        """Continue a Keras graph to features before their blocks are brought to length 1."""
        from keras import layers, ops

        # A BatchNormalization that never learns: mean and scale are stored as weights, not in the model's JSON.
        standardise = layers.BatchNormalization(epsilon=0, trainable=False)
        z = standardise(features)
        one, nothing = np.ones_like(self.mean), np.zeros_like(self.mean)
        standardise.set_weights([1 / self.scale, nothing, self.mean, one])
        return ops.clip(z, -OUTLIER, OUTLIER)

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.mean) / self.scale, -OUTLIER, OUTLIER).astype(np.float64)


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
    weights: np.ndarray | None = None,
) -> list[Head]:
    """Fit one multinomial logistic regression per weight decay.

    Parameters
    ----------
    features: (n, d); labels: (n,), every class must occur.
    decays: in any order; fits are warm-started from the strongest to the weakest.
    widths: of the blocks that features consist of, each of which then counts the same; None: one block.
    weights: how much each image counts (n,); None: its class's weight.
    """
    return _fit(logistic_path, features, labels, n_classes, decays, config, widths, weights)


def fit_ridge(
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    decays: Sequence[float],
    config: CandidateConfig,
    widths: list[int] | None = None,
    weights: np.ndarray | None = None,
) -> list[Head]:
    """Fit one ridge regression on the class indicators per weight decay, in closed form; arguments as `fit_logistic`.

    Its outputs are not log odds, but scaled by a temperature they rank and calibrate like them (Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning, 2009, chapter 4.2).
    """
    return _fit(ridge_path, features, labels, n_classes, decays, config, widths, weights)


def blend(heads: Sequence[Head], temperatures: Sequence[float]) -> Head:
    """Return the mean of linear heads, each divided by its temperature and all as confident as the first one is."""
    parts = [
        head.scaled(t * len(heads) / temperatures[0]).layers[0] for head, t in zip(heads, temperatures, strict=True)
    ]
    weights, biases = zip(*parts, strict=True)
    return Head([(np.sum(weights, axis=0), np.sum(biases, axis=0))], heads[0].scaling)


def _fit(
    path: RegularisationPath,
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    decays: Sequence[float],
    config: CandidateConfig,
    widths: list[int] | None,
    weights: np.ndarray | None,
) -> list[Head]:
    """Fit in the at most n dimensions that the images span, and map back."""
    weight = class_weights(labels, n_classes, config)[labels] if weights is None else weights
    reduced = Reduced.of(features, widths or [features.shape[1]])
    fitted = fit_reduced(path, reduced.z, labels, n_classes, decays, config, weight)
    return [reduced.head(*layer) for layer in fitted]


def fit_reduced(
    path: RegularisationPath,
    z: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    decays: Sequence[float],
    config: CandidateConfig,
    weights: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return one layer (r, n_classes), (n_classes,) on reduced features z (n, r) per weight decay."""
    with one_thread():
        fitted = path(z, labels, n_classes, weights / weights.sum(), sorted(decays)[::-1], config.epochs)
    return [fitted[decay] for decay in decays]


@dataclass(frozen=True)
class Reduced:
    """The images that are fitted, scaled, in the at most n dimensions that they span, and the way there.

    Both penalties are rotation invariant, so a fit in these dimensions is exact, and many times faster where d is
    larger than n. Nothing of it depends on the penalty, the kind of head or the images' weights.
    """

    z: np.ndarray  # (n, r)
    scaling: BlockScaling
    centre: np.ndarray  # (d,)
    axes: np.ndarray  # (d, r)

    @classmethod
    def of(cls, features: np.ndarray, widths: list[int]) -> "Reduced":
        """Return the images that are fitted (n, d); `widths` are those of the blocks, each of which counts the same."""
        scaling = BlockScaling.of(features, widths)
        with one_thread():
            scaled = scaling(features) / np.sqrt(len(widths))
            centre = scaled.mean(axis=0)
            z, axes = _rotated(scaled - centre)
        return cls(z, scaling, centre, axes)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return other images (m, r)."""
        return (self.scaling(features) / self._length - self.centre) @ self.axes

    def head(self, weights: np.ndarray, bias: np.ndarray) -> Head:
        """Return the head on features that equals a layer (r, n_classes), (n_classes,) on reduced ones."""
        full = self.axes @ weights
        layer = (full / self._length).astype(np.float32), (bias - self.centre @ full).astype(np.float32)
        return Head([layer], self.scaling)

    @property
    def _length(self) -> float:
        """Of a scaled image, whose blocks all have length 1."""
        return float(np.sqrt(len(self.scaling.widths)))


def one_thread() -> AbstractContextManager[object]:
    """Keep linear algebra to one thread: the matrices are small, and threads would only wait for each other."""
    return _thread_pools().limit(limits=1)


@cache
def _thread_pools() -> "ThreadpoolController":
    """What there is of thread pools, looked for once: that takes longer than a fit."""
    import scipy.linalg  # noqa: F401 (brings its own pool along)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _rotated(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z (n, d) in the basis of its principal axes (n, r), and those axes (d, r); r is its rank."""
    wide = z.shape[1] > len(z)
    squares, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    kept = squares > 1e-10 * squares.max()
    if not wide:
        return z @ vectors[:, kept], vectors[:, kept]
    lengths, left = np.sqrt(squares[kept]), vectors[:, kept]
    return left * lengths, z.T @ (left / lengths)


def logistic_path(
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


def ridge_path(
    z: np.ndarray, labels: np.ndarray, n_classes: int, share: np.ndarray, decays: list[float], iterations: int
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """Solve the penalised least squares on class indicators for each decay."""
    truth = RIDGE_SCALE * np.eye(n_classes)[labels]
    centre, target = share @ z, share @ truth
    weighted = (z - centre) * share[:, None]
    curvature, moment = weighted.T @ (z - centre), weighted.T @ (truth - target)
    fitted = {}
    for decay in decays:
        weights = np.linalg.solve(curvature + decay * np.eye(len(curvature)), moment)
        fitted[decay] = weights, target - centre @ weights
    return fitted
