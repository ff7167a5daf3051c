"""Does training the top of a network further beat its frozen features?"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from diascope.comparison import HIGHER_IS_BETTER, Comparison
from diascope.config import CandidateConfig
from diascope.development import Fold
from diascope.errors import InputError
from diascope.familiarity import distances, some_rows
from diascope.heads import BlockScaling, Head, fit_logistic
from diascope.linear_fit import LinearFit
from diascope.network_fit import NetworkFit
from diascope.rows import Rows

if TYPE_CHECKING:
    import keras

STARTING_DECAY = 1e-4  # of the head that fine-tuning starts from
KEPT = "fine_tuned"  # among what was chosen: 1, or 0 where the frozen features are kept


class FineTuning(NetworkFit):
    """A pretrained network whose top is trained with the head, held against a linear head on its frozen features."""

    def compare(self, pairs: list[Fold]) -> Comparison:
        """Return the better of both on the held-out images, and what was chosen for it.

        That one of two was picked by the images that its score is of favours it a little; on a few hundred images by
        less than their standard error.
        """
        self._require_something_to_learn()
        frozen, tuned = self._compare_frozen(pairs), super().compare(pairs)
        scores = {name: each.scores(self.labels)[self.metric] for name, each in (("frozen", frozen), (KEPT, tuned))}
        gain = scores[KEPT] - scores["frozen"]
        better = gain > 0 if HIGHER_IS_BETTER[self.metric] else gain < 0
        kept = tuned if better else frozen
        measured = {f"{name}_{self.metric}": score for name, score in scores.items()}
        figures = f"{self.metric} {scores[KEPT]:.3f} fine-tuned, {scores['frozen']:.3f} frozen"
        note = f"{'fine-tuned layers' if better else 'frozen features'} kept ({figures})"
        return replace(kept, chosen={**kept.chosen, KEPT: float(better), **measured}, note=note)

    def final(self, chosen: dict[str, float]) -> tuple["keras.Model", Head]:
        """Fit all development images, in the way that was better."""
        return super().final(chosen) if chosen[KEPT] else self._linear.final(chosen)

    def _require_something_to_learn(self) -> None:
        """Refuse to train layers that have no weights, and take their number for fine-tuning."""
        from diascope.gradient import freeze_below

        backbone, asked = self.backbone.network().get_layer("backbone"), self.candidate.fine_tune_layers
        for top in range(asked, max(asked, len(backbone.layers)) + 1):
            freeze_below(backbone, top)
            if backbone.trainable_weights:
                break
        if top > asked:
            raise InputError(
                f"Candidate {self.candidate.name}: the top {asked} layers of {self.candidate.backbone} have nothing to "
                f"learn (BatchNorm stays frozen); say fine_tune_layers: {top}, or more."
            )

    def _compare_frozen(self, pairs: list[Fold]) -> Comparison:
        features, bounds = self._linear.inputs, self.backbone.info.averages
        far = [
            distances(features[fit[some_rows(len(fit), self.seed)]], features[held_out], bounds)
            for fit, held_out in pairs
        ]
        return replace(self._linear.compare(pairs), distances=np.concatenate(far))

    @cached_property
    def _linear(self) -> LinearFit:
        """The way of the frozen features, which are found here once."""
        found = list(self.backbone.engine().stream(self.inputs))
        plain, *views = (np.stack([each[name] for each in found]) for name in self.backbone.outputs)
        return LinearFit(self._frozen, self.backbone, plain, self.development, self.seed, views=tuple(views))

    @property
    def _frozen(self) -> CandidateConfig:
        # The weight decay of an optimizer is no penalty of a head: by that of AdamW a head would lose for no reason.
        fields = CandidateConfig.model_fields
        plain = {key: fields[key].default for key in ("fine_tune_layers", "epochs", "weight_decay")}
        head = "blend" if self.candidate.head == "mlp" else self.candidate.head
        return self.candidate.model_copy(update=plain | {"head": head})

    def _start(self, rows: Rows) -> Head:
        """The best head on the frozen features, or one of the same form that has learned nothing yet."""
        fitted, place = np.unique(rows.fitted, return_inverse=True)
        features, weights = self._linear.inputs[fitted], np.bincount(place, rows.weights)
        if self.candidate.head_epochs:
            nothing = np.zeros((features.shape[1], self.n_classes), np.float32), np.zeros(self.n_classes, np.float32)
            return Head([nothing], BlockScaling.of(features, self.widths))
        labels, decays = self.labels[fitted], [STARTING_DECAY]
        return fit_logistic(features, labels, self.n_classes, decays, self._frozen, self.widths, weights)[0]
