"""Which networks, with which input size and convention?"""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diascope.backbones import BACKBONES, COMPACT_CNN, input_convention, load_backbone
from diascope.errors import InputError

NETWORKS = sorted(set(BACKBONES) - {COMPACT_CNN})
LIGHT = ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "DenseNet121", "NASNetMobile"]
SMALLEST_FILE = "mobilenet_2_5_224_tf_no_top.h5"  # of MobileNet with alpha 0.25
REAL_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


def build(name: str = "MobileNet", weights: str = "none", alpha: float | None = 0.25, seed: int = 1) -> Any:
    return load_backbone(name, weights, alpha if BACKBONES[name].has_alpha else None, 0, seed)


def pixels(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)


def same_weights(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_the_table_holds_what_keras_has() -> None:
    from keras import applications

    offered = {name for name in dir(applications) if inspect.isfunction(getattr(applications, name))}
    assert set(NETWORKS) == offered


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_knows_the_module(name: str) -> None:
    from keras import applications

    assert getattr(applications, name).__module__.endswith(f".applications.{BACKBONES[name].module}")


@pytest.mark.parametrize("name", [name for name in NETWORKS if "V3" not in name or name == "InceptionV3"])
def test_the_table_knows_the_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras import applications
    from keras.src.applications import imagenet_utils

    class Asked(Exception):
        pass

    def asked(*_: Any, default_size: int, **__: Any) -> None:
        raise Asked(default_size)

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", asked)
    options = {"alpha": 0.5} if BACKBONES[name].has_alpha else {}
    with pytest.raises(Asked) as size:
        getattr(applications, name)(weights=None, include_top=False, **options)
    assert size.value.args == (BACKBONES[name].size,)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2"])
def test_the_table_knows_the_widths_that_have_weights(name: str) -> None:
    """Keras refuses others in a message that names them all."""
    from keras import applications

    with pytest.raises(ValueError, match="alpha") as refused:
        getattr(applications, name)(weights="imagenet", include_top=False, alpha=0.3, input_shape=(224, 224, 3))
    widths = re.findall(r"`(\d\.\d+)`", str(refused.value))
    assert tuple(map(float, widths)) == BACKBONES[name].alphas


@pytest.mark.parametrize("name", NETWORKS)
def test_the_input_convention_is_that_of_the_architecture(name: str) -> None:
    from keras import applications

    images = np.random.default_rng(3).integers(0, 256, (2, 5, 4, 3)).astype(np.float32)
    matrix, offset = input_convention(name)
    expected = getattr(applications, BACKBONES[name].module).preprocess_input(images.copy())
    np.testing.assert_allclose(images @ matrix + offset, expected, rtol=1e-4, atol=1e-4)


def test_the_compact_network_sees_minus_one_to_one() -> None:
    matrix, offset = input_convention(COMPACT_CNN)
    seen = np.array([[0, 127.5, 255.0]]) @ matrix + offset
    np.testing.assert_allclose(seen, [[-1, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("name", LIGHT)
def test_any_size_goes_in_and_the_network_stays_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras import applications

    original = []
    function = getattr(applications, name)

    def small(**options: Any) -> Any:
        original.append(function(**{**options, "input_shape": (64, 64, 3)}))
        return original[0]

    monkeypatch.setattr(applications, name, small)
    network = build(name)
    expected = original[0](pixels(64), training=False).numpy()
    np.testing.assert_allclose(
        network(pixels(64), training=False).numpy(), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )
    assert network.compute_output_shape((1, 160, 96, 3))[1:3] == (5, 3)


def test_the_seed_decides_random_weights() -> None:
    one = build(COMPACT_CNN, seed=1)
    assert same_weights(one, build(COMPACT_CNN, seed=1))
    assert not same_weights(one, build(COMPACT_CNN, seed=2))


def test_names_of_layers_do_not_depend_on_what_was_built_before() -> None:
    names = [layer.name for layer in build(COMPACT_CNN).layers]
    assert "max_pooling2d_3" in names
    assert [layer.name for layer in build(COMPACT_CNN).layers] == names


def test_alpha_makes_a_narrower_network() -> None:
    assert [build(alpha=alpha).output.shape[-1] for alpha in (0.25, 0.5)] == [256, 512]


def test_the_compact_network_halves_four_times_and_may_drop_out() -> None:
    assert build(COMPACT_CNN).compute_output_shape((1, 96, 64, 3)) == (1, 6, 4, 96)
    dropping = load_backbone(COMPACT_CNN, "none", None, 0.5, seed=1)
    image = pixels(64)
    assert not np.allclose(dropping(image, training=True), dropping(image, training=False))


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with a file that looks like Keras' own, of random weights, and the network that has them."""
    import h5py
    from keras import applications
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
    from keras.utils import set_random_seed

    folder = tmp_path_factory.mktemp("weights")
    set_random_seed(77)
    network = applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=(224, 224, 3))
    network.save_weights(folder / "random.weights.h5")
    with h5py.File(folder / SMALLEST_FILE, "w") as file:
        save_weights_to_hdf5_group(file, network)
    return folder, network


def refuse_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.utils import file_utils

    def fail(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure: no route to host")  # what Keras raises

    monkeypatch.setattr(file_utils, "get_file", fail)


def test_the_weights_folder_is_looked_at_before_anything_else(
    weights_folder: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, network = weights_folder
    refuse_to_download(monkeypatch)
    monkeypatch.setenv("DIASCOPE_WEIGHTS_DIR", str(folder))
    assert same_weights(build(weights="imagenet"), network)
    assert not same_weights(build(), network)


@pytest.mark.parametrize("name", [SMALLEST_FILE, "random.weights.h5"])
def test_weights_may_be_a_file(name: str, weights_folder: tuple[Path, Any]) -> None:
    folder, network = weights_folder
    assert same_weights(build(weights=str(folder / name)), network)


@pytest.mark.parametrize("folder", ["empty", None])
def test_weights_that_cannot_be_had_are_named(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.utils import file_utils

    refuse_to_download(monkeypatch)
    download = file_utils.get_file
    monkeypatch.delenv("DIASCOPE_WEIGHTS_DIR", raising=False)
    if folder:
        monkeypatch.setenv("DIASCOPE_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(InputError) as error:
        build(weights="imagenet")
    message = str(error.value)
    assert SMALLEST_FILE in message
    assert "DIASCOPE_WEIGHTS_DIR" in message
    assert "no route to host" in message
    assert "\n" not in message
    assert file_utils.get_file is download


def test_a_file_with_the_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_download(monkeypatch)
    monkeypatch.setenv("DIASCOPE_WEIGHTS_DIR", str(tmp_path))
    changed = tmp_path / "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    changed.write_bytes(b"half a download")
    with pytest.raises(InputError, match="hash") as error:
        build("MobileNetV3Small", weights="imagenet")
    assert str(changed) in str(error.value)


@pytest.mark.parametrize("name", ["missing.h5", "text.h5", "text.weights.h5", "text.keras", "text.bin"])
def test_a_file_that_holds_no_weights_is_named(name: str, tmp_path: Path) -> None:
    if name != "missing.h5":
        (tmp_path / name).write_text("these are no weights")
    with pytest.raises(InputError) as error:
        build(weights=str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("name", [SMALLEST_FILE, "random.weights.h5"])
def test_weights_of_another_network_are_refused(name: str, weights_folder: tuple[Path, Any]) -> None:
    with pytest.raises(InputError, match=name):
        build(weights=str(weights_folder[0] / name), alpha=0.5)
    with pytest.raises(InputError, match=name):
        build("MobileNetV2", weights=str(weights_folder[0] / name), alpha=0.35)


@pytest.mark.skipif(
    not (Path(os.environ.get("DIASCOPE_WEIGHTS_DIR", "")) / REAL_FILE).is_file(),
    reason="DIASCOPE_WEIGHTS_DIR names no folder with the MobileNetV2 weights of Keras",
)
def test_real_weights_see_what_keras_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras import applications

    refuse_to_download(monkeypatch)
    path = Path(os.environ["DIASCOPE_WEIGHTS_DIR"]) / REAL_FILE
    own = applications.MobileNetV2(alpha=0.35, weights=str(path), include_top=False, input_shape=(224, 224, 3))
    found = build("MobileNetV2", weights="imagenet", alpha=0.35)
    image = pixels(224)
    expected = own(image, training=False).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(found(image, training=False).numpy(), expected, atol=1e-4)
