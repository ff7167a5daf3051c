"""Look for the images that are to be predicted."""

from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.config import ArchiveLimits
from diascope.downloads import shown
from diascope.inference_images import open_images
from diascope.inference_results import Found
from diascope.progress import tell
from steps.caching import depends_on_library


@step(cache_policy=depends_on_library(__file__))
def find_images(
    source: str, limits: ArchiveLimits, fingerprint: str
) -> Annotated[Found, ArtifactConfig(name="found_images")]:
    """Return what the source holds; `fingerprint` stands for its state, so that new files are noticed.

    Archives and links that cannot be read in part are fetched here.
    """
    images = open_images(source, limits, tell)
    return Found(source=shown(source), n=len(images), fingerprint=fingerprint)
