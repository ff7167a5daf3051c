"""What does the frozen backbone see? One pooled vector per image, computed once."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from diascope import hub, images
from diascope.arrays import write_rows
from diascope.backbones import find_backbone, input_convention, load_backbone
from diascope.block_lengths import NOTHING, of_length_1
from diascope.config import CandidateConfig
from diascope.engine import Engine, ahead, export, multiply_adds, precision_for
from diascope.errors import InputError
from diascope.preparation import network_input
from diascope.preparation_settings import Preparation
from diascope.progress import Progress
from diascope.schema import Frozen
from diascope.taps import AUTO, find_layers
from diascope.views import attach_view

if TYPE_CHECKING:
    import keras

    from diascope.dataset import Dataset


class FeatureSpec(Frozen):
    """What determines the features of an image, apart from the image."""

    backbone: str
    alpha: float | None
    weights: str
    image_sizes: list[int]  # the largest first; it is the size of the network's input
    layers: list[str]  # names, or `auto` alone; the blocks that a network is built with have names
    pooling: list[str]
    feature_norm: str  # l2: every pooled block has length 1, whatever the image's contrast
    dropout: float  # only networks that are trained from scratch carry it inside
    pixels: str = "network"  # `unit`: RGB / 255 instead of what the backbone was trained on
    views: list[str] = Field(default=[])  # further views of the image, predicted like it
    preparation: Preparation = Preparation()  # of every image, before it is resized

    @property
    def key(self) -> str:
        """Text that is equal for equal features."""
        return self.model_dump_json()

    @property
    def has_weights_file(self) -> bool:
        """Whether the weights are a file of the user's."""
        return self.weights not in ("imagenet", "none")

    @property
    def files(self) -> list[str]:
        """What of the user's the network is made of: a file of weights, a folder with a preset of KerasHub."""
        folder = hub.folder_of(self.backbone)
        return [*([self.weights] if self.has_weights_file else []), *([folder] if folder else [])]

    @classmethod
    def of(cls, candidate: CandidateConfig) -> "FeatureSpec":
        """Return the part of a candidate that its features depend on."""
        sizes = candidate.image_sizes or [find_backbone(candidate.backbone).size]
        original = candidate.original
        return cls(
            backbone=candidate.backbone,
            alpha=candidate.alpha,
            weights=candidate.weights,
            image_sizes=sorted(sizes, reverse=True),
            layers=candidate.layers,
            pooling=[original.pooling] if original else list(candidate.pooling),
            feature_norm="none" if candidate.trains_network else candidate.feature_norm,
            dropout=candidate.dropout if candidate.trains_network else 0,
            pixels=original.pixels if original else "network",
            views=list(candidate.test_time_augmentation),
            preparation=candidate.preparation,
        )


class FeatureBlock(Frozen):
    """One layer at one image size, pooled one way: a slice of the feature vector."""

    size: int
    layer: str
    pooling: str
    start: int
    stop: int


class BackboneInfo(Frozen):
    """A backbone with its poolings, and what one image costs."""

    spec: FeatureSpec
    blocks: list[FeatureBlock]
    parameters: int
    precision: str
    milliseconds: float
    megabytes: float
    gigamacs: float = 0  # billions of multiply-adds of one image

    @property
    def size(self) -> int:
        """Side of the input image in pixels."""
        return self.spec.image_sizes[0]

    @property
    def dimension(self) -> int:
        """Length of the feature vector."""
        return self.blocks[-1].stop

    @property
    def averages(self) -> list[tuple[int, int]]:
        """Where the blocks of averages start and stop, or all blocks where none is an average."""
        return [(b.start, b.stop) for b in self.blocks if b.pooling == "avg"] or [
            (b.start, b.stop) for b in self.blocks
        ]


class Backbone:
    """A folder with the frozen network: `features.keras`, OpenVINO IR `features.xml` and `.bin`, `backbone.json`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = BackboneInfo.model_validate_json((root / "backbone.json").read_text())

    def engine(self) -> Engine:
        """Return the compiled network: image in, `outputs` out."""
        return Engine(self.root / "features.xml", precision=self.info.precision)

    @property
    def outputs(self) -> list[str]:
        """Names of the engine's outputs: the features of the image, then those of its further views."""
        return [_output(view) for view in ["", *self.info.spec.views]]

    def network(self) -> "keras.Model":
        """Return the Keras model: image in, features and the pooled maps out."""
        import keras

        return keras.saving.load_model(self.root / "features.keras")


class Features:
    """A folder with the features of some images: `features.npy` float32 (n, d), `samples.json`, `backbone.json`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.samples: dict[str, list[str]] = json.loads((root / "samples.json").read_text())
        self.backbone = BackboneInfo.model_validate_json((root / "backbone.json").read_text())

    @property
    def description(self) -> dict[str, object]:
        """What the features are features of, without keys that say nothing: ZenML takes no None."""
        return self.backbone.spec.model_dump(exclude_none=True)

    @property
    def sample_ids(self) -> list[str]:
        """Identifiers of the rows, in order."""
        return self.samples["sample_id"]

    def array(self) -> np.ndarray:
        """Return the features, float32 (n, d), mapped from disk."""
        return np.load(self.root / "features.npy", mmap_mode="r")[:, : self.backbone.dimension]

    def views(self) -> list[np.ndarray]:
        """Return the features of each further view, float32 (n, d), mapped from disk."""
        d, stored = self.backbone.dimension, np.load(self.root / "features.npy", mmap_mode="r")
        return [stored[:, start : start + d] for start in range(d, stored.shape[1], d)]

    def appearance(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return one averaged block (n, channels), of some rows or all: what decides which images look alike."""
        blocks = self.backbone.blocks
        block = next((b for b in reversed(blocks) if b.pooling == "avg" and b.layer == "last"), blocks[0])
        averaged = self.array()[:, block.start : block.stop]
        return np.asarray(averaged if rows is None else averaged[rows])


def build_network(spec: FeatureSpec, seed: int) -> tuple["keras.Model", list[FeatureBlock]]:
    """Build uint8 image -> [features, map, map, …] with one map for every image size and layer.

    Smaller image sizes are made inside the network from the largest one, so that a classifier has one input.
    """
    import keras
    from keras import layers, ops

    largest = spec.image_sizes[0]
    backbone = load_backbone(spec.backbone, spec.weights, spec.alpha, spec.dropout, seed, largest)
    if (own := backbone.input.shape[1]) is not None and spec.image_sizes != [own]:
        raise InputError(f"{spec.backbone} takes images of one size, here {own} px: say image_sizes: [{own}].")
    names = spec.layers
    if names == [AUTO]:
        names = find_layers(backbone, largest, len(spec.image_sizes) * len(spec.pooling))
    tapped = keras.Model(backbone.input, [_layer_output(backbone, name) for name in names], name="backbone")
    unit = np.eye(3, dtype=np.float32) / 255, np.zeros(3, np.float32)
    matrix, offset = unit if spec.pixels == "unit" else input_convention(spec.backbone, spec.weights)
    convention = layers.Conv2D(3, 1, name="input_convention", trainable=False)
    image = keras.Input((largest, largest, 3), dtype="uint8", name="image")
    pixels = layers.Rescaling(1.0, name="pixels")(image)
    pooled, maps = [], []
    blocks: list[FeatureBlock] = []
    for size in spec.image_sizes:
        # Not layers.Resizing: calling it puts the layers after it into training mode (Keras 3.15).
        resized = ops.image.resize(pixels, (size, size), antialias=False) if size != largest else pixels
        try:
            outputs = tapped(convention(resized))
        except ValueError as error:
            raise InputError(f"{spec.backbone} cannot take images of {size} px: give larger image_sizes.") from error
        for layer, feature_map in zip(names, outputs if isinstance(outputs, list) else [outputs], strict=True):
            maps.append(feature_map)
            for pooling in spec.pooling:
                pooled.append(_pool(feature_map, pooling))
                start = blocks[-1].stop if blocks else 0
                stop = start + pooled[-1].shape[-1]
                blocks.append(FeatureBlock(size=size, layer=layer, pooling=pooling, start=start, stop=stop))
    convention.set_weights([matrix.reshape(1, 1, 3, 3), offset])
    features = layers.Concatenate(name="features")(pooled) if len(pooled) > 1 else pooled[0]
    if spec.feature_norm == "l2":
        features = of_length_1(features, [block.stop - block.start for block in blocks], NOTHING)
    return keras.Model(image, [features, *maps], name="diascope"), blocks


def write_backbone(spec: FeatureSpec, root: Path, seed: int) -> Backbone:
    """Build, export and time a backbone with its poolings into an empty folder."""
    network, blocks = build_network(spec, seed)
    network.save(root / "features.keras")
    export(_of_all_views(network, spec.views), root / "features.xml", [_output(view) for view in ["", *spec.views]])
    parameters = network.count_params()
    precision = precision_for(parameters)
    info = BackboneInfo(
        spec=spec,
        blocks=blocks,
        parameters=parameters,
        precision=precision,
        milliseconds=_latency(Engine(root / "features.xml", precision=precision, hint="LATENCY")),
        megabytes=(root / "features.bin").stat().st_size / 1e6,
        gigamacs=multiply_adds(root / "features.xml"),
    )
    (root / "backbone.json").write_text(info.model_dump_json(indent=1))
    return Backbone(root)


def extract_features(
    dataset: "Dataset",
    backbone: Backbone,
    splits: Iterable[str],
    root: Path,
    progress: Progress | None = None,
) -> Features:
    """Run the backbone once over every image of the splits and store the vectors in an empty folder.

    Images stream from the shards through decoding threads into the engine; memory does not grow with their number.
    """
    index = dataset.index()
    index = index[index["split"].isin(list(splits))]
    names = backbone.outputs

    def rows() -> Iterator[np.ndarray]:
        pixels = decoded(dataset, splits, backbone.info.spec)
        for done, outputs in enumerate(backbone.engine().stream(pixels), start=1):
            if progress:
                progress("images", done, len(index))
            yield np.concatenate([outputs[name] for name in names])

    write_rows(root / "features.npy", rows(), (len(index), len(names) * backbone.info.dimension), np.float32)
    samples = {key: index[key].tolist() for key in ("sample_id", "split", "label")}
    (root / "samples.json").write_text(json.dumps(samples))
    (root / "backbone.json").write_text(backbone.info.model_dump_json(indent=1))
    return Features(root)


def decoded(
    dataset: "Dataset", splits: Iterable[str], spec: FeatureSpec, only: set[str] | None = None
) -> Iterator[np.ndarray]:
    """Yield the images of some splits in storage order, as the network sees them, decoded ahead by threads.

    `only`: the sample ids of those that are wanted; None: all.
    """

    def pixels(sample: tuple[str, bytes]) -> np.ndarray:
        name, data = sample
        return network_input(images.decode(data, name=name, max_pixels=images.INGESTED), size, spec.preparation)

    size = spec.image_sizes[0]
    encoded = (sample for ids, batch in dataset.images(*splits) for sample in zip(ids, batch, strict=True))
    return ahead(pixels, (sample for sample in encoded if only is None or sample[0] in only))


def _of_all_views(network: "keras.Model", views: list[str]) -> "keras.Model":
    """Return the image's features, and after them those of each further view."""
    import keras

    features = keras.Model(network.input, network.outputs[0])
    if not views:
        return features
    image = keras.Input(network.input.shape[1:], dtype="uint8", name="image")
    return keras.Model(image, [features(image), *(features(attach_view(image, view)) for view in views)])


def _output(view: str) -> str:
    return f"features_{view}" if view else "features"


def _layer_output(backbone: "keras.Model", name: str) -> "keras.KerasTensor":
    if name == "last":
        return backbone.output
    names = [layer.name for layer in backbone.layers]
    if name not in names:
        from difflib import get_close_matches

        near = get_close_matches(name, names, n=1, cutoff=0)[0]
        raise InputError(f"{backbone.name} has no layer {name!r}; the nearest is {near!r}.")
    output = backbone.get_layer(name).output
    n_axes = len(getattr(output, "shape", ()))  # some layers of KerasHub give several tensors
    if n_axes == 3 and backbone.input.shape[1] is not None:
        from diascope.hub_network import as_map

        return as_map(output)
    if n_axes != 4:
        raise InputError(f"Layer {name!r} of {backbone.name} has no spatial positions to pool over.")
    return output


def _pool(feature_map: "keras.KerasTensor", pooling: str) -> "keras.KerasTensor":
    from keras import layers, ops

    if pooling == "flatten":
        return layers.Flatten()(feature_map)
    if pooling == "std":
        return ops.std(feature_map, axis=(1, 2))
    return (layers.GlobalAveragePooling2D() if pooling == "avg" else layers.GlobalMaxPooling2D())(feature_map)


def _latency(engine: Engine, repeats: int = 30) -> float:
    """Return the least time of one image in milliseconds: what else the machine does can only add to it."""
    blank = np.zeros((engine.size, engine.size, 3), np.uint8)
    times: list[float] = []
    while len(times) < 5 or (len(times) < repeats and sum(times) < 500):  # half a second is enough of a large one
        start = time.perf_counter()
        list(engine.stream([blank]))
        times.append(1000 * (time.perf_counter() - start))
    return min(times)
