"""Show what is in the images, before anything is said about a classifier."""

from typing import Annotated

from zenml import ArtifactConfig, step
from zenml.types import HTMLString

from diascope.dataset import Dataset
from diascope.exploration import explore
from diascope.features import Features
from diascope.progress import tell
from diascope.reports import exploration_page
from steps.caching import depends_on_library


@step(cache_policy=depends_on_library(__file__))
def explore_data(
    dataset: Dataset, groups: dict[str, str], seed: int, features: Features | None = None
) -> Annotated[HTMLString, ArtifactConfig(name="data_exploration")]:
    """Return the page; images of the test split are compared by their hashes alone."""
    return HTMLString(exploration_page(dataset, explore(dataset, groups, features, seed, tell)))
