"""Build the container image from the bento."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope import docker
from diascope.deployment import Bento, Image, Release
from steps import bento_store
from steps.metadata import log_result


@step(enable_cache=False)
def build_image(release: Release, bento: Bento, fresh: bool) -> Annotated[Image, ArtifactConfig(name="image")]:
    """Return the image, which the engine has under the model's name and version; `fresh` takes no layer from before."""
    labels = {
        "org.opencontainers.image.version": str(release.version),
        "org.opencontainers.image.created": release.created,
        "diascope.model": release.name,
        "diascope.bento": bento.digest,
    }
    with bento_store.context(bento, release.created) as folder:
        docker.build(folder, release.tag, labels, fresh=fresh)
    image = Image(tag=release.tag, megabytes=docker.megabytes(release.tag))
    log_result("image", image)
    return image
