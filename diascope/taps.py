"""Which layers of a network are worth pooling, where nobody says which?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

AUTO = "auto"
LAST = "last"
MOST_LAYERS = 24
RESOLUTIONS = 3  # the coarsest: an eighth, a sixteenth and a thirty-second of most networks' images
GROWTHS = [1 + tenths / 10 for tenths in range(100)]
MOST_FEATURES = 40_000  # of all image sizes and poolings together: 160 kB per image
NARROW = 0.5  # of the widest layer of the same resolution; narrower ones are bottlenecks
Map = tuple[str, tuple[int, int], int]  # name of the layer, resolution, channels
ACTIVATIONS = {"Activation", "ELU", "LeakyReLU", "PReLU", "ReLU"}


def find_layers(backbone: "keras.Model", size: int, blocks: int) -> list[str]:
    """Return names of layers to pool: the output first, then what stands behind non-linearities, the latest first.

    A network tells most where it has just decided what is there and what is not, and before it narrows down again. So
    gates of one position (squeeze and excitation) and bottlenecks are left out. Where there is no room for all, the
    early ones are thinned out, so that wide networks reach as far back: on some images early layers tell the most.

    Parameters
    ----------
    size: side of the image in pixels.
    blocks: how many blocks of features are made of each layer (image sizes times poolings).
    """
    known = _coarse(_activated(backbone, size))[::-1]
    last = int(backbone.output.shape[-1])
    for growth in GROWTHS:
        some = [known[place] for place in _spread(len(known), growth)][: MOST_LAYERS - 1]
        if blocks * (last + sum(channels for _, channels in some)) <= MOST_FEATURES:
            return [LAST, *(name for name, _ in some)]
    return [LAST]


def _spread(n: int, growth: float) -> list[int]:
    """Places from 0 to n - 1 with ever larger steps between them, each `growth` times the one before."""
    places, place, step = list[int](), 0.0, 1.0
    while round(place) < n:
        places.append(round(place))
        step *= growth
        place += step
    return places


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


def _coarse(maps: list[Map]) -> list[tuple[str, int]]:
    """Names and channels of the maps of the coarsest resolutions that are not much narrower than others of theirs."""
    resolutions = sorted({resolution for _, resolution, _ in maps})[:RESOLUTIONS]
    widest = {each: max(channels for _, resolution, channels in maps if resolution == each) for each in resolutions}
    return [
        (name, channels)
        for name, resolution, channels in maps
        if resolution in widest and channels >= NARROW * widest[resolution]
    ]
