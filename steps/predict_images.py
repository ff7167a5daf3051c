"""Predict every image of a source with a version of a model."""

import hashlib
import logging
import time
from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.classifier import Classifier
from diascope.config import ArchiveLimits
from diascope.inference import predict_all
from diascope.inference_images import open_images
from diascope.inference_results import TABLE, BatchInfo, Found, PredictedImages
from diascope.inference_summary import store_batch
from diascope.progress import tell
from diascope.sources import default_cache
from materializers.folder import DataMaterializer, scratch
from steps.caching import depends_on_library

LOGGED = 60.0  # seconds between two lines of the step's log

logger = logging.getLogger(__name__)


@step(output_materializers=DataMaterializer, cache_policy=depends_on_library(__file__))
def predict_images(
    source: str,
    limits: ArchiveLimits,
    max_pixels: int,
    model: str,
    version: int,
    found: Found,
    classifier: Classifier,
) -> Annotated[PredictedImages, ArtifactConfig(name="predictions")]:
    """Return a table with a row for each image, and what stands out in it.

    What an interrupt leaves is kept on this machine, and the next attempt here goes on from there.
    """
    images = open_images(source, limits, tell)
    root, info = scratch(), classifier.info
    kept = default_cache() / "inference" / hashlib.sha256(f"{source}\n{model}\n{version}".encode()).hexdigest()[:16]
    tally = predict_all(
        classifier, images, root / TABLE, kept, model=model, version=version, max_pixels=max_pixels, progress=_Told()
    )
    batch = BatchInfo(
        source=found.source,
        model=model,
        version=version,
        class_names=info.class_names,
        positive_class=info.operating_point.positive_class if info.operating_point else None,
        threshold=info.operating_point.threshold if info.operating_point else None,
        precision=info.precision,
        n=tally.n,
        n_new=tally.n_new,
        seconds=tally.seconds,
        images_per_second=tally.images_per_second,
    )
    return store_batch(batch, images, root, max_pixels)


class _Told:
    """Tells whoever watches this process, and now and then the step's log, which is read where nobody does."""

    def __init__(self) -> None:
        self._logged = time.monotonic()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        tell(what, done, total)
        if time.monotonic() - self._logged > LOGGED:
            self._logged = time.monotonic()
            logger.info("%s %s of %s", what, done, total)
