"""Which penalty does a linear head on stored features get, and how is it fitted?"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diascope.calibration import fit_temperature, softmax
from diascope.comparison import Comparison
from diascope.development import Fold
from diascope.fit import Fit
from diascope.heads import (
    WEIGHT_DECAYS,
    Head,
    blend,
    fit_logistic,
    fit_reduced,
    fit_ridge,
    logistic_path,
    ridge_path,
)
from diascope.metrics import log_loss, macro_auroc
from diascope.reductions import Reductions
from diascope.results import CurvePoint
from diascope.weighting import weigh

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LinearFit(Fit):
    """A logistic or ridge head, or both blended, on features of a frozen network."""

    reductions: Reductions = field(default_factory=Reductions)  # shared between fits to the same features

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return held-out logits with the weight decay and temperature of each head that do best there."""
        config = self.candidate
        decays = WEIGHT_DECAYS if config.weight_decay == "auto" else (config.weight_decay,)
        rows = np.concatenate([held_out for _, held_out in pairs])
        labels = self.labels[rows]
        chosen: dict[str, float] = {}
        curve: list[CurvePoint] = []
        parts = []
        for kind in self._kinds:
            logits, fitted_losses = self._along(kind, pairs, decays)
            temperatures = [fit_temperature(each, labels) for each in logits]
            # By the log loss that remains after calibration: smoother than counts and ranks, and the raw one would
            # choose a stronger penalty just to be less confident.
            losses = [log_loss(labels, softmax(z, t)) for z, t in zip(logits, temperatures, strict=True)]
            best = int(np.argmin(losses))
            chosen |= {f"{kind}_decay": decays[best], f"{kind}_temperature": temperatures[best]}
            parts.append(logits[best] / temperatures[best])
            curve = curve or [
                CurvePoint(x=decay, loss=fitted, held_out_loss=loss, held_out_auroc=macro_auroc(labels, softmax(z)))
                for decay, fitted, loss, z in zip(decays, fitted_losses, losses, logits, strict=True)
            ]
        logits = np.mean(parts, axis=0) * chosen[f"{self._kinds[0]}_temperature"]  # as confident as the first head is
        return Comparison(rows, logits, chosen, "weight decay", curve, np.empty(0))

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images with the weight decays chosen, and blend the heads by their temperatures."""
        everything = np.arange(len(self.labels))
        heads = [self._heads(kind, everything, [chosen[f"{kind}_decay"]])[0] for kind in self._kinds]
        return self.backbone.network(), blend(heads, [chosen[f"{kind}_temperature"] for kind in self._kinds])

    def _along(self, kind: str, pairs: list[Fold], decays: Sequence[float]) -> tuple[list[np.ndarray], list[float]]:
        """Return held-out logits (m, k) and the mean loss on fitted images for each weight decay."""
        logits: list[list[np.ndarray]] = [[] for _ in decays]
        losses: list[list[float]] = [[] for _ in decays]
        for fit, held_out in pairs:
            rows, weights = weigh(fit, self.development, self.candidate, self.seed).once()
            fold = self.reductions.of(self.inputs, self.widths, rows, held_out, self.views)
            path = {"logistic": logistic_path, "ridge": ridge_path}[kind]
            fitted = self.labels[rows]
            layers = fit_reduced(path, fold.fitted, fitted, self.n_classes, decays, self.candidate, weights)
            for i, (w, b) in enumerate(layers):
                logits[i].append(fold.others @ w + b)
                losses[i].append(log_loss(fitted, softmax(fold.fitted @ w + b)))
        return [np.concatenate(each) for each in logits], [statistics.fmean(each) for each in losses]

    def _heads(self, kind: str, rows: np.ndarray, decays: Sequence[float]) -> list[Head]:
        fit = {"logistic": fit_logistic, "ridge": fit_ridge}[kind]
        rows, weights = weigh(rows, self.development, self.candidate, self.seed).once()
        return fit(self.inputs[rows], self.labels[rows], self.n_classes, decays, self.candidate, self.widths, weights)

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("logistic", "ridge") if self.candidate.head == "blend" else (self.candidate.head,)
