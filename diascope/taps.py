"""Which layers of a network are worth pooling, where nobody says which?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

AUTO = "auto"
LAST = "last"
MOST_LAYERS = 24
MOST_FEATURES = 40_000  # of all image sizes and poolings together: 160 kB per image
NARROW = 0.5  # of the widest layer of the same resolution; narrower ones are bottlenecks
Map = tuple[str, tuple[int, int], int]  # name of the layer, resolution, channels
ACTIVATIONS = {"Activation", "ELU", "LeakyReLU", "PReLU", "ReLU"}


def find_layers(backbone: "keras.Model", size: int, blocks: int) -> list[str]:
    """Return names of layers to pool: the output first, then what stands behind non-linearities, the latest first.

    A network tells most where it has just decided what is there and what is not, and before it narrows down again. So
    gates of one position (squeeze and excitation) and bottlenecks are left out.

    Parameters
    ----------
    size: side of the image in pixels.
    blocks: how many blocks of features are made of each layer (image sizes times poolings).
    """
    found, width = [LAST], _channels(backbone.output) * blocks
    for name, channels in reversed(_wide(_activated(backbone, size))):
        width += channels * blocks
        if width > MOST_FEATURES or len(found) == MOST_LAYERS:
            break
        found.append(name)
    return found


def _activated(backbone: "keras.Model", size: int) -> list[Map]:
    """The maps behind non-linearities, in order."""
    import keras

    layers = [layer for layer in backbone.layers if _is_non_linear(layer) and layer.output is not backbone.output]
    layers = [layer for layer in layers if len(getattr(layer.output, "shape", ())) == 4]
    if not layers:
        return []
    outputs = keras.Model(backbone.input, [layer.output for layer in layers]).compute_output_spec(
        keras.KerasTensor((1, size, size, 3))
    )
    shapes = [each.shape for each in (outputs if isinstance(outputs, list) else [outputs])]
    return [
        (layer.name, (shape[1], shape[2]), shape[3])
        for layer, shape in zip(layers, shapes, strict=True)
        if shape[1] * shape[2] > 1
    ]


def _is_non_linear(layer: Any) -> bool:
    """Whether it applies an activation function: as a layer of its own, or as a part of another one."""
    import keras

    function = getattr(layer, "activation", None)
    if function is None:
        return type(layer).__name__ in ACTIVATIONS
    return function is not keras.activations.linear


def _wide(maps: list[Map]) -> list[tuple[str, int]]:
    """Names and channels of those that are not much narrower than others of their resolution."""
    widest: dict[tuple[int, int], int] = {}
    for _, resolution, channels in maps:
        widest[resolution] = max(channels, widest.get(resolution, 0))
    return [(name, channels) for name, resolution, channels in maps if channels >= NARROW * widest[resolution]]


def _channels(output: Any) -> int:
    return int(output.shape[-1])
