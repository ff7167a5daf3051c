"""Which networks, with which input size and convention?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from diascope import hub
from diascope.errors import InputError, nearest

if TYPE_CHECKING:
    import keras

COMPACT_CNN = "compact_cnn"


@dataclass(frozen=True)
class Architecture:
    """What must be known of a network before Keras is imported."""

    module: str  # in keras.applications; empty for others
    size: int  # default input side, pixels
    alphas: tuple[float, ...] = ()  # width multipliers that there are ImageNet weights for, where it has one
    sizes: hub.Sizes = "any"  # that it takes

    @property
    def has_alpha(self) -> bool:
        """Whether its width can be chosen."""
        return bool(self.alphas)


BACKBONES: dict[str, Architecture] = {
    COMPACT_CNN: Architecture("", 96),
    **{f"ConvNeXt{s}": Architecture("convnext", 224) for s in ("Tiny", "Small", "Base", "Large", "XLarge")},
    **{f"DenseNet{n}": Architecture("densenet", 224) for n in (121, 169, 201)},
    **{
        f"EfficientNetB{i}": Architecture("efficientnet", size)
        for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{
        f"EfficientNetV2{s}": Architecture("efficientnet_v2", size)
        for s, size in {"B0": 224, "B1": 240, "B2": 260, "B3": 300, "S": 384, "M": 480, "L": 480}.items()
    },
    "InceptionResNetV2": Architecture("inception_resnet_v2", 299),
    "InceptionV3": Architecture("inception_v3", 299),
    "MobileNet": Architecture("mobilenet", 224, (0.25, 0.5, 0.75, 1.0)),
    "MobileNetV2": Architecture("mobilenet_v2", 224, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "MobileNetV3Large": Architecture("mobilenet_v3", 224),
    "MobileNetV3Small": Architecture("mobilenet_v3", 224),
    "NASNetLarge": Architecture("nasnet", 331),
    "NASNetMobile": Architecture("nasnet", 224),
    **{f"ResNet{n}": Architecture("resnet", 224) for n in (50, 101, 152)},
    **{f"ResNet{n}V2": Architecture("resnet_v2", 224) for n in (50, 101, 152)},
    **{f"VGG{n}": Architecture(f"vgg{n}", 224) for n in (16, 19)},
    "Xception": Architecture("xception", 299),
}


def find_backbone(name: str) -> Architecture:
    """Return what is known of a network by its name, or of `hub:` and a preset of KerasHub's, or a folder with one.

    Raises InputError where there is none of this name, with the nearest that there is.
    """
    if hub.is_hub(name):
        preset = hub.find_preset(name)
        return Architecture("", preset.size, sizes=preset.sizes)
    if name not in BACKBONES:
        known = [*BACKBONES, *(f"{hub.PREFIX}{preset}" for preset in hub.presets())]
        raise InputError(f"there is no backbone {name!r}; the nearest is {nearest(name, known)!r}")
    return BACKBONES[name]


def load_backbone(
    name: str, weights: str, alpha: float | None, dropout: float, seed: int, size: int | None = None
) -> "keras.Model":
    """Build a headless network with its weights (`imagenet`, `none`, a path or s3://), for any image size.

    `imagenet` are the weights that a network of KerasHub comes with, whatever they were trained on. `size`, in pixels,
    matters to those of its networks that are built for one size.

    Raises
    ------
    InputError: the weights cannot be had; the message says which file to put where.
    """
    import keras
    from keras.src.utils.naming import reset_uids

    reset_uids()  # many layers are named by a counter; what was built before must not change their names
    keras.utils.set_random_seed(seed)
    if name == COMPACT_CNN:
        return _compact_cnn(dropout)
    if hub.is_hub(name):
        return _preset(name, weights, size)
    build = getattr(keras.applications, name)
    size = BACKBONES[name].size  # some networks find their ImageNet weights only for their own size
    options: dict[str, Any] = {"include_top": False, "input_shape": (size, size, 3)}
    if alpha is not None:
        options["alpha"] = alpha
    if weights == "imagenet":
        try:
            with _weights_directory_first(name):
                network = build(weights="imagenet", **options)
        except InputError:
            raise
        except ValueError as error:  # such as a width multiplier that ImageNet weights do not exist for
            raise InputError(f"{name} cannot be built: {' '.join(str(error).split())}") from error
    else:
        network = build(weights=None, **options)
        if weights != "none":
            from diascope.sources import fetch_file

            _load_file(network, fetch_file(weights))
    any_size = keras.models.clone_model(network, input_tensors=keras.Input((None, None, 3)))
    any_size.set_weights(network.get_weights())
    return any_size


def _preset(name: str, weights: str, size: int | None) -> "keras.Model":
    from diascope.hub_network import load_preset

    network = load_preset(name, _of_preset(weights), size)
    if weights not in ("imagenet", "none"):
        from diascope.sources import fetch_file

        _load_file(network, fetch_file(weights))
    return network


def _of_preset(weights: str) -> str:
    """Which weights a preset is loaded with: its own, or none."""
    return "preset" if weights == "imagenet" else "none"


def input_convention(backbone: str, weights: str = "imagenet") -> tuple["np.ndarray", "np.ndarray"]:
    """Return the matrix (3, 3) and offset (3,) that turn RGB 0..255 into what the backbone was trained on.

    Keras gives each family a `preprocess_input`, and KerasHub each preset an image converter; all are affine in the
    pixel, so four probes determine them, and one 1x1 convolution with these weights takes the convention into the
    network. Only of a preset with random `weights` need nothing be at hand. Raises InputError where it cannot be had.
    """
    if hub.is_hub(backbone):
        from diascope.hub_network import preset_convention

        return preset_convention(backbone, _of_preset(weights))
    import keras

    module = BACKBONES[backbone].module
    if not module:
        return np.eye(3, dtype=np.float32) / 127.5, -np.ones(3, np.float32)
    preprocess = getattr(keras.applications, module).preprocess_input
    probes = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32).reshape(4, 1, 1, 3)
    answers = np.asarray(preprocess(probes.copy(), data_format="channels_last")).reshape(4, 3)
    return (answers[1:] - answers[0]).astype(np.float32), answers[0].astype(np.float32)


def _compact_cnn(dropout: float) -> "keras.Model":
    """Four blocks of convolution, normalisation and pooling: enough for shapes, small enough for two cores."""
    import keras
    from keras import layers

    image = keras.Input((None, None, 3))
    x = image
    for filters in (16, 32, 64, 96):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.SpatialDropout2D(dropout)(x) if dropout else x
    return keras.Model(image, x, name=COMPACT_CNN)


@contextmanager
def _weights_directory_first(backbone: str) -> Iterator[None]:
    """Let Keras look for its weights file in DIASCOPE_WEIGHTS_DIR before its own cache and the network."""
    from keras.src.utils import file_utils

    download = file_utils.get_file

    def find(fname: str | None = None, origin: str = "", **options: Any) -> str:
        name = fname or origin.rsplit("/", 1)[-1]
        folder = os.environ.get("DIASCOPE_WEIGHTS_DIR")
        if folder and (Path(folder) / name).is_file():
            return _checked(Path(folder) / name, options.get("file_hash"))
        try:
            return str(download(fname, origin, **options))
        except Exception as error:  # Keras raises bare Exception when a download fails
            raise InputError(
                f"The ImageNet weights of {backbone} are not here and cannot be downloaded ({error}): put {name} "
                "into the folder DIASCOPE_WEIGHTS_DIR names or into ~/.keras/models, or say weights: none."
            ) from error

    file_utils.get_file = find
    try:
        yield
    finally:
        file_utils.get_file = download


def _checked(path: Path, file_hash: str | None) -> str:
    from keras.src.utils.file_utils import validate_file

    if file_hash and not validate_file(str(path), file_hash):
        raise InputError(f"{path} is not the file that Keras expects under this name (its hash differs).")
    return str(path)


def _load_file(network: "keras.Model", path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no weights file {path}.")
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError, BadZipFile) as error:
        raise InputError(f"{path} does not hold weights for {network.name}: {error}") from error
