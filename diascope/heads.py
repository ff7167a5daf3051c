"""How is a classifier fitted on stored features?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diascope.config import CandidateConfig

if TYPE_CHECKING:
    import keras

# L2 penalty per image on standardised features, as in mean(loss) + decay / 2 * |w|^2; half-decades around what wins.
WEIGHT_DECAYS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)


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


def class_weights(labels: np.ndarray, n_classes: int, config: CandidateConfig) -> np.ndarray:
    """Return one weight per class, mean 1 over images; `balanced` gives every class the same total."""
    if config.class_weights == "none":
        return np.ones(n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    return len(labels) / (n_classes * np.maximum(counts, 1))


def fit_logistic(
    features: np.ndarray, labels: np.ndarray, n_classes: int, decays: list[float], config: CandidateConfig
) -> list[Head]:
    """Fit one multinomial logistic regression per weight decay on standardised features (n, d), labels (n,).

    The penalty is rotation invariant, so the fit happens in the at most n dimensions that the images span, and is
    mapped back: exact, and many times faster when d is larger than n. Every class must occur in `labels`.
    """
    from sklearn.linear_model import LogisticRegression

    standardise = Standardiser.of(features)
    z = standardise(features)
    rotation = None
    if z.shape[1] > len(z):
        u, s, rotation = np.linalg.svd(z, full_matrices=False)
        z = u * s
    sample_weight = class_weights(labels, n_classes, config)[labels]
    heads = []
    for decay in decays:
        model = LogisticRegression(C=1 / (decay * len(labels)), max_iter=config.epochs, tol=1e-4)
        model.fit(z, labels, sample_weight=sample_weight)
        weights, bias = model.coef_.T, model.intercept_
        if n_classes == 2:  # scikit-learn fits one logit for two classes
            weights, bias = np.hstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
        if rotation is not None:
            weights = rotation.T @ weights
        heads.append(Head([standardise.fold_into(weights, bias)]))
    return heads
