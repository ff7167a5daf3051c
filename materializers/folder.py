"""How does an artifact that is a folder live in any artifact store?"""

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from zenml.enums import ArtifactType, VisualizationType
from zenml.io import fileio
from zenml.materializers.base_materializer import BaseMaterializer
from zenml.metadata.metadata_types import MetadataType

from diascope.classifier import Classifier
from diascope.contents import digest
from diascope.dataset import Dataset
from diascope.evaluation import EvaluationRecord
from diascope.features import Backbone, Features
from diascope.inference_results import PredictedImages
from diascope.metrics import Metrics
from diascope.trained_candidate import TrainedCandidate
from materializers.shelf import StoreShelf

NETWORK_PAGE = "network.html"
UPLOADS = 4  # at a time; a store takes more over several connections than over one


def scratch() -> Path:
    """Return a new empty folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="diascope-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class FolderMaterializer(BaseMaterializer):
    """Copies the folder `data.root` file by file.

    Pages (*.html) directly in it are shown in the dashboard. Of networks, a page is made on the way in: it is a view of
    what is stored and no reason to run a step again.
    """

    SKIP_REGISTRATION: ClassVar[bool] = True

    def save(self, data: Any) -> None:
        """Store every file; on the same disk as a link, so that nothing is written twice."""
        if isinstance(data, Dataset) and data.is_far:
            for path in data.files():  # each is gone when the next one comes
                self._store(path, path.name)
        else:
            files = _files(data.root)
            with ThreadPoolExecutor(UPLOADS) as pool:
                list(pool.map(self._store, files.values(), files))

    def load(self, data_type: type[Any]) -> Any:
        """Open the folder where it lies, or a copy of it where the store is remote; a dataset's shards stay there."""
        if _is_local(self.uri):
            return data_type(Path(self.uri))
        folder = scratch()
        if issubclass(data_type, Dataset):
            return data_type.on(StoreShelf(self.uri, self.artifact_store), folder)
        for directory, _, names in fileio.walk(self.uri):
            inside = folder / str(directory)[len(self.uri.rstrip("/")) :].strip("/")
            inside.mkdir(exist_ok=True)
            for name in names:
                fileio.copy(os.path.join(str(directory), str(name)), str(inside / str(name)))
        return data_type(folder)

    def save_visualizations(self, data: Any) -> dict[str, VisualizationType]:
        """Show the folder's pages, and the one that is made of a network."""
        pages = {name for name in _files(data.root) if name.endswith(".html") and "/" not in name}
        made = _page(data)
        if made:
            pages.add(NETWORK_PAGE)
            write_page(os.path.join(self.uri, NETWORK_PAGE), made)
        return {os.path.join(self.uri, name).replace("\\", "/"): VisualizationType.HTML for name in sorted(pages)}

    def extract_metadata(self, data: Any) -> dict[str, MetadataType]:
        """Return the figures that tell one version of the artifact from another."""
        return _METADATA[type(data)](data)

    def compute_content_hash(self, data: Any) -> str:
        """Hash every file but the pages, which are views of the others."""
        files = {} if isinstance(data, Dataset) else _files(data.root)
        sums = data.digests() if isinstance(data, Dataset) else {name: digest(path) for name, path in files.items()}
        content = (f"{name}\0{sums[name]}\0" for name in sorted(sums) if not name.endswith(".html"))
        return hashlib.sha256("".join(content).encode()).hexdigest()

    def _store(self, path: Path, name: str) -> None:
        target = os.path.join(self.uri, name)
        if _is_local(self.uri):
            _link(path, Path(target))
        else:
            if "/" in name:
                fileio.makedirs(os.path.dirname(target))
            fileio.copy(str(path), target)


class DataMaterializer(FolderMaterializer):
    """Folders that hold data."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Dataset, Features, EvaluationRecord, PredictedImages)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA


class ModelMaterializer(FolderMaterializer):
    """Folders that hold networks."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Backbone, TrainedCandidate, Classifier)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL


def write_page(uri: str, page: str) -> None:
    """Write a page into the store in place of an older one, which may be a link to another artifact's."""
    if fileio.exists(uri):
        fileio.remove(uri)
    with fileio.open(uri, "wb") as file:
        file.write(page.encode())


def _page(data: Any) -> str:
    from diascope.reports import backbone_page, classifier_page

    if isinstance(data, Classifier):
        return classifier_page(data.info)
    return backbone_page(data.info) if isinstance(data, Backbone) else ""


def _files(root: Path) -> dict[str, Path]:
    """Every file by its name below the folder."""
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


def _is_local(uri: str) -> bool:
    return "://" not in uri


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _dataset(data: Dataset) -> dict[str, MetadataType]:
    info = data.info
    images = {split: sum(classes.values()) for split, classes in info.counts.items()}
    return {
        "source": info.source,
        "images": images,
        "counts": info.counts,
        "fingerprint": info.fingerprint,
        "grouping": info.grouping,
    }


def _features(data: Features) -> dict[str, MetadataType]:
    n, d = data.array().shape
    return {"images": n, "dimension": d, **data.description}


def _backbone(data: Backbone) -> dict[str, MetadataType]:
    info = data.info
    return {
        "spec": info.spec.model_dump(),
        "dimension": info.dimension,
        "parameters": info.parameters,
        "precision": info.precision,
        "milliseconds": info.milliseconds,
    }


def _candidate(data: TrainedCandidate) -> dict[str, MetadataType]:
    result = data.result
    return {
        "name": result.name,
        "scores": result.scores,
        "plain_scores": result.plain_scores or {},
        "chosen": result.chosen,
    }


def _classifier(data: Classifier) -> dict[str, MetadataType]:
    info = data.info
    facts: dict[str, MetadataType] = {
        "candidate": info.training.candidate["name"],
        "classes": info.class_names,
        "input_size": info.input.size,
        "temperature": info.temperature,
        "trained_on": info.training.n,
    }
    if info.operating_point:
        facts |= {
            "positive_class": info.operating_point.positive_class,
            "threshold": info.operating_point.threshold,
        }
    for split, metrics in (("validation", info.validation), ("test", info.test)):
        facts |= {f"{split}_{name}": value for name, value in _figures(metrics).items()} if metrics else {}
    return facts


def _evaluation(data: EvaluationRecord) -> dict[str, MetadataType]:
    return {"winner": data.evaluation.winner.name, **_figures(data.evaluation.test)}


def _predicted(data: PredictedImages) -> dict[str, MetadataType]:
    return data.info.model_dump(exclude={"class_names"}, exclude_none=True)


def _figures(metrics: Metrics) -> dict[str, MetadataType]:
    figures = {"auroc": metrics.auroc, "accuracy": metrics.accuracy, "balanced_accuracy": metrics.balanced_accuracy}
    return {"n": metrics.n, **{name: e.value for name, e in figures.items() if e.value is not None}}


_METADATA: dict[type, Callable[[Any], dict[str, MetadataType]]] = {
    Dataset: _dataset,
    Features: _features,
    Backbone: _backbone,
    TrainedCandidate: _candidate,
    Classifier: _classifier,
    EvaluationRecord: _evaluation,
    PredictedImages: _predicted,
}
