"""Run a frozen backbone once over the images that candidates may see."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope import features as feature_store
from diascope.dataset import Dataset
from diascope.features import Backbone, Features
from diascope.progress import tell
from diascope.reports import features_page
from materializers.folder import DataMaterializer, scratch
from steps.caching import depends_on_library


@step(output_materializers=DataMaterializer, cache_policy=depends_on_library(__file__))
def extract_features(dataset: Dataset, backbone: Backbone) -> Annotated[Features, ArtifactConfig(name="features")]:
    """Store the features of train and validation; the test split stays unread until the winner is known."""
    features = feature_store.extract_features(dataset, backbone, ("train", "validation"), scratch(), tell)
    samples = features.samples
    page = features_page(features.array(), samples["label"], samples["split"], features.description)
    (features.root / "features.html").write_text(page, encoding="utf-8")
    return features
