"""How does a network run on this machine's CPU?"""

import functools
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import scratch

from diascope import engine
from diascope.engine import BF16_PARAMETERS, Elastic, Engine, ahead, cpu_count, export, precision_for

ROOT = Path(__file__).resolve().parent.parent
SIZE = 24


@functools.cache
def two_outputs() -> tuple[Any, Path]:
    """A Keras model whose outputs have one shape and different values, and the same exported."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, activation="relu")(x))
    model = keras.Model(image, [layers.Dense(5)(x), layers.Dense(5)(x)])
    path = scratch() / "model.xml"
    export(model, path, ["second", "first"])
    return model, path


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def expected(pictures: np.ndarray) -> dict[str, np.ndarray]:
    model, _ = two_outputs()
    answers = model(pictures, training=False)
    return {name: answer.numpy() for name, answer in zip(("second", "first"), answers, strict=True)}


def stacked(answers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


def assert_same(answers: list[dict[str, np.ndarray]], pictures: np.ndarray) -> None:
    found, wanted = stacked(answers), expected(pictures)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)


@pytest.mark.parametrize("hint", ["THROUGHPUT", "LATENCY"])
def test_every_output_has_its_own_name_and_the_values_of_keras(hint: str) -> None:
    pictures = images(17)
    compiled = Engine(two_outputs()[1], hint=hint)
    assert (compiled.size, compiled.outputs) == (SIZE, ["second", "first"])
    assert not np.allclose(*expected(pictures).values())
    assert_same(list(compiled.stream(pictures)), pictures)


def test_what_the_conversion_leaves_hanging_is_no_output(tmp_path: Path) -> None:
    """Swish has a gradient of its own in Keras, of which the conversion makes a second output."""
    from keras import Input, Model, layers

    image = Input((8, 8, 3))
    swished = layers.Conv2D(2, 3, activation="swish")(image)
    model = Model(image, [layers.GlobalAveragePooling2D()(swished), swished])
    export(model, tmp_path / "model.xml", ["features", "map"])
    pixels = np.random.default_rng(0).normal(size=(8, 8, 3)).astype(np.float32)
    found = Engine(tmp_path / "model.xml").infer(pixels)
    for name, expected in zip(("features", "map"), model(pixels[None]), strict=True):
        np.testing.assert_allclose(found[name], np.asarray(expected)[0], atol=1e-5)


def test_as_many_names_as_outputs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 outputs"):
        export(two_outputs()[0], tmp_path / "model.xml", ["only"])
    assert not list(tmp_path.iterdir())


def test_a_resized_image_is_normalised_by_the_stored_statistics(tmp_path: Path) -> None:
    """`layers.Resizing` in a graph makes Keras use those of the batch in the layers after it."""
    import keras
    from keras import layers, ops

    mean, variance, gamma, beta = np.array([[90, 120, 150], [400, 900, 100], [1, 2, 3], [0, 1, -1]], np.float32)
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    small = ops.image.resize(layers.Rescaling(1.0)(image), (8, 8), antialias=False)
    normalise = layers.BatchNormalization(epsilon=0.001)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(normalise(small)))
    normalise.set_weights([gamma, beta, mean, variance])
    export(model, tmp_path / "model.xml", ["features"])

    colours = np.array([[0, 10, 255], [200, 100, 7]], np.uint8)
    plain = np.broadcast_to(colours[:, None, None], (2, SIZE, SIZE, 3))
    wanted = (colours - mean) / np.sqrt(variance + 0.001) * gamma + beta
    found = stacked(list(Engine(tmp_path / "model.xml").stream(plain)))["features"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_allclose(model(plain).numpy(), wanted, rtol=1e-4)


def test_answers_come_in_the_order_of_the_images_and_are_computed_as_they_are_asked_for() -> None:
    compiled = Engine(two_outputs()[1])
    pictures = images(60)
    taken = []

    def watched() -> Iterator[np.ndarray]:
        for number, picture in enumerate(pictures):
            taken.append(number)
            yield picture

    answers = []
    for answer in compiled.stream(watched()):
        answers.append(answer)
        assert len(taken) - len(answers) <= 2 * cpu_count()
    assert_same(answers, pictures)


def test_no_images_no_answers() -> None:
    assert list(Engine(two_outputs()[1]).stream([])) == []


def test_a_stream_that_was_left_does_not_disturb_the_next() -> None:
    compiled = Engine(two_outputs()[1])
    pictures = images(12)
    for _ in range(20):
        left = compiled.stream(images(50, seed=1))
        next(left)
        left.close()
        assert_same(list(compiled.stream(pictures)), pictures)


def test_a_broken_image_does_not_disturb_the_next_stream() -> None:
    compiled = Engine(two_outputs()[1])

    def breaking() -> Iterator[np.ndarray]:
        yield from images(3)
        raise ValueError("cannot be decoded")

    with pytest.raises(ValueError, match="cannot be decoded"):
        list(compiled.stream(breaking()))
    with pytest.raises(Exception, match=r"(?i)shape|size"):
        list(compiled.stream(np.zeros((2, SIZE + 1, SIZE, 3), np.uint8)))
    assert_same(list(compiled.stream(images(5))), images(5))


def test_two_streams_at_once_do_not_mix() -> None:
    compiled = Engine(two_outputs()[1])
    one, other = images(30, seed=1), images(30, seed=2)
    pairs = list(zip(compiled.stream(one), compiled.stream(other), strict=True))
    assert_same([first for first, _ in pairs], one)
    assert_same([second for _, second in pairs], other)


def test_threads_may_share_an_engine() -> None:
    compiled = Engine(two_outputs()[1])
    answers: dict[int, list[dict[str, np.ndarray]]] = {}

    def work(seed: int) -> None:
        answers[seed] = list(compiled.stream(images(40, seed)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        assert_same(answers[seed], images(40, seed))


@pytest.mark.parametrize("has_bf16", [True, False])
def test_large_networks_use_bf16_where_the_processor_has_it(has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_has_bf16", lambda: has_bf16)
    assert precision_for(BF16_PARAMETERS) == ("bf16" if has_bf16 else "f32")
    assert precision_for(BF16_PARAMETERS - 1) == "f32"


def test_a_processor_without_bf16_computes_in_f32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_has_bf16", lambda: False)
    compiled = Engine(two_outputs()[1], precision="bf16")
    assert compiled.precision == "f32"
    assert_same(list(compiled.stream(images(4))), images(4))


def test_bf16_stays_close() -> None:
    if not engine._has_bf16():
        pytest.skip("this processor has no bf16")
    compiled = Engine(two_outputs()[1], precision="bf16")
    assert compiled.precision == "bf16"
    pictures = images(8)
    found, wanted = stacked(list(compiled.stream(pictures)))["first"], expected(pictures)["first"]
    assert 0 < np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_ahead_keeps_the_order_and_looks_only_a_little_ahead() -> None:
    started, pauses = [], np.random.default_rng(0).uniform(0, 0.004, 200)

    def slow(number: int) -> int:
        started.append(number)
        time.sleep(pauses[number])
        return number * number

    answers = []
    for answer in ahead(slow, iter(range(200))):
        answers.append(answer)
        assert len(started) - len(answers) <= 4 * cpu_count()
    assert answers == [number * number for number in range(200)]


def test_ahead_works_on_all_cores_at_once() -> None:
    if cpu_count() < 2:
        pytest.skip("one core")
    meeting = threading.Barrier(2, timeout=20)
    assert sum(1 for _ in ahead(lambda _: meeting.wait(), range(2))) == 2


def test_ahead_raises_where_the_item_stands() -> None:
    answers = ahead(lambda number: 1 // (number - 3), range(9))
    assert [next(answers) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_one_image_at_a_time_from_many_threads() -> None:
    compiled, pictures = Engine(two_outputs()[1]), images(40)
    with ThreadPoolExecutor(4) as pool:
        assert_same(list(pool.map(compiled.infer, pictures)), pictures)
    kept = compiled.infer(pictures[0])
    compiled.infer(pictures[1])
    assert_same([kept], pictures[:1])


@pytest.mark.parametrize("worth", [0.0, 1e9])
@pytest.mark.parametrize("cores", [1, 2])
def test_an_image_that_is_alone_has_all_cores_where_that_pays(
    worth: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "WORTH_SPREADING", worth)
    elastic, pictures = Elastic(two_outputs()[1], cores=cores), images(3)
    assert (elastic._alone is not elastic._several) == (worth == 0 and cores == 2)
    for alone in (True, False):
        assert_same([elastic.infer(picture, alone=alone) for picture in pictures], pictures)
    assert elastic.size == SIZE


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_a_container_may_have_fewer_cores_than_the_machine(
    files: dict[str, str], cores: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert engine._quota(tmp_path) == cores
    monkeypatch.setattr(engine, "CGROUPS", tmp_path)
    monkeypatch.setattr(engine.os, "sched_getaffinity", lambda _: set(range(8)))
    assert cpu_count.__wrapped__() == (8 if cores == math.inf else math.ceil(cores))


def test_a_signal_after_two_engines_have_gone_ends_nothing() -> None:
    code = """
import gc, os, signal, sys
from pathlib import Path
from diascope.engine import Engine
signal.signal(signal.SIGUSR1, lambda *_: print("told"))
engines = [Engine(Path(sys.argv[1]), hint=hint) for hint in ("THROUGHPUT", "LATENCY")]
while engines:
    del engines[0]
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""
    path = str(two_outputs()[1])
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "told\n")


def test_nobody_is_told_that_it_is_used() -> None:
    code = (
        "import threading, sys, diascope.engine, openvino;"
        "told = [name for name in sys.modules if name.startswith('openvino_telemetry.')];"
        "print(told, threading.active_count(), bool(openvino.convert_model))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["[]", "1", "True"]
