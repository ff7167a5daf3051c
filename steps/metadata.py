"""Where does a run say what came out of it, beside its artifacts?"""

from zenml import log_metadata
from zenml.metadata.metadata_types import MetadataType

from diascope.schema import Frozen


def log_result(name: str, result: Frozen) -> None:
    """Keep a result as metadata of the running step and of the model version."""
    metadata: dict[str, MetadataType] = {name: result.model_dump(mode="json")}
    log_metadata(metadata)
    log_metadata(metadata=metadata, infer_model=True)
