"""In which precision is a network trained? (imports Keras: import this module late)"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

CPU_INFO = Path("/proc/cpuinfo")
LARGE = 5_000_000  # parameters; below, casting costs more than bf16 gains
BF16 = {"amx_bf16", "avx512_bf16"}  # instructions that multiply it; without them it is emulated, and many times slower
POLICIES = {"none": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def policy(asked: str, network: keras.Model) -> str:
    """Return the Keras dtype policy for `auto`, `none`, `bfloat16` or `float16`.

    `auto` looks at the hardware and the network and times nothing: a fit that goes on after an interrupt must come to
    the same. See docs/fine_tuning.md for what it was measured on.
    """
    return POLICIES[_automatic(network) if asked == "auto" else asked]


@contextmanager
def computed_in(network: keras.Model, policy: str) -> Iterator[None]:
    """Let every layer of a network compute in a policy; afterwards, as it did before.

    Weights stay in float32 (Micikevicius et al., Mixed Precision Training, ICLR 2018).
    """
    layers = _layers(network)
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.dtype_policy = own


def cpu_flags() -> frozenset[str]:
    """Return what the CPU has, as Linux names it; nothing where that cannot be asked."""
    if not CPU_INFO.is_file():
        return frozenset()
    lines = (line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())


def _automatic(network: keras.Model) -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = min(_capability(gpu) for gpu in gpus)
        if capability >= (8, 0):
            return "bfloat16"
        # A loss scale would have to be agreed on between devices, which Keras's optimizer does not do.
        return "float16" if capability >= (7, 0) and len(gpus) == 1 else "none"
    gains = network.count_params() >= LARGE and not any(map(_is_depthwise, _layers(network)))
    return "bfloat16" if gains and BF16 & cpu_flags() else "none"


def _capability(gpu: object) -> tuple[int, int]:
    found: tuple[int, int] = tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
    return found


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    """Whether a channel meets few others: such convolutions wait for memory, and casting is more of that."""
    kinds = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return isinstance(layer, kinds) or getattr(layer, "groups", 1) > 1


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    """Every layer, those inside others too: KerasHub's blocks hold their convolutions."""
    found: list[keras.layers.Layer] = network._flatten_layers(include_self=False)
    return found
