"""What do the training images look like to the final network?"""

import numpy as np
import pytest
from PIL import Image
from tiny import PLAIN, backbone, candidate, compact, groups, imagined, scratch, striped, stripes, trained

from diascope.candidates import refit, train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.development import Development
from diascope.familiarity import Reference, familiarise
from diascope.images import resize
from diascope.network_fit import features_only
from diascope.reference import reference_of
from diascope.trained_candidate import TrainedCandidate

DATASET = striped()
DEVELOPMENT = Development.of(DATASET, groups(DATASET))


def test_a_frozen_backbone_is_judged_by_its_stored_features() -> None:
    features = np.random.default_rng(0).normal(size=(34, 12)).astype(np.float32)
    known, stored = imagined(features, DATASET, [8, 4])
    winner = trained(np.arange(34), np.zeros((34, 2)))
    reference, familiarity = reference_of(winner, None, known, DATASET, stored.array(), DEVELOPMENT, seed=4)
    expected, described = familiarise(features, DEVELOPMENT.labels, DEVELOPMENT.groups, [(0, 8), (8, 12)], seed=4)
    assert familiarity == described
    np.testing.assert_array_equal(reference.distance(features), expected.distance(features))


@pytest.fixture(scope="module", params=["from scratch", "fine-tuned"])
def winner(request: pytest.FixtureRequest) -> tuple[CandidateConfig, TrainedCandidate]:
    config = {
        "from scratch": compact(image_sizes=[64], epochs=4, batch_size=8, learning_rate=3e-3, early_stopping=0),
        "fine-tuned": candidate(fine_tune_layers=5, epochs=2, batch_size=8, learning_rate=1e-3),
    }[request.param]
    selection = SelectionConfig(folds=2)
    return config, train_candidate(config, backbone(PLAIN), DATASET, None, groups(DATASET), selection, 3, scratch())


def test_a_trained_network_is_judged_by_images_that_its_folds_had_not_seen(
    winner: tuple[CandidateConfig, TrainedCandidate],
) -> None:
    _, candidate = winner
    held_out = candidate.held_out_distances()
    assert held_out.shape == (34,)
    assert (held_out > 0).all()
    network, _ = refit(candidate, backbone(PLAIN), DATASET, None, groups(DATASET), 3)
    reference, familiarity = reference_of(candidate, network, backbone(PLAIN), DATASET, None, DEVELOPMENT, seed=3)
    assert familiarity.threshold == pytest.approx(np.percentile(held_out, 99))
    assert familiarity.n == 34

    model = features_only(network)
    drawn = [stripes(i // 2 % 2, i)[..., None].repeat(3, axis=2) for i in range(34)]
    pixels = np.stack([resize(Image.fromarray(each), 64) for each in drawn])
    expected = Reference.of(model.predict_on_batch(pixels), [(0, 96)])
    np.testing.assert_allclose(reference.mean, expected.mean, atol=1e-3)
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
    assert (reference.distance(model.predict_on_batch(noise)) > np.percentile(held_out, 75)).all()
