"""For how many epochs does gradient descent fit a candidate, and what does it leave?"""

import statistics
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import Comparison
from diascope.development import Fold
from diascope.familiarity import distances, some_rows
from diascope.fit import Fit
from diascope.heads import Head, fit_logistic
from diascope.results import CurvePoint

if TYPE_CHECKING:
    import keras

    from diascope.gradient import Rows

STARTING_DECAY = 1e-4  # of the head that fine-tuning starts from


class DescentFit(Fit):
    """A hidden layer on stored features, a fine-tuned network, or one that is trained from scratch."""

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return held-out logits, the number of epochs that does best, and distances to networks that are trained."""
        from diascope.gradient import Rows, predict_logits

        logits, curves, far = [], [], []
        for fit, held_out in pairs:
            rows = Rows(*self.development.with_stopping_share(fit, self.seed))
            if self.candidate.trains_network:
                network, model, _, curve = self._network(rows)
                logits.append(predict_logits(model, self.inputs, held_out))
                far.append(self._distances(network, rows.fitted, held_out))
            else:
                head, curve = self._mlp(rows)
                logits.append(head.logits(self.inputs[held_out]))
            curves.append(curve)
        rows_out = np.concatenate([held_out for _, held_out in pairs])
        chosen = {"epochs": float(statistics.median_high(self._kept_epoch(curve) for curve in curves))}
        far_out = np.concatenate(far) if far else np.empty(0)
        return Comparison(rows_out, np.concatenate(logits), chosen, "epoch", curves[0], far_out)

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images for as many epochs as were chosen."""
        from diascope.gradient import Rows

        rows = Rows(np.arange(len(self.labels)), epochs=int(chosen["epochs"]))
        if not self.candidate.trains_network:
            return self.backbone.network(), self._mlp(rows)[0]
        network, model, start, _ = self._network(rows)
        return network, Head([tuple(model.get_layer("logits").get_weights())], start.scaling if start else None)

    def _distances(self, network: "keras.Model", fitted: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        """Return how far held-out images are from fitted ones to a network that has not learned from the former."""
        from diascope.gradient import predict_logits

        features = features_only(network)
        seen = predict_logits(features, self.inputs, fitted[some_rows(len(fitted), self.seed)])
        return distances(seen, predict_logits(features, self.inputs, held_out), self.backbone.info.averages)

    def _kept_epoch(self, curve: list[CurvePoint]) -> int:
        """Return the epoch whose weights were kept: the final fit, which nothing stops, runs for as long."""
        if not self.candidate.early_stopping:
            return len(curve)
        losses = [point.held_out_loss for point in curve if point.held_out_loss is not None]
        return 1 + int(np.argmin(losses))

    def _mlp(self, rows: "Rows") -> tuple[Head, list[CurvePoint]]:
        from diascope.gradient import fit_mlp

        return fit_mlp(self.inputs, self.labels, self.n_classes, rows, self.candidate, self.seed)

    def _network(self, rows: "Rows") -> tuple["keras.Model", "keras.Model", Head | None, list[CurvePoint]]:
        from diascope.gradient import fit_network, predict_logits

        network, head = self.backbone.network(), None
        if self.candidate.fine_tune_layers:  # start from the best head on the frozen features, not from noise
            features = predict_logits(features_only(network), self.inputs, rows.fitted)
            decay = STARTING_DECAY if self.candidate.weight_decay == "auto" else self.candidate.weight_decay
            labels = self.labels[rows.fitted]
            head = fit_logistic(features, labels, self.n_classes, [decay], self.candidate, self.widths)[0]
        model, curve = fit_network(
            network, self.inputs, self.labels, self.n_classes, rows, self.candidate, self.seed, head
        )
        return network, model, head, curve


def features_only(network: "keras.Model") -> "keras.Model":
    """Return the part of a network [features, map, …] that ends in the features."""
    import keras

    return keras.Model(network.input, network.outputs[0])
