"""How does a preset of KerasHub become a network like the others: one image in, a map of features out?"""

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diascope.errors import InputError
from diascope.hub import CONFIG_FILE, CONVERTER_FILE, Preset, at_hand, find_preset
from diascope.hub_architectures import DEVIATION, MEAN, architecture

if TYPE_CHECKING:
    import keras

FILES = f"{CONFIG_FILE}, {CONVERTER_FILE} and model.weights.h5"
TOKENS = 8  # at most, that stand before those of the image's patches: of the class, of distillation, registers
BUILT_FOR_A_SIZE = {"DINOV2Backbone", "DINOV3Backbone", "MiTBackbone"}  # whose weights go with any
WHOLE = {"DeiTBackbone", "MiTBackbone", "ViTBackbone"}  # whose layers cannot be stored one by one


def load_preset(backbone: str, weights: str, size: int | None) -> "keras.Model":
    """Build the network of `hub:NAME` or `hub:FOLDER`, for any image size where that can be.

    Parameters
    ----------
    weights: `none` for random ones, which need no download where the architecture is known; else the preset's own.
    size: of the images in pixels, for networks that are built for one size.

    Raises
    ------
    InputError: the preset cannot be had, is broken, or is no network for images.
    """
    import keras

    preset = find_preset(backbone)
    with _place(preset, weights) as place, _explained(preset, place):
        network = _from_preset(place, weights)
        if type(network).__name__ in BUILT_FOR_A_SIZE and (wanted := size or preset.size) != _side(network):
            network = _from_preset(place, weights, image_shape=(wanted, wanted, 3))
    if not isinstance(network, keras.Model) or len(getattr(network, "inputs", ())) != 1 or _rank(network) != 4:
        raise InputError(f"{backbone} is no network that takes an image and nothing else")
    image, last = network.inputs[0], _last(network)
    if type(network).__name__ in WHOLE:
        image = keras.Input(image.shape[1:])
        last = network(image)
    elif len(last.shape) == 4 and image.shape[1] is not None and type(network).__name__ not in BUILT_FOR_A_SIZE:
        plain = keras.Model(image, last)
        any_size = keras.models.clone_model(plain, input_tensors=keras.Input((None, None, 3)))
        any_size.set_weights(plain.get_weights())
        image, last = any_size.input, any_size.output
    return keras.Model(image, as_map(last), name="preset")


def preset_convention(backbone: str, weights: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix (3, 3) and offset (3,) by which the preset's image converter changes RGB 0..255.

    Raises InputError where pretrained weights come without one, or with one that is no affine function of a pixel.
    """
    import keras_hub

    preset = find_preset(backbone)
    with _place(preset, weights) as place, _explained(preset, place):
        try:
            converter = keras_hub.layers.ImageConverter.from_preset(place)
        except FileNotFoundError:
            converter = None
    if converter is None:
        if weights == "none":
            mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
            return np.diag(1 / (255 * deviation)), -mean / deviation
        raise InputError(f"{backbone} has no {CONVERTER_FILE}, which says how pixels go in: save it beside the weights")
    return _affine(converter, backbone)


def as_map(output: "keras.KerasTensor") -> "keras.KerasTensor":
    """Turn tokens (n, tokens, channels) into a map (n, side, side, channels); those of no patch are left out.

    Maps stay as they are. Raises InputError where the tokens are not those of a square.
    """
    from keras import layers

    if len(output.shape) != 3 or output.shape[1] is None:
        return output
    before, side = _grid(output.shape[1])
    patches = layers.Cropping1D((before, 0))(output) if before else output
    return layers.Reshape((side, side, output.shape[2]))(patches)


def _grid(n_tokens: int) -> tuple[int, int]:
    """How many tokens stand before those of the patches, and the patches along a side."""
    for before in range(min(TOKENS, n_tokens)):
        side = math.isqrt(n_tokens - before)
        if side * side == n_tokens - before:
            return before, side
    raise InputError(f"{n_tokens} tokens are not those of a square image: nothing can be pooled over positions")


def _last(network: "keras.Model") -> "keras.KerasTensor":
    """What comes last out of a network, which may give several maps by their names."""
    output = network.output
    maps = list(output.values()) if isinstance(output, dict) else output
    return maps[-1] if isinstance(maps, list | tuple) else maps


def _rank(network: "keras.Model") -> int:
    return len(network.inputs[0].shape)


def _side(network: "keras.Model") -> int | None:
    shape = network.inputs[0].shape
    return shape[1] if len(shape) == 4 else None


def _from_preset(place: str, weights: str, **options: Any) -> "keras.Model":
    import keras_hub

    return keras_hub.models.Backbone.from_preset(place, load_weights=weights == "preset", **options)


def _affine(converter: Any, backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Four pixels determine an affine function; a fifth says whether it is one."""
    converter.image_size = None  # images come in the size that the candidate says
    probes = np.concatenate([np.zeros((1, 3)), np.eye(3), [[31, 77, 200]]]).astype(np.float32).reshape(5, 1, 1, 3)
    answers = np.asarray(converter(probes), np.float32).reshape(5, 3)
    matrix, offset = answers[1:4] - answers[0], answers[0]
    if not np.allclose(probes[4].reshape(3) @ matrix + offset, answers[4], rtol=1e-3, atol=1e-3):
        raise InputError(f"The image converter of {backbone} does more than scale and shift the channels of a pixel")
    return matrix, offset


@contextmanager
def _place(preset: Preset, weights: str) -> Iterator[str]:
    """Where KerasHub shall look: a folder, or a name for which it looks into its cache and then to the network."""
    if preset.is_folder:
        from diascope.sources import fetch

        yield str(fetch(preset.name)) if "://" in preset.name else preset.name
    elif here := at_hand(preset.name):
        yield str(here)
    elif weights == "none" and (known := architecture(preset.name, preset.size)):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CONFIG_FILE).write_text(json.dumps(known))
            yield folder
    else:
        yield preset.name


@contextmanager
def _explained(preset: Preset, place: str) -> Iterator[None]:
    """Say in one sentence what is missing or broken, whatever KerasHub, Kaggle or Keras make of it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, TypeError, LookupError, ImportError) as error:
        why = " ".join(str(error).split())[:300]
        if place == preset.name and not preset.is_folder:
            raise InputError(
                f"The preset {preset.name} is not here and cannot be downloaded ({why}): put its files ({FILES}) into "
                f"the folder {preset.name} in the one that DIASCOPE_WEIGHTS_DIR names, or say weights: none."
            ) from error
        raise InputError(f"{place} holds no preset of KerasHub that can be used ({FILES}): {why}") from error
