"""What may an experiment say of training by gradient descent?"""

from typing import Annotated, Literal

from pydantic import Field

from diascope.schema import Section

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Share = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1, le=16_384)]
View = Literal["horizontal_flip", "vertical_flip", "rotation_90", "rotation_180", "rotation_270"]


class Augmentation(Section):
    """Random changes to training images; all off by default because flips can change the meaning of an image."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_degrees: float = Field(default=0, ge=0, le=180)
    zoom: Share = 0
    shift: Share = 0  # share of the image's side
    elastic: Share = 0  # share of the image's side that a place moves by, in a field that varies slowly
    contrast: Share = 0
    brightness: Share = 0  # share of the range of pixel values
    gamma: Share = 0  # exponents from 1 - gamma to 1 / (1 - gamma)
    noise: Share = 0  # standard deviation, share of the range of pixel values


class Original(Section):
    """Training from pixels exactly as a tutorial does it; other keys of training have no say in it."""

    pixels: Literal["unit", "network"] = "unit"  # RGB / 255, or the backbone's own convention
    pooling: Literal["flatten", "avg", "max"] = "flatten"
    dense: list[Units] = Field(default=[])  # units of hidden layers before the last one
    dropout: Share = 0  # after every hidden layer; without one, after the pooling
    trained_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0  # of the backbone's top
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    augmentation: Augmentation = Augmentation()
