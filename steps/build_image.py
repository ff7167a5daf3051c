"""Build the container image from the bento."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope import docker
from diascope.deployment import Bento, Image, Release
from steps import bentos
from steps.facts import note


@step(enable_cache=False)
def build_image(release: Release, bento: Bento, fresh: bool) -> Annotated[Image, ArtifactConfig(name="image")]:
    """Return the image, which the engine has under the model's name and version; `fresh` takes no layer from before."""
    labels = {
        "org.opencontainers.image.version": str(release.version),
        "org.opencontainers.image.created": release.created,
        "diascope.model": release.name,
        "diascope.bento": bento.digest,
    }
    with bentos.context(bento) as folder:
        docker.build(folder, release.tag, labels, fresh=fresh)
    image = Image(tag=release.tag, megabytes=docker.megabytes(release.tag))
    note("image", image)
    return image
