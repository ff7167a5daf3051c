"""Take what serving needs of the classifier in production."""

import shutil
from typing import Annotated

from zenml import ArtifactConfig, step

from diascope.classifier import Classifier
from diascope.deployment import SERVED
from materializers.folder import ModelMaterializer, scratch


# Never from the cache, like every step of this pipeline: the files are looked at again.
@step(enable_cache=False, output_materializers={"packaged_classifier": ModelMaterializer})
def load_production(
    classifier: Classifier,
) -> Annotated[Classifier, ArtifactConfig(name="packaged_classifier")]:
    """Return the classifier without what only further training needs; its files' hashes are checked on the way."""
    folder = scratch()
    for name in SERVED:
        shutil.copyfile(classifier.root / name, folder / name)
    return Classifier.load(folder)
