"""Make a candidate's backbone ready: its weights, its poolings, its form for the engine."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.features import Backbone, FeatureSpec, write_backbone
from materializers.folder import ModelMaterializer, scratch
from steps.caching import depends_on_library


@step(output_materializers=ModelMaterializer, cache_policy=depends_on_library(__file__))
def base_model(
    spec: FeatureSpec, seed: int, weights_fingerprint: str
) -> Annotated[Backbone, ArtifactConfig(name="backbone")]:
    """Build and export the network; `weights_fingerprint` stands for the content of the user's files."""
    return write_backbone(spec, scratch(), seed)
