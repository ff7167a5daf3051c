"""What do the training images look like to the final network?"""

from typing import TYPE_CHECKING

import numpy as np

from diascope.answers import Familiarity
from diascope.development import Development
from diascope.familiarity import Reference, familiarise, familiarity, some_rows
from diascope.features import Backbone, decoded
from diascope.network_fit import features_only
from diascope.trained_candidate import TrainedCandidate

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset

BATCH = 32


def reference_of(
    winner: TrainedCandidate,
    network: "keras.Model",
    backbone: Backbone,
    dataset: "Dataset",
    inputs: np.ndarray | None,
    development: Development,
    seed: int,
) -> tuple[Reference, Familiarity]:
    """Return the reference statistics of the winner, made of train and validation, with their threshold.

    Of several poolings the averages count: they tell foreign images better than maxima and standard deviations do.
    A frozen network has stored features, the `inputs` (n, d) of its head, of which folds give held-out distances. One
    that was trained has learned from all these images, and they lie closer together than new ones: its threshold comes
    from the distances that each fold's network found for what was held out from it.
    """
    bounds = backbone.info.averages
    if inputs is not None:
        return familiarise(inputs, development.labels, development.groups, bounds, seed)
    reference = Reference.of(_seen(network, backbone, dataset, development, seed), bounds)
    return reference, familiarity(winner.held_out_distances())


def _seen(
    network: "keras.Model", backbone: Backbone, dataset: "Dataset", development: Development, seed: int
) -> np.ndarray:
    """Return the final network's features (m, d) of at most as many training images as statistics need."""
    only = {development.sample_ids[row] for row in some_rows(len(development.sample_ids), seed)}
    model, waiting, done = features_only(network), list[np.ndarray](), list[np.ndarray]()
    for image in decoded(dataset, ("train", "validation"), backbone.info.spec, only):
        waiting.append(image)
        if len(waiting) == BATCH:
            done.append(model.predict_on_batch(np.stack(waiting)))
            waiting = []
    if waiting:
        done.append(model.predict_on_batch(np.stack(waiting)))
    return np.concatenate(done)
