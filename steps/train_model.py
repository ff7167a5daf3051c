"""Fit and measure one candidate on training data alone."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.candidates import train_candidate
from diascope.config import CandidateConfig, SelectionConfig
from diascope.dataset import Dataset
from diascope.features import Backbone, Features
from diascope.progress import tell
from diascope.reports import candidate_page
from diascope.trained_candidate import TrainedCandidate
from materializers.folder import ModelMaterializer, scratch
from steps.caching import depends_on_library
from steps.tracking import log_candidate


@step(
    output_materializers=ModelMaterializer,
    cache_policy=depends_on_library(__file__),
    experiment_tracker=True,
    settings={"experiment_tracker.mlflow": {"nested": True}},
)
def train_model(
    candidate: CandidateConfig,
    selection: SelectionConfig,
    seed: int,
    dataset: Dataset,
    backbone: Backbone,
    groups: dict[str, str],
    features: Features | None = None,
) -> Annotated[TrainedCandidate, ArtifactConfig(name="candidate")]:
    """Store out-of-fold predictions and scores; the final fit is made for the winner only."""
    trained = train_candidate(candidate, backbone, dataset, features, groups, selection, seed, scratch(), tell)
    (trained.root / "candidate.html").write_text(candidate_page(trained.result), encoding="utf-8")
    log_candidate(trained.candidate, trained)
    return trained
