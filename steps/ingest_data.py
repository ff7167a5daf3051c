"""Bring the images in: fetched, checked, cleaned, split and stored as one dataset."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope import sources
from diascope.config import ChecksConfig, DatasetConfig
from diascope.dataset import Dataset, ingest
from diascope.progress import tell
from diascope.reports import data_page
from materializers.folder import DataMaterializer, scratch
from steps.caching import depends_on_library


@step(output_materializers=DataMaterializer, cache_policy=depends_on_library(__file__))
def ingest_data(
    dataset: DatasetConfig, checks: ChecksConfig, seed: int, fingerprint: str
) -> Annotated[Dataset, ArtifactConfig(name="dataset")]:
    """Store the dataset; `fingerprint` stands for the state of the source, so that new files are noticed."""
    folder = sources.fetch(dataset.source, sha256=dataset.sha256, limits=dataset.limits, progress=tell)
    root = scratch() / "dataset"
    images = ingest(dataset, checks, folder, root, seed, progress=tell)
    (root / "dataset.html").write_text(data_page(images), encoding="utf-8")
    return images
