"""Say which images must stay together in folds."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.dataset import Dataset
from diascope.features import Features
from diascope.groups import merge_groups, similarity_groups
from steps.caching import depends_on_library


@step(cache_policy=depends_on_library(__file__))
def group_images(
    dataset: Dataset, seed: int, features: Features | None = None
) -> Annotated[dict[str, str], ArtifactConfig(name="groups")]:
    """Return sample id -> group: the patient where known, else clusters of images that look alike."""
    index = dataset.index()
    index = index[index["split"] != "test"]
    groups = index["group"].astype(str).tolist()
    if dataset.info.grouping == "similarity" and features is not None:
        alike = similarity_groups(features.appearance(), seed=seed)
        groups = [f"alike:{group}" for group in merge_groups(alike, index["group"].factorize()[0])]
    return dict(zip(index["sample_id"].tolist(), groups, strict=True))
