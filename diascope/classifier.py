"""The one prediction path: what is evaluated is what is served."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from diascope import images
from diascope.answers import Abstention, Answer, Familiarity, deciding_score, reason, verdict
from diascope.engine import Engine, ahead, in_bursts
from diascope.errors import InputError
from diascope.metrics import Metrics, OperatingPoint
from diascope.preparation import network_input
from diascope.preparation_settings import Preparation
from diascope.schema import Frozen, Versioned

SCHEMA_VERSION = 3
METADATA = "metadata.json"


class Input(Frozen):
    """What the network takes, and how a file becomes that."""

    size: int  # side in pixels
    channels: str = "RGB"
    dtype: str = "uint8"
    resize: str = "bilinear with antialiasing, stretched to a square"
    normalisation: str = "inside the network"
    preparation: Preparation = Preparation()  # before resizing


class ActivationMap(Frozen):
    """The second output: how much each position speaks for each class (Zhou et al. 2016)."""

    grid: tuple[int, int]
    # The mean over positions plus a constant is the logit, unless the head's scaling had to clip a feature; false where
    # other poolings add to it.
    exact: bool


class Training(Frozen):
    """Where the classifier comes from."""

    candidate: dict  # the candidate's configuration
    chosen: dict[str, float]
    n: int  # images the final fit used: train and validation
    dataset_source: str
    dataset_fingerprint: str
    groups: str
    seed: int


class ClassifierInfo(Frozen):
    """`metadata.json` of a classifier."""

    schema_version: int = SCHEMA_VERSION
    name: str
    class_names: list[str]
    input: Input
    precision: str  # of the engine, where the CPU has it
    temperature: float  # already inside the network's last layer
    operating_point: OperatingPoint | None
    activation_map: ActivationMap | None
    familiarity: Familiarity | None = None
    abstention: Abstention | None = None
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

    def with_test(self, test: Metrics, root: Path) -> "Classifier":
        """Return a copy in an empty folder that carries its test metrics."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        info = self.info.model_copy(update={"test": test})
        (root / METADATA).write_text(info.model_dump_json(indent=1), encoding="utf-8")
        return Classifier(root)

    def predict(self, pictures: Iterable[ImageLike], max_pixels: int = images.MAX_PIXELS) -> Predictions:
        """Classify images given as paths, encoded bytes, Pillow images or uint8 arrays (height, width[, 3]).

        Files whose header says more than `max_pixels` are not decoded.

        Raises
        ------
        InputError: one of them cannot be decoded, or is an array of another kind.
        """
        answers = [outputs["probabilities"] for outputs in self.stream(pictures, max_pixels)]
        probabilities = np.stack(answers) if answers else np.zeros((0, len(self.info.class_names)), np.float32)
        return Predictions(self.info.class_names, probabilities, self.decide(probabilities))

    def stream(
        self, pictures: Iterable[ImageLike], max_pixels: int = images.MAX_PIXELS
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield each image's outputs in order: `probabilities` (n_classes,) and, where there is one, `activation_map`.

        Decoding runs ahead on all cores; memory does not grow with the number of images.
        """
        yield from self.run(ahead(lambda picture: self.pixels(picture, max_pixels), pictures))

    def run(self, pixels: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield, in order, the outputs of images as `view` returns them, as they come."""
        if self._engine is None:
            self._engine = Engine(self.root / "model.xml", precision=self.info.precision)
        yield from self._engine.stream(in_bursts(pixels))

    def answers(self, pictures: Iterable[ImageLike], max_pixels: int = images.MAX_PIXELS) -> Iterator[Answer]:
        """Yield the answer to each image, in order; memory does not grow with their number."""
        return map(self.answer, self.stream(pictures, max_pixels))

    def answer(self, outputs: dict[str, np.ndarray]) -> Answer:
        """Return what the outputs of one image mean: the class, and whether to trust it here.

        Selective classification (Geifman and El-Yaniv, NeurIPS 2017) behind a test of whether the image is like those
        the classifier was trained on. A classifier without reference statistics or band always answers `ok`.
        """
        info, probabilities = self.info, outputs["probabilities"].astype(np.float64)
        point, label = info.operating_point, self.decide(outputs["probabilities"][None])[0]
        distance = float(outputs["distance"]) if info.familiarity else None
        scores = deciding_score(probabilities[None], info.class_names, point)
        distances = None if distance is None else np.array([distance])
        decision = verdict(scores, distances, info.abstention)[0]
        return Answer(
            label=label,
            probability=float(probabilities[info.class_names.index(label)]),
            probabilities=dict(zip(info.class_names, probabilities.tolist(), strict=True)),
            decision=decision,
            reason=reason(decision, label, float(scores[0]), distance, point, info.abstention, info.familiarity),
            threshold=point.threshold if point else None,
            distance=distance,
        )

    def pixels(self, picture: ImageLike, max_pixels: int = images.MAX_PIXELS) -> np.ndarray:
        """Return what the network sees of an image: uint8 (size, size, 3)."""
        if isinstance(picture, Path):
            decoded = images.decode(picture.read_bytes(), name=picture.name, max_pixels=max_pixels)
        elif isinstance(picture, bytes):
            decoded = images.decode(picture, max_pixels=max_pixels)
        elif isinstance(picture, np.ndarray):
            decoded = _from_array(picture)
        else:
            decoded = images.decode(_encoded(picture), max_pixels=max_pixels)
        return self.view(decoded)

    def view(self, image: Image.Image) -> np.ndarray:
        """Return what the network sees of a decoded RGB image: uint8 (size, size, 3)."""
        return network_input(image, self.info.input.size, self.info.input.preparation)

    def decide(self, probabilities: np.ndarray) -> list[str]:
        """Return the class of each row: the most probable, or by the operating point of a two-class problem."""
        names = self.info.class_names
        point = self.info.operating_point
        if point is None:
            return [names[i] for i in probabilities.argmax(axis=1)]
        positive = names.index(point.positive_class)
        return [names[positive] if p >= point.threshold else names[1 - positive] for p in probabilities[:, positive]]


def _from_array(picture: np.ndarray) -> Image.Image:
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise InputError(
            f"A {picture.dtype} array {picture.shape} is no image: give uint8 (height, width, 3) or (height, width)."
        )
    return Image.fromarray(picture).convert("RGB")


def _encoded(picture: Image.Image) -> bytes:
    """Return the image as a file, so that the decoder treats it like any other."""
    buffer = BytesIO()
    ImageOps.exif_transpose(picture).save(
        buffer, "TIFF" if picture.mode in ("I", "F", "CMYK") else "PNG", compress_level=0
    )
    return buffer.getvalue()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(root: Path) -> ClassifierInfo:
    if not (root / METADATA).is_file():
        raise InputError(f"{root} holds no classifier: there is no {METADATA}.")
    try:
        text = (root / METADATA).read_text(encoding="utf-8")
        newer = Versioned.model_validate_json(text).schema_version > SCHEMA_VERSION
        info = None if newer else ClassifierInfo.model_validate_json(text)
    except ValueError as error:
        raise InputError(f"{root / METADATA} does not describe a classifier; store it anew.") from error
    if info is None:
        raise InputError(f"{root} was written by a newer version of this program; update first.")
    for name, expected in info.files.items():
        # The Keras model is for further training and may be left out; the others are needed.
        if not (root / name).is_file() and name.endswith(".keras"):
            continue
        if not (root / name).is_file() or sha256(root / name) != expected:
            raise InputError(f"{root / name} is missing or was changed after the classifier was stored.")
    return info
