"""Which networks does KerasHub offer, and do they become networks like the others?"""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from diascope import hub
from diascope.backbones import find_backbone, input_convention, load_backbone
from diascope.config import CandidateConfig
from diascope.errors import InputError
from diascope.features import Backbone, FeatureSpec, build_network, write_backbone
from diascope.hub_architectures import TIMM, architecture

pytest.importorskip("keras_hub", reason="needs the extra `hub`")
RESNET = "resnet_18_imagenet"
SCALE, OFFSET = [0.02, 0.017, 0.018], [-2.0, -1.9, -1.8]
ROOT = Path(__file__).resolve().parent.parent


def candidate(backbone: str = f"hub:{RESNET}", **options: object) -> CandidateConfig:
    return CandidateConfig.model_validate({"name": "some", "backbone": backbone, "image_sizes": [64], **options})


def resnet(seed: int = 7, **options: object) -> Any:
    """A ResNet18 of KerasHub, as narrow as its class lets it be and half as deep."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(seed)
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 8, 8, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset as KerasHub writes it, with an image converter of its own."""
    import keras_hub

    root = tmp_path_factory.mktemp("presets") / "small_resnet"
    resnet().save_to_preset(root)
    keras_hub.layers.ResNetImageConverter(image_size=(96, 96), scale=SCALE, offset=OFFSET).save_to_preset(root)
    return root


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import requests

    def refuse(*_: Any, **__: Any) -> None:
        raise requests.exceptions.ConnectionError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(requests.Session, "request", refuse)
    monkeypatch.setattr(requests.Session, "send", refuse)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.delenv("DIASCOPE_WEIGHTS_DIR", raising=False)


def image(size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (size, size, 3)).astype(np.uint8)


def expected(size: int) -> np.ndarray:
    """What KerasHub's own classes make of an image: converted, and through the backbone."""
    import keras_hub

    converter = keras_hub.layers.ResNetImageConverter(scale=SCALE, offset=OFFSET)
    return np.asarray(resnet()(converter(image(size)[None].astype(np.float32)), training=False))


def pooled(backbone: str, weights: str = "imagenet", size: int = 64) -> np.ndarray:
    spec = FeatureSpec.of(candidate(backbone, weights=weights, image_sizes=[size], feature_norm="none"))
    network, _ = build_network(spec, seed=1)
    return np.asarray(network(image(size)[None], training=False)[0])


# What there is


def test_a_configuration_is_checked_without_keras_hub_or_keras() -> None:
    code = (
        "from diascope.config import CandidateConfig as C\nfrom diascope.features import FeatureSpec as F\nimport sys\n"
        f"print(F.of(C(name='a', backbone='hub:{RESNET}')).image_sizes)\n"
        "print('keras_hub' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["[224]", "False", "False"]


def test_presets_are_those_that_keras_hub_registers() -> None:
    from keras_hub.src.utils.preset_utils import BUILTIN_PRESETS

    known = hub.presets()
    assert {RESNET, "vgg_11_imagenet", "efficientnet_b0_ra_imagenet", "vit_base_patch16_384_imagenet"} <= set(known)
    assert set(known) <= set(BUILTIN_PRESETS)
    assert set(TIMM) <= set(known)
    assert known[RESNET].parameters == 11_186_112


@pytest.mark.parametrize(
    ("preset", "size"),
    [
        (RESNET, 224),
        ("densenet_201_imagenet", 224),
        ("resnet_vd_200_imagenet", 224),
        ("csp_darknet_53_ra_imagenet", 256),
        ("vit_base_patch16_384_imagenet", 384),
        ("efficientnet_b1_ra4_e3600_r240_imagenet", 240),
        ("mit_b0_ade20k_512", 512),
        ("dinov2_small", 224),
    ],
)
def test_the_size_is_the_presets(preset: str, size: int) -> None:
    assert find_backbone(f"hub:{preset}").size == size


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        (
            "hub:resnet18_imagenet",
            "KerasHub has no preset 'resnet18_imagenet' for images; the nearest is 'resnet_18_im",
        ),
        ("resnet_18_imagenet", "there is no backbone 'resnet_18_imagenet'; the nearest is 'hub:resnet_18_imagenet'"),
        ("hub:bert_base_en", "no preset 'bert_base_en' for images"),
        ("hub:swin_tiny_patch4_window7_224", "cannot be used here"),
        ("hub:", "no preset '' for images"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_nearest(backbone: str, words: str) -> None:
    with pytest.raises(ValueError, match="backbone\n") as refused:
        candidate(backbone)
    assert words in str(refused.value)


def test_without_the_extra_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=f"hub:{RESNET} needs KerasHub: install the extra `hub`"):
        candidate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0.5}, "alpha is for MobileNet and MobileNetV2"),
        ({"backbone": "hub:vit_base_patch16_384_imagenet", "image_sizes": [224]}, "takes images of 384 px alone"),
        ({"backbone": "hub:dinov2_small", "image_sizes": [224, 448]}, "built for one image size"),
    ],
)
def test_what_a_preset_cannot_do_is_refused_early(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        candidate(**options)


# Where it is


def test_a_folder_gives_network_weights_size_and_convention(folder: Path) -> None:
    assert find_backbone(f"hub:{folder}").size == 96
    matrix, offset = input_convention(f"hub:{folder}")
    np.testing.assert_allclose(matrix, np.diag(SCALE), atol=1e-6)
    np.testing.assert_allclose(offset, OFFSET, atol=1e-6)
    network = load_backbone(f"hub:{folder}", "imagenet", None, 0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), resnet().get_weights(), strict=True))
    assert network.compute_output_shape((1, 160, 96, 3)) == (1, 5, 3, 16)
    np.testing.assert_allclose(pooled(f"hub:{folder}"), expected(64).mean(axis=(1, 2)), atol=1e-5)


def test_weights_may_be_random_or_a_file_of_ones_own(folder: Path, tmp_path: Path) -> None:
    other = resnet(seed=8)
    other.save_weights(tmp_path / "other.weights.h5")
    of_file = load_backbone(f"hub:{folder}", str(tmp_path / "other.weights.h5"), None, 0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(of_file.get_weights(), other.get_weights(), strict=True))
    drawn = [load_backbone(f"hub:{folder}", "none", None, 0, seed).get_weights()[0] for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], resnet().get_weights()[0])


def test_a_preset_built_for_one_size_takes_any_as_its_layers_can(folder: Path, tmp_path: Path) -> None:
    import shutil

    fixed = tmp_path / "fixed"
    resnet(image_shape=(96, 96, 3)).save_to_preset(fixed)
    shutil.copy(folder / hub.CONVERTER_FILE, fixed)
    np.testing.assert_allclose(pooled(f"hub:{fixed}"), expected(64).mean(axis=(1, 2)), atol=1e-5)


def test_presets_are_looked_for_in_the_weights_folder(
    folder: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / RESNET).symlink_to(folder)
    monkeypatch.setenv("DIASCOPE_WEIGHTS_DIR", str(tmp_path))
    np.testing.assert_allclose(pooled(f"hub:{RESNET}"), expected(64).mean(axis=(1, 2)), atol=1e-5)


def test_presets_are_looked_for_where_kaggle_puts_them(
    folder: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As kagglehub leaves a download: the files, and a mark for each that is whole."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    handle = known_handle()
    place = tmp_path / "models" / handle
    place.parent.mkdir(parents=True)
    place.symlink_to(folder)
    marks = place.parent / ".complete" / place.name
    marks.mkdir(parents=True)
    for file in folder.iterdir():
        (marks / f"{file.name}.complete").touch()
    np.testing.assert_allclose(pooled(f"hub:{RESNET}"), expected(64).mean(axis=(1, 2)), atol=1e-5)


def known_handle() -> str:
    from keras_hub.src.utils.preset_utils import BUILTIN_PRESETS

    handle: str = BUILTIN_PRESETS[RESNET]["kaggle_handle"]
    return handle.removeprefix("kaggle://")


@pytest.fixture
def kaggle(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Kaggle's server, as far as a download of a model's files needs it; gives what it was asked for."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(said["path"])
            assert f"{said['ownerSlug']}/{said['modelSlug']}/keras/{said['instanceSlug']}" in known_handle()
            path = folder / said["path"]
            data = path.read_bytes() if path.is_file() else b'{"code": 404, "message": "Not found"}'
            self.send_response(200 if path.is_file() else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    from kagglesdk import kaggle_env

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, place)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.delenv("DIASCOPE_WEIGHTS_DIR", raising=False)
    yield asked
    server.shutdown()
    server.server_close()


def test_presets_are_downloaded_once(kaggle: list[str]) -> None:
    np.testing.assert_allclose(pooled(f"hub:{RESNET}"), expected(64).mean(axis=(1, 2)), atol=1e-5)
    assert set(kaggle) >= {"config.json", "image_converter.json", "model.weights.h5"}
    first = len(kaggle)
    pooled(f"hub:{RESNET}")
    assert len(kaggle) == first


def test_without_a_network_one_sentence_says_what_to_put_where(no_network: None) -> None:
    with pytest.raises(InputError) as missing:
        load_backbone(f"hub:{RESNET}", "imagenet", None, 0, 1)
    message = str(missing.value)
    assert f"The preset {RESNET} is not here and cannot be downloaded" in message
    assert "DIASCOPE_WEIGHTS_DIR" in message
    assert "model.weights.h5" in message
    assert "\n" not in message


def test_random_weights_need_no_network(no_network: None) -> None:
    network = load_backbone(f"hub:{RESNET}", "none", None, 0, 1)
    assert network.count_params() == hub.presets()[RESNET].parameters
    matrix, offset = input_convention(f"hub:{RESNET}", "none")
    seen = np.array([[255 * 0.485, 255 * 0.456, 255 * 0.406]]) @ matrix + offset
    np.testing.assert_allclose(seen, 0, atol=1e-4)


@pytest.mark.parametrize(
    "broken",
    ["nothing", "no converter", "another converter", "no weights", "half a configuration", "half the weights"],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(broken: str, folder: Path, tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "preset"
    shutil.copytree(folder, place)
    if broken == "nothing":
        shutil.rmtree(place)
    elif broken == "another converter":
        (place / "image_converter.json").write_text('{"config": []}')
    elif broken in ("no converter", "no weights"):
        (place / ("image_converter.json" if "converter" in broken else "model.weights.h5")).unlink()
    else:
        half = place / ("config.json" if "configuration" in broken else "model.weights.h5")
        half.write_bytes(half.read_bytes()[:200])
    with pytest.raises(InputError) as error:
        pooled(f"hub:{place}")
    assert str(place) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_said_before_anything_runs(tmp_path: Path) -> None:
    from diascope.config import Experiment
    from diascope.preflight import check_inputs, local_inputs

    def experiment(backbone: str) -> Experiment:
        some = [{"name": "a", "backbone": backbone}]
        said = {"dataset": {"source": "demo"}, "candidates": some, "promotion": {"model": "m"}}
        return Experiment.model_validate(said)

    missing = experiment(f"hub:{tmp_path}/nothing")
    with pytest.raises(InputError, match=r"candidates\.0\.backbone: there is no preset of KerasHub in"):
        check_inputs(missing)
    assert local_inputs(missing) == {"candidates.0.backbone": f"{tmp_path}/nothing"}
    check_inputs(experiment(f"hub:{RESNET}"))
    check_inputs(experiment("hub:s3://bucket/preset"))
    assert local_inputs(experiment("hub:s3://bucket/preset")) == {}


def test_a_folder_goes_to_s3_and_comes_back(folder: Path, in_aws: None, tmp_path: Path, monkeypatch: Any) -> None:
    from diascope import aws
    from diascope.uploads import upload
    from stacks.ready import _with_address

    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path))
    client = aws.client(aws.session(), "s3")
    client.create_bucket(Bucket="presets")
    address = upload(folder, "s3://presets/uploads", client)
    there = _with_address(candidate(f"hub:{folder}", image_sizes=[]), {str(folder): address})
    assert there.backbone == f"hub:{address}"
    assert there.image_sizes == [96]
    assert FeatureSpec.of(there).files == [address]
    network = load_backbone(there.backbone, "imagenet", None, 0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), resnet().get_weights(), strict=True))


def test_a_changed_folder_is_noticed(folder: Path) -> None:
    from diascope.sources import fingerprint

    spec = FeatureSpec.of(candidate(f"hub:{folder}"))
    assert spec.files == [str(folder)]
    before = fingerprint(spec.files[0])
    (folder / "note.txt").write_text("another file")
    assert fingerprint(spec.files[0]) != before
    (folder / "note.txt").unlink()


# What becomes of it


@pytest.fixture(scope="module")
def backbone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    spec = FeatureSpec.of(
        candidate(f"hub:{folder}", image_sizes=[96, 64], layers=["stack1_block0_out", "last"], pooling=["avg", "max"])
    )
    return write_backbone(spec, tmp_path_factory.mktemp("backbone"), seed=3)


def test_the_engine_sees_what_keras_sees_in_every_layer_and_size(backbone: Backbone) -> None:
    assert [(block.size, block.layer, block.stop - block.start) for block in backbone.info.blocks[::2]] == [
        (96, "stack1_block0_out", 8),
        (96, "last", 16),
        (64, "stack1_block0_out", 8),
        (64, "last", 16),
    ]
    seen = backbone.engine().infer(image(96))["features"]
    by_keras = np.asarray(backbone.network()(image(96)[None], training=False)[0])[0]
    np.testing.assert_allclose(seen, by_keras, atol=1e-5)


def test_an_unknown_layer_is_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match="the nearest is 'stack1_block0_out'"):
        build_network(FeatureSpec.of(candidate(f"hub:{folder}", layers=["stack1_block0_uot"])), seed=1)


def test_a_transformers_tokens_become_a_map(no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import diascope.hub_network

    def short(name: str, side: int) -> dict[str, Any]:
        known = architecture(name, side)
        known["config"] |= {"num_layers": 1, "hidden_dim": 12, "intermediate_dim": 24}
        return known

    monkeypatch.setattr(diascope.hub_network, "architecture", short)
    deit = candidate("hub:deit_tiny_distilled_patch16_224_imagenet", weights="none", image_sizes=[224])
    made = write_backbone(FeatureSpec.of(deit), tmp_path, seed=3)
    features, feature_map = (np.asarray(each) for each in made.network()(image(224)[None], training=False))
    assert feature_map.shape == (1, 14, 14, 12)
    np.testing.assert_allclose(made.engine().infer(image(224))["features"], features[0], atol=1e-5)


def test_fine_tuning_changes_the_top_and_no_batch_norm(folder: Path) -> None:
    from diascope.gradient import freeze_below

    network = load_backbone(f"hub:{folder}", "imagenet", None, 0, 1)
    freeze_below(network, 6)
    trained = {weight.path.split("/")[0] for weight in network.trainable_weights}
    assert trained == {"stack3_block0_0_conv", "stack3_block0_2_conv"}


def test_batch_norm_inside_other_layers_stays_frozen_too(no_network: None) -> None:
    from keras.layers import BatchNormalization

    from diascope.gradient import freeze_below

    network = load_backbone("hub:mobilenet_v3_small_050_imagenet", "none", None, 0, 1)
    freeze_below(network, 3)
    inner = [each for layer in network.layers[-3:] for each in layer._flatten_layers()]
    frozen = [each.trainable for each in inner if isinstance(each, BatchNormalization)]
    assert frozen
    assert not any(frozen)
    assert network.trainable_weights


@pytest.mark.parametrize("preset", ["resnet_vd_34_imagenet", "vgg_13_imagenet"])
def test_architectures_have_as_many_parameters_as_keras_hub_says(preset: str, no_network: None) -> None:
    head = 512 * 1000 + 1000 if "vd_34" in preset else 0  # which some of its figures count
    network = load_backbone(f"hub:{preset}", "none", None, 0, 1)
    assert network.count_params() + head == hub.presets()[preset].parameters
