"""Say which images must stay together in folds."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.checks import NEAR_DISTANCE
from diascope.dataset import Dataset
from diascope.features import Features
from diascope.groups import hash_groups, merge_groups, similarity_groups
from diascope.splits import foldable_groups
from materializers.groups import GroupsMaterializer
from steps.caching import depends_on_library


@step(output_materializers=GroupsMaterializer, cache_policy=depends_on_library(__file__))
def group_images(
    dataset: Dataset, seed: int, features: Features | None = None
) -> Annotated[dict[str, str], ArtifactConfig(name="groups")]:
    """Return sample id -> group: the patient where known, else clusters of images that look alike.

    They look alike to a frozen backbone, or by their perceptual hashes where no candidate has one.
    """
    index = dataset.index()
    index = index[index["split"] != "test"]
    groups = index["group"].astype(str).tolist()
    if dataset.info.grouping == "similarity":
        if features is not None:
            alike = similarity_groups(features.appearance(), seed=seed)
        else:
            alike = hash_groups(index["phash"].to_numpy(), NEAR_DISTANCE, seed=seed)
        twins, pixels = index["group"].factorize()[0], index["sha256"].factorize()[0]
        alike = foldable_groups(index["label"].to_numpy(str), [merge_groups(alike, twins), twins, pixels], seed)
        groups = [f"alike:{group}" for group in alike]
    return dict(zip(index["sample_id"].tolist(), groups, strict=True))
