"""In which precision is a network trained?"""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from tiny import compact, spec, stripes

from diascope.features import build_network
from diascope.gradient import fit_network, predict_logits
from diascope.precision import computed_in, cpu_flags, policy
from diascope.rows import Rows


class Block(keras.layers.Layer):
    """A layer that holds another one, as KerasHub's do."""

    def __init__(self, inner: keras.layers.Layer) -> None:
        super().__init__()
        self.inner = inner

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        return self.inner(image)


def network(width: int = 800, groups: int = 1, depthwise: bool = False, inside: bool = False) -> keras.Model:
    """Of 5.8 million parameters where nothing is said."""
    image = keras.Input((8, 8, width))
    layer = keras.layers.DepthwiseConv2D(3) if depthwise else keras.layers.Conv2D(width, 3, groups=groups)
    layer = Block(layer) if inside else layer
    return keras.Model(image, layer(keras.layers.Conv2D(width, 3)(image)))


@pytest.mark.parametrize(
    ("flags", "gpus", "made", "expected"),
    [
        ("avx2 amx_bf16", [], {}, "mixed_bfloat16"),
        ("avx2 avx512_bf16", [], {}, "mixed_bfloat16"),
        ("avx2 avx512f", [], {}, "float32"),
        ("avx2 amx_bf16", [], {"width": 32}, "float32"),
        ("avx2 amx_bf16", [], {"depthwise": True}, "float32"),
        ("avx2 amx_bf16", [], {"depthwise": True, "inside": True}, "float32"),
        ("avx2 amx_bf16", [], {"groups": 8}, "float32"),
        ("avx2", [(9, 0)], {"width": 32}, "mixed_bfloat16"),
        ("avx2", [(8, 0), (8, 6)], {"width": 32}, "mixed_bfloat16"),
        ("avx2", [(7, 5)], {"width": 32}, "mixed_float16"),
        ("avx2", [(7, 5), (7, 5)], {"width": 32}, "float32"),
        ("avx2 amx_bf16", [(6, 1)], {}, "float32"),
    ],
)
def test_auto_knows_what_the_hardware_gains_from(
    monkeypatch: pytest.MonkeyPatch, flags: str, gpus: list[tuple[int, int]], made: dict, expected: str
) -> None:
    monkeypatch.setattr("diascope.precision.cpu_flags", lambda: frozenset(flags.split()))
    config = SimpleNamespace(
        list_physical_devices=lambda kind: gpus if kind == "GPU" else [],
        experimental=SimpleNamespace(get_device_details=lambda gpu: {"compute_capability": gpu}),
    )
    monkeypatch.setattr("diascope.precision.tf", SimpleNamespace(config=config))
    made = {"width": 1200, **made} if {"depthwise", "groups"} & set(made) else made
    assert policy("auto", network(**made)) == expected


@pytest.mark.parametrize(("asked", "expected"), [("none", "float32"), ("float16", "mixed_float16")])
def test_what_is_said_is_done(asked: str, expected: str) -> None:
    assert policy(asked, network(8)) == expected


def test_the_flags_are_those_of_the_first_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diascope.precision.CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_flags() == frozenset()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert cpu_flags() == {"fpu", "amx_bf16"}


@pytest.mark.parametrize("inside", [False, True])
def test_layers_compute_in_a_policy_for_a_while(inside: bool) -> None:
    found, image = network(8, inside=inside), np.ones((1, 8, 8, 8), np.float32)
    with computed_in(found, "mixed_bfloat16"):
        assert {layer.compute_dtype for layer in found._flatten_layers(include_self=False)} == {"bfloat16"}
        assert found(image).dtype == "bfloat16"
        assert {weight.dtype for weight in found.weights} == {"float32"}
    assert found(image).dtype == "float32"


@pytest.mark.parametrize("asked", ["bfloat16", "float16"])
def test_less_precision_learns_nearly_the_same_and_leaves_whole_numbers(asked: str) -> None:
    pixels = np.stack([stripes(i % 2, i, 32, 32)[..., None].repeat(3, axis=2) for i in range(24)])
    labels, found = np.arange(24) % 2, {}
    for precision in ("none", asked):
        config = compact(mixed_precision=precision, batch_size=8, epochs=3, learning_rate=3e-3, early_stopping=0)
        net, _ = build_network(spec(image_sizes=[32]), seed=3)
        model, state = fit_network(net, pixels, labels, 2, Rows(np.arange(24)), config, seed=3)
        found[precision] = [point.loss for point in state.curve], predict_logits(model, pixels, np.arange(24))
        assert {weight.dtype for weight in model.weights} == {"float32"}
        assert all(layer.dtype_policy.name == "float32" for layer in net.get_layer("backbone").layers)
    assert found[asked][0] != found["none"][0]
    np.testing.assert_allclose(found[asked][0], found["none"][0], atol=0.01)
    np.testing.assert_allclose(found[asked][1], found["none"][1], atol=0.3)
