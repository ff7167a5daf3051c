"""The one prediction path: what is evaluated is what is served."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from diascope import images
from diascope.engine import Engine, ahead
from diascope.errors import InputError
from diascope.metrics import Metrics, OperatingPoint

SCHEMA_VERSION = 1
METADATA = "metadata.json"


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(Part):
    """What the network takes, and how a file becomes that."""

    size: int  # side in pixels
    channels: str = "RGB"
    dtype: str = "uint8"
    resize: str = "bilinear with antialiasing, stretched to a square"
    normalisation: str = "inside the network"


class ActivationMap(Part):
    """The second output: how much each position speaks for each class (Zhou et al. 2016)."""

    grid: tuple[int, int]
    exact: bool  # the mean over positions plus a constant is the logit; false where other poolings add to it


class Training(Part):
    """Where the classifier comes from."""

    candidate: dict  # the candidate's configuration
    chosen: dict[str, float]
    n: int  # images the final fit used: train and validation
    dataset_source: str
    dataset_fingerprint: str
    groups: str
    seed: int


class ClassifierInfo(Part):
    """`metadata.json` of a classifier."""

    schema_version: int = SCHEMA_VERSION
    name: str
    class_names: list[str]
    input: Input
    precision: str  # of the engine, where the CPU has it
    temperature: float  # already inside the network's last layer
    operating_point: OperatingPoint | None
    activation_map: ActivationMap | None
    training: Training
    validation: Metrics | None = None
    test: Metrics | None = None
    versions: dict[str, str]
    files: dict[str, str]  # name -> SHA-256


@dataclass(frozen=True)
class Predictions:
    """Calibrated probabilities (n, n_classes) and the class each image is given."""

    class_names: list[str]
    probabilities: np.ndarray
    labels: list[str]


ImageLike = Path | bytes | Image.Image | np.ndarray


class Classifier:
    """A folder with `model.xml`, `model.bin`, `metadata.json` and, where it may be trained further, `model.keras`."""

    def __init__(self, root: Path) -> None:
        """Open a stored classifier.

        Raises
        ------
        InputError: a file is missing or changed, or a newer version of this program wrote the folder.
        """
        self.root = root
        self.info = _verified(root)
        self._engine: Engine | None = None

    @classmethod
    def load(cls, root: Path | str) -> "Classifier":
        """Open a stored classifier; raises as the constructor does."""
        return cls(Path(root))

    def predict(self, pictures: Iterable[ImageLike]) -> Predictions:
        """Classify images given as paths, encoded bytes, Pillow images or uint8 arrays (height, width, 3).

        Raises
        ------
        ImageError: one of them cannot be decoded.
        """
        answers = [outputs["probabilities"] for outputs in self.stream(pictures)]
        probabilities = np.stack(answers) if answers else np.zeros((0, len(self.info.class_names)), np.float32)
        return Predictions(self.info.class_names, probabilities, self.decide(probabilities))

    def stream(self, pictures: Iterable[ImageLike]) -> Iterator[dict[str, np.ndarray]]:
        """Yield each image's outputs in order: `probabilities` (n_classes,) and, where there is one, `activation_map`.

        Decoding runs ahead on all cores; memory does not grow with the number of images.
        """
        if self._engine is None:
            self._engine = Engine(self.root / "model.xml", precision=self.info.precision)
        yield from self._engine.stream(ahead(self.pixels, pictures))

    def pixels(self, picture: ImageLike) -> np.ndarray:
        """Return what the network sees of an image: uint8 (size, size, 3)."""
        if isinstance(picture, Path):
            decoded = images.decode(picture.read_bytes(), name=picture.name)
        elif isinstance(picture, bytes):
            decoded = images.decode(picture)
        elif isinstance(picture, np.ndarray):
            decoded = Image.fromarray(picture).convert("RGB")
        else:
            decoded = picture.convert("RGB")
        return images.resize(decoded, self.info.input.size)

    def decide(self, probabilities: np.ndarray) -> list[str]:
        """Return the class of each row: the most probable, or by the operating point of a two-class problem."""
        names = self.info.class_names
        point = self.info.operating_point
        if point is None:
            return [names[i] for i in probabilities.argmax(axis=1)]
        positive = names.index(point.positive_class)
        return [names[positive] if p >= point.threshold else names[1 - positive] for p in probabilities[:, positive]]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(root: Path) -> ClassifierInfo:
    if not (root / METADATA).is_file():
        raise InputError(f"{root} holds no classifier: there is no {METADATA}.")
    stored = json.loads((root / METADATA).read_text())
    if stored.get("schema_version", 0) > SCHEMA_VERSION:
        raise InputError(f"{root} was written by a newer version of this program; update first.")
    info = ClassifierInfo.model_validate(stored)
    for name, expected in info.files.items():
        # The Keras model is for further training and may be left out; the others are needed.
        if not (root / name).is_file() and name.endswith(".keras"):
            continue
        if not (root / name).is_file() or sha256(root / name) != expected:
            raise InputError(f"{root / name} is missing or was changed after the classifier was stored.")
    return info
