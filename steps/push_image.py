"""Push the image to the container registry of the active stack."""

from typing import Annotated

from zenml import ArtifactConfig, step
from zenml.client import Client

from diascope import docker
from diascope.deployment import Image, Pushed
from steps.metadata import log_result


@step(enable_cache=False)
def push_image(image: Image) -> Annotated[Pushed, ArtifactConfig(name="pushed_image")]:
    """Return where the image is."""
    registry = Client().active_stack.container_registry
    assert registry is not None  # the pipeline has no such step otherwise
    place = [registry.config.uri, registry.config.default_repository, image.tag]
    uri = "/".join(part for part in place if part)
    registry.prepare_image_push(uri)
    pushed = Pushed(uri=uri, digest=docker.push(image.tag, uri, registry.credentials))
    log_result("pushed", pushed)
    return pushed
