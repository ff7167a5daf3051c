"""What does a tutorial's own training reach on these images?"""

import numpy as np

from diascope.checkpoints import State
from diascope.network_fit import NetworkFit, Trained
from diascope.rows import Rows


class OriginalFit(NetworkFit):
    """Trains for all of its epochs on what is to be fitted; held-out images are only watched."""

    def _rows(self, fit: np.ndarray, held_out: np.ndarray) -> Rows:
        return Rows(fit, held_out)

    def _final_rows(self, chosen: dict[str, float]) -> Rows:
        """The train split alone: a tutorial does not fit its validation split."""
        return Rows(np.flatnonzero(~self.development.validation))

    def _train(self, rows: Rows) -> Trained:
        from diascope.original import fit_original

        network, checkpoint = self.backbone.network(), self._checkpoint(rows, "network")
        model, head, state = fit_original(
            network, self.inputs, self.labels, self.n_classes, rows, self.candidate, self.seed, checkpoint
        )
        return Trained(network, model, head, state)

    @property
    def _learning_rate(self) -> float:
        assert self.candidate.original is not None
        return self.candidate.original.learning_rate

    def _chosen(self, states: list[State]) -> dict[str, float]:
        return {"epochs": float(len(states[0].curve))}
