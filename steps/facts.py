"""Where does a run say what came out of it, beside its artifacts?"""

from zenml import log_metadata
from zenml.metadata.metadata_types import MetadataType

from diascope.schema import Frozen


def note(name: str, value: Frozen) -> None:
    """Keep a result as metadata of the running step and of the model version."""
    facts: dict[str, MetadataType] = {name: value.model_dump(mode="json")}
    log_metadata(facts)
    log_metadata(metadata=facts, infer_model=True)
