"""The one prediction path."""

import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import CLASSES, PLAIN, backbone, classifier, classifier_info, png, random_head, stripes

from diascope import images
from diascope.calibration import softmax
from diascope.classifier import SCHEMA_VERSION, Classifier
from diascope.engine import BURST, cpu_count
from diascope.errors import InputError
from diascope.metrics import OperatingPoint

TEMPERATURE = 2.5


@pytest.fixture(scope="module")
def stored() -> Classifier:
    return classifier(TEMPERATURE)


@pytest.fixture
def copy(stored: Classifier, tmp_path: Path) -> Path:
    """The same classifier in a folder that a test may change."""
    return Path(shutil.copytree(stored.root, tmp_path / "classifier"))


def encoded(n: int) -> list[bytes]:
    return [png(stripes(i % 2, i, height=30 + i, width=70 - i)) for i in range(n)]


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_probabilities_are_those_of_the_head_on_the_features_divided_by_the_temperature(stored: Classifier) -> None:
    pictures = encoded(20)
    pixels = [images.resize(images.decode(data), 64) for data in pictures]
    features = np.stack([answer["features"] for answer in backbone(PLAIN).engine().stream(pixels)])
    logits = random_head(96, 2).logits(features)
    expected = softmax(logits / TEMPERATURE)
    found = stored.predict(pictures)
    assert expected[:, 0].std() > 0.01
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    assert found.class_names == CLASSES
    assert found.labels == [CLASSES[i] for i in expected.argmax(axis=1)]


def test_probabilities_are_those_of_the_stored_keras_model(stored: Classifier) -> None:
    import keras

    pictures = encoded(6)
    model = keras.saving.load_model(stored.root / "model.keras")
    probabilities, activation = model(np.stack([stored.pixels(data) for data in pictures]), training=False)
    answers = list(stored.stream(pictures))
    np.testing.assert_allclose(stored.predict(pictures).probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose([answer["activation_map"] for answer in answers], activation, atol=1e-4)


def test_an_image_has_one_answer_however_it_is_given(stored: Classifier, tmp_path: Path) -> None:
    picture = Image.fromarray(stripes(1, 3)).convert("RGB")
    data = saved(picture, "PNG")
    path = tmp_path / "picture.anything"
    path.write_bytes(data)
    grey = np.asarray(picture)[:, :, 0]
    given = [path, data, picture, np.asarray(picture), grey, Image.fromarray(grey)]
    probabilities = stored.predict(given).probabilities
    assert (probabilities == probabilities[0]).all()


def unusual() -> dict[str, bytes]:
    """Files that Pillow itself would turn into other RGB pixels than the decoder does."""
    grey = stripes(0, 4)
    clear = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(255 - stripes(1, 5))])
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "transparent": saved(clear.convert("RGBA"), "PNG"),
        "grey and alpha": saved(clear, "PNG"),
        "16 bit": saved(Image.fromarray(grey.astype(np.uint16) * 9 + 3000), "PNG"),
        "32 bit": saved(Image.fromarray(grey.astype(np.int32) * 70_000 - 10**6), "TIFF"),
        "floating point": saved(Image.fromarray(grey.astype(np.float32) / 1000), "TIFF"),
        "palette": saved(Image.fromarray(grey).quantize(9), "PNG", transparency=2),
        "black and white": saved(Image.fromarray(grey).convert("1"), "PNG"),
        "print colours": saved(Image.fromarray(grey).convert("RGB").convert("CMYK"), "TIFF"),
        "turned": saved(Image.fromarray(grey).convert("RGB"), "PNG", exif=turned),
        "turned grey": saved(Image.fromarray(grey), "PNG", exif=turned),
    }


@pytest.mark.parametrize("kind", list(unusual()))
def test_an_open_image_is_seen_like_its_file(kind: str, stored: Classifier) -> None:
    data = unusual()[kind]
    seen = stored.pixels(data)
    assert seen.std() > 10
    assert np.array_equal(stored.pixels(Image.open(io.BytesIO(data))), seen)


@pytest.mark.parametrize("shape", [(40, 48, 4), (40,), (2, 40, 48, 3)])
def test_an_array_that_is_no_image_is_refused(shape: tuple[int, ...], stored: Classifier) -> None:
    with pytest.raises(InputError, match="give uint8"):
        stored.predict([np.zeros(shape, np.uint8)])
    with pytest.raises(InputError, match="float64"):
        stored.predict([np.zeros((40, 48, 3))])


def test_answers_come_in_order_and_only_a_few_images_are_held(stored: Classifier) -> None:
    pictures = encoded(4)
    taken = done = most = 0

    def many() -> Iterator[bytes]:
        nonlocal taken
        for i in range(200):
            taken += 1
            yield pictures[i % 4]

    expected = stored.predict(pictures).probabilities
    for i, answer in enumerate(stored.stream(many())):
        done, most = i + 1, max(most, taken - done)
        assert np.array_equal(answer["probabilities"], expected[i % 4])
    assert done == 200
    assert most <= 8 * cpu_count() + BURST


def test_no_images_no_answers(stored: Classifier) -> None:
    found = stored.predict([])
    assert found.probabilities.shape == (0, 2)
    assert found.labels == []


def test_a_file_that_is_no_image_is_named_and_the_next_question_is_answered(stored: Classifier, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no image")
    good = encoded(3)
    expected = stored.predict(good).probabilities
    with pytest.raises(InputError, match=r"notes\.png"):
        stored.predict([*good, tmp_path / "notes.png", *good])
    assert np.array_equal(stored.predict(good).probabilities, expected)


def test_threads_may_share_a_classifier(stored: Classifier, copy: Path) -> None:
    pictures = encoded(10)
    expected = stored.predict(pictures).probabilities
    fresh, answers = Classifier.load(copy), []
    threads = [threading.Thread(target=lambda: answers.append(fresh.predict(pictures))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(np.array_equal(answer.probabilities, expected) for answer in answers)


def with_point(stored: Classifier, positive: str, threshold: float) -> Classifier:
    changed = Classifier(stored.root)
    point = OperatingPoint(positive_class=positive, threshold=threshold, target_sensitivity=0.9)
    changed.info = stored.info.model_copy(update={"operating_point": point})
    return changed


def test_the_operating_point_decides_between_two_classes(stored: Classifier) -> None:
    along = np.array([0.1, 0.2999, 0.3, 0.6])
    probabilities = np.stack([1 - along, along], axis=1)
    assert stored.decide(probabilities) == ["across", "across", "across", "along"]
    assert with_point(stored, "along", 0.3).decide(probabilities) == ["across", "across", "along", "along"]
    assert with_point(stored, "across", 0.8).decide(probabilities) == ["across", "along", "along", "along"]


def test_predictions_go_by_the_operating_point(stored: Classifier) -> None:
    pictures = encoded(8)
    along = stored.predict(pictures).probabilities[:, 1]
    threshold = float(np.sort(along)[3])
    found = with_point(stored, "along", threshold).predict(pictures)
    assert found.labels == ["along" if p >= threshold else "across" for p in along]
    assert found.labels.count("along") == 5


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "model.keras"])
def test_one_changed_byte_is_noticed(name: str, copy: Path) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(InputError, match=name):
        Classifier.load(copy)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match=name):
        Classifier.load(copy)


def test_the_keras_model_may_be_left_out(copy: Path, stored: Classifier) -> None:
    (copy / "model.keras").unlink()
    pictures = encoded(2)
    found = Classifier.load(str(copy)).predict(pictures)
    assert np.array_equal(found.probabilities, stored.predict(pictures).probabilities)


def test_a_folder_without_a_classifier_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metadata\.json"):
        Classifier.load(tmp_path)


def test_a_newer_schema_is_refused_whatever_else_it_says(copy: Path) -> None:
    known = json.loads((copy / "metadata.json").read_text())
    assert known["schema_version"] == SCHEMA_VERSION
    known |= {"schema_version": SCHEMA_VERSION + 1, "unheard_of": True}
    (copy / "metadata.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match="newer version"):
        Classifier.load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 1}', "\udcff"])
def test_damaged_metadata_are_named(text: str, copy: Path) -> None:
    (copy / "metadata.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"metadata\.json"):
        Classifier.load(copy)


def test_nothing_in_the_folder_can_run_code(stored: Classifier) -> None:
    names = {path.name for path in stored.root.iterdir()}
    assert names == {"model.xml", "model.bin", "model.keras", "metadata.json"}
    assert set(stored.info.files) == names - {"metadata.json"}
    with zipfile.ZipFile(stored.root / "model.keras") as archive:
        assert set(archive.namelist()) == {"config.json", "metadata.json", "model.weights.h5"}
        config = json.loads(archive.read("config.json"))
    assert "Lambda" not in json.dumps(config)


def test_metadata_say_what_the_classifier_is(stored: Classifier) -> None:
    known = json.loads((stored.root / "metadata.json").read_text())
    assert known["class_names"] == CLASSES
    assert known["input"]["size"] == 64
    assert known["temperature"] == TEMPERATURE
    assert {"diascope", "keras", "tensorflow", "openvino", "numpy", "pillow"} <= known["versions"].keys()
    expected = classifier_info(64, TEMPERATURE)
    filled = {"files": {}, "versions": {}, "activation_map": None}
    assert stored.info.model_copy(update=filled) == expected
