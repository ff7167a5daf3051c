"""How are training images changed at random? (imports Keras: import this module late)"""

from typing import Any

import keras
from keras import layers, ops

from diascope.descent_settings import Augmentation

WHITE = 255.0
BENDS = 5  # places along each side that an elastic field is drawn at; between them it is interpolated
FLIPS = {(True, True): "horizontal_and_vertical", (True, False): "horizontal", (False, True): "vertical"}


def augmented(image: keras.KerasTensor, options: Augmentation, seed: int) -> keras.KerasTensor:
    """Continue a Keras graph from uint8 images to images of the same range that differ each time in training."""
    x = layers.Rescaling(1.0)(image)
    for layer in [*_of_places(options, seed), *_of_values(options, seed)]:
        x = layer(x)
    return x


def _of_places(options: Augmentation, seed: int) -> list[layers.Layer]:
    """Where things are."""
    made: list[layers.Layer] = []
    if mode := FLIPS.get((options.horizontal_flip, options.vertical_flip)):
        made.append(layers.RandomFlip(mode, seed=seed))
    if options.rotation_degrees:
        made.append(layers.RandomRotation(options.rotation_degrees / 360, fill_mode="constant", seed=seed + 1))
    if options.zoom:
        made.append(layers.RandomZoom(options.zoom, fill_mode="constant", seed=seed + 2))
    if options.shift:
        made.append(layers.RandomTranslation(options.shift, options.shift, fill_mode="constant", seed=seed + 3))
    if options.elastic:
        made.append(RandomBend(options.elastic, seed=seed + 5))
    return made


def _of_values(options: Augmentation, seed: int) -> list[layers.Layer]:
    """How bright things are."""
    made: list[layers.Layer] = []
    if options.contrast:
        made.append(layers.RandomContrast(options.contrast, value_range=(0, WHITE), seed=seed + 4))
    if options.brightness:
        made.append(layers.RandomBrightness(options.brightness, value_range=(0, WHITE), seed=seed + 6))
    if options.gamma:
        made.append(RandomGamma(options.gamma, seed=seed + 7))
    if options.noise:
        made.append(RandomNoise(options.noise, seed=seed + 8))
    return made


class _Random(layers.Layer):
    """A change by some amount, in training alone."""

    def __init__(self, amount: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.amount, self.seed = amount, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        return self.change(images) if training else images

    def change(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return changed images (n, side, side, 3)."""
        raise NotImplementedError

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "amount": self.amount, "seed": self.seed}


class RandomGamma(_Random):
    """Raises values to a power, one for each image, as likely below 1 as above."""

    def change(self, images: keras.KerasTensor) -> keras.KerasTensor:
        most = -ops.log(1.0 - self.amount)
        power = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), -most, most, seed=self.generator)
        return WHITE * ops.power(ops.clip(images / WHITE, 0.0, 1.0), ops.exp(power))


class RandomNoise(_Random):
    """Adds Gaussian noise, the same to all channels: most medical images are grey."""

    def change(self, images: keras.KerasTensor) -> keras.KerasTensor:
        shape = (*ops.shape(images)[:3], 1)
        noise = keras.random.normal(shape, stddev=WHITE * self.amount, seed=self.generator)
        return ops.clip(images + noise, 0.0, WHITE)


class RandomBend(_Random):
    """Moves places by a field that varies slowly (Simard, Steinkraus and Platt, ICDAR 2003); beyond the edge is black.

    Keras's RandomElasticTransform draws one strength for a whole batch and moves every pixel by itself where that is
    small.
    """

    def change(self, images: keras.KerasTensor) -> keras.KerasTensor:
        n, side = ops.shape(images)[0], images.shape[1]
        coarse = keras.random.uniform((n, BENDS, BENDS, 2), -1.0, 1.0, seed=self.generator)
        field = ops.image.resize(coarse, (side, side), interpolation="bicubic") * (self.amount * side)
        places = ops.arange(side, dtype="float32")
        return _sampled(images, places[None, :, None] + field[..., 0], places[None, None, :] + field[..., 1])


def _sampled(images: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """Return images (n, side, side, 3) at places between pixels (n, side, side), by bilinear interpolation."""
    side = images.shape[1]
    flat = ops.reshape(images, (-1, side * side, images.shape[3]))
    top, left = ops.floor(rows), ops.floor(columns)
    total = ops.zeros_like(images)
    for down in (0.0, 1.0):
        for right in (0.0, 1.0):
            row, column = top + down, left + right
            weight = (1 - ops.abs(rows - row)) * (1 - ops.abs(columns - column))
            inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
            place = ops.clip(row, 0, side - 1) * side + ops.clip(column, 0, side - 1)
            place = ops.reshape(ops.cast(place, "int32"), (-1, side * side, 1))
            value = ops.reshape(ops.take_along_axis(flat, place, axis=1), ops.shape(images))
            total = total + value * ops.cast(ops.where(inside, weight, 0.0), value.dtype)[..., None]
    return total
