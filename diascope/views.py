"""Which further views of an image are predicted, and how does a map of one lie on the image?"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

# Whether rows and columns change places first, and along which of the two the result is then turned over.
TURNS: dict[str, tuple[bool, bool, bool]] = {
    "horizontal_flip": (False, False, True),
    "vertical_flip": (False, True, False),
    "rotation_90": (True, True, False),
    "rotation_180": (False, True, True),
    "rotation_270": (True, False, True),
}


def viewed(images: np.ndarray, view: str) -> np.ndarray:
    """Return a view of square images (n, side, side, channels)."""
    swap, rows, columns = TURNS[view]
    turned = np.swapaxes(images, 1, 2) if swap else images
    return turned[:, :: -1 if rows else 1, :: -1 if columns else 1]


def attach_view(images: "keras.KerasTensor", view: str) -> "keras.KerasTensor":
    """Continue a Keras graph from square images (n, side, side, channels) to a view of them."""
    from keras import ops

    swap, rows, columns = TURNS[view]
    return _turned_over(ops.swapaxes(images, 1, 2) if swap else images, rows, columns)


def attach_return(maps: "keras.KerasTensor", view: str) -> "keras.KerasTensor":
    """Continue a Keras graph from maps of a view (n, height, width, channels) to maps of the image as it is."""
    from keras import ops

    swap, rows, columns = TURNS[view]
    back = _turned_over(maps, rows, columns)
    return ops.swapaxes(back, 1, 2) if swap else back


def _turned_over(images: "keras.KerasTensor", rows: bool, columns: bool) -> "keras.KerasTensor":
    from keras import ops

    axes = [axis for axis, over in ((1, rows), (2, columns)) if over]
    return ops.flip(images, axis=axes) if axes else images
