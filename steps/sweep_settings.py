"""Try other settings of the best candidate, after the candidates were compared."""

from typing import Annotated

import numpy as np
from zenml import ArtifactConfig, step

from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.features import Backbone, Features, FeatureSpec
from diascope.progress import tell
from diascope.reports import candidate_page, sweep_page
from diascope.sweep import chosen_base, sweep_candidate
from diascope.sweep_config import SweepConfig
from diascope.sweep_features import Seen
from diascope.trained_candidate import TrainedCandidate
from materializers.folder import ModelMaterializer, scratch
from steps.caching import depends_on_library
from steps.tracking import log_candidate, log_sweep, trial_log


@step(
    output_materializers=ModelMaterializer,
    cache_policy=depends_on_library(__file__),
    experiment_tracker=True,
    settings={"experiment_tracker.mlflow": {"nested": True}},
)
def sweep_settings(
    sweep: SweepConfig,
    candidates: list[CandidateConfig],
    selection: SelectionConfig,
    seed: int,
    weights_fingerprint: str,
    dataset: Dataset,
    groups: dict[str, str],
    trained: list[TrainedCandidate],
    backbones: list[Backbone],
    features: list[Features],
) -> Annotated[TrainedCandidate, ArtifactConfig(name="swept_candidate")]:
    """Return the best setting as one more candidate; features are those of the frozen candidates, in their order."""
    frozen = (each.name for each in candidates if not each.trains_network)
    stored = dict(zip(frozen, features, strict=True))
    own = {}
    base = chosen_base(sweep, trained, selection)
    for made, backbone in sorted(zip(trained, backbones, strict=True), key=lambda pair: pair[0] is base):
        own[FeatureSpec.of(made.candidate).key] = _seen(made, backbone, stored.get(made.base))  # the base's goes last
    with trial_log() as log:
        best, result = sweep_candidate(
            sweep, base, own, dataset, groups, selection, seed, weights_fingerprint, scratch(), tell, log
        )
    (best.root / "candidate.html").write_text(candidate_page(best.result), encoding="utf-8")
    (best.root / "sweep.html").write_text(sweep_page(result), encoding="utf-8")
    log_candidate(best.candidate, best)
    log_sweep(result, best)
    return best


def _seen(made: TrainedCandidate, backbone: Backbone, features: Features | None) -> Seen:
    columns = made.root / "columns.npy"
    chosen = np.load(columns) if columns.is_file() else None
    return Seen(made.backbone(backbone), made.features(features), chosen)
