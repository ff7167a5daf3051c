"""How does a network run on this machine's CPU? (OpenVINO, one image at a time, all cores busy)"""

import math
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import keras

A = TypeVar("A")
B = TypeVar("B")

# OpenVINO reports every import to Google Analytics unless somebody has objected; what is not there cannot report.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

CGROUPS = Path("/sys/fs/cgroup")

# Below this many parameters bf16 gains nothing and costs accuracy (measured with MobileNetV2, 0.4 million).
BF16_PARAMETERS = 10_000_000

# Below this many billion multiply-adds, spreading one image over all cores gains less than the cores lose by meeting
# (measured on two cores: MobileNetV2 0.35 with 0.06 billion 0.6 instead of 0.9 ms, but 3 ms where others use them too;
# VGG16 with 15 billion 34 instead of 63 ms).
WORTH_SPREADING = 1.0

BURST = 24  # images that wait for the engine together


def export(model: "keras.Model", path: Path, outputs: list[str]) -> None:
    """Write a Keras model as OpenVINO IR (`path` and the .bin beside it) whose outputs carry the given names."""
    import openvino as ov

    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "model.xml"
        model.export(str(raw), format="openvino", verbose=False)
        network = _without_loose_ends(_core().read_model(raw), model)
        if len(network.outputs) != len(outputs):
            raise ValueError(f"{model.name} has {len(network.outputs)} outputs, not {outputs}")
        for port, name in zip(network.outputs, outputs, strict=True):
            port.get_tensor().set_names({name})
        ov.save_model(network, path, compress_to_fp16=False)


def _without_loose_ends(network: Any, model: "keras.Model") -> Any:
    """The network with the model's outputs alone, which come first; the conversion adds what nothing goes on from."""
    import openvino as ov

    results = network.get_results()
    if len(results) <= len(model.outputs):
        return network
    kept = results[: len(model.outputs)]
    for result, output in zip(kept, model.outputs, strict=True):
        shape = ov.PartialShape([-1 if n is None else n for n in output.shape])
        if not result.get_output_partial_shape(0).compatible(shape):
            raise ValueError(f"the outputs of {model.name} cannot be told from others that its conversion has added")
    return ov.Model(kept, network.get_parameters())


def multiply_adds(path: Path) -> float:
    """Return the multiply-adds of one image through convolutions and dense layers, in billions.

    What a network costs wherever it runs; unlike a timing, it is the same whatever else the machine does.
    """
    network = read_network(path)
    return sum(operation_multiply_adds(operation) for operation in network.get_ops()) / 1e9


def read_network(path: Path) -> Any:
    """Return OpenVINO's graph for one image."""
    network = _core().read_model(path)
    network.reshape([1, *list(network.inputs[0].partial_shape)[1:]])
    return network


def operation_multiply_adds(operation: Any) -> int:
    """Return the multiply-adds of a node of OpenVINO's graph, where it is a convolution or a dense layer."""
    kind = operation.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul") or operation.get_output_size() != 1:
        return 0
    positions = int(np.prod(list(operation.get_output_shape(0))))
    weights = list(operation.get_input_shape(1))
    per_output = {"Convolution": weights[1:], "GroupConvolution": weights[2:]}.get(
        kind, [operation.get_input_shape(0)[-1]]
    )
    return positions * int(np.prod(per_output))


def operation_times(network: Any, precision: str, repeats: int = 20) -> dict[str, float]:
    """Return the least time of each node of OpenVINO's graph by its name, in milliseconds.

    What was fused into a node counts there.
    """
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": True,
        "INFERENCE_PRECISION_HINT": precision if _has_bf16() else "f32",
        "INFERENCE_NUM_THREADS": cpu_count(),
    }
    request = _core().compile_model(network, "CPU", options).create_infer_request()
    times: dict[str, float] = {}
    for _ in range(repeats):
        request.infer()
        for node in request.get_profiling_info():
            spent = 1000 * node.real_time.total_seconds()
            times[node.node_name] = min(spent, times.get(node.node_name, spent))
    return times


def precision_for(parameters: int) -> str:
    """Return `bf16` for large networks on a CPU that has it, else `f32`."""
    return "bf16" if parameters >= BF16_PARAMETERS and _has_bf16() else "f32"


@cache
def _core() -> Any:
    """Return the one core of this process.

    Each gives the thread that makes it a stack for signals and takes it back when it goes; of several, the last but one
    to go leaves a stack that is no longer there, and the next signal ends the process (OpenVINO 2026.4).
    """
    import openvino as ov

    return ov.Core()


def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Engine:
    """A compiled network that takes uint8 images of one size.

    Parameters
    ----------
    path: OpenVINO IR with one input of shape (n, size, size, 3), uint8.
    precision: `f32` or `bf16`; a CPU without bf16 computes in f32.
    hint: `THROUGHPUT` runs one image per core, `LATENCY` one image on all cores.
    cores: how many of them; all that this process may use, where nothing is said.
    """

    def __init__(
        self, path: Path, *, precision: str = "f32", hint: str = "THROUGHPUT", cores: int | None = None
    ) -> None:
        network = _core().read_model(path)
        _, self.size, _, _ = (d.get_length() if d.is_static else 0 for d in network.inputs[0].partial_shape)
        network.reshape([1, self.size, self.size, 3])
        self.precision = precision if _has_bf16() else "f32"
        options = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": cores or cpu_count(),
        }
        self._compiled = _core().compile_model(network, "CPU", options)
        self.outputs = [port.get_any_name() for port in self._compiled.outputs]
        self._at_once = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: list[Any] = []

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the outputs of each image (size, size, 3), in order, while the next ones are being computed.

        Several streams may be open at once, also in several threads.
        """
        waiting: deque[Any] = deque()
        try:
            for image in images:
                if len(waiting) == self._at_once:
                    yield self._finish(waiting.popleft())
                request = self._request()
                request.start_async({0: image[None]}, share_inputs=False)
                waiting.append(request)
            while waiting:
                yield self._finish(waiting.popleft())
        finally:  # a stream that was left early: its requests are running still
            for request in waiting:
                self._finish(request)

    def infer(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of one image (size, size, 3); many threads may call at once."""
        request = self._request()
        request.get_input_tensor(0).data[0] = image
        request.infer()
        outputs = {name: request.get_output_tensor(i).data[0].copy() for i, name in enumerate(self.outputs)}
        self._idle.append(request)
        return outputs

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def _finish(self, request: Any) -> dict[str, np.ndarray]:
        request.wait()
        outputs = {name: request.get_output_tensor(i).data[0].copy() for i, name in enumerate(self.outputs)}
        self._idle.append(request)
        return outputs


class Elastic:
    """A network for requests that come as they like: all cores for an image that is alone, one core each for several.

    Takes twice the memory of an `Engine`, where the network is large enough for it to matter.
    """

    def __init__(self, path: Path, *, precision: str = "f32", cores: int | None = None) -> None:
        cores = cores or cpu_count()
        self._several = Engine(path, precision=precision, cores=cores)
        self._alone = self._several
        if cores > 1 and multiply_adds(path) >= WORTH_SPREADING:
            self._alone = Engine(path, precision=precision, hint="LATENCY", cores=cores)
        self.size = self._several.size

    def infer(self, image: np.ndarray, *, alone: bool) -> dict[str, np.ndarray]:
        """Return the outputs of one image (size, size, 3); `alone` where no other is waiting."""
        return (self._alone if alone else self._several).infer(image)


def ahead(function: Callable[[A], B], items: Iterable[A], workers: int | None = None) -> Iterator[B]:
    """Yield function(item) in order, computed by one thread per core, never more than a few items ahead."""
    workers = workers or cpu_count()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def in_bursts(items: Iterable[A]) -> Iterator[A]:
    """Yield the items, some at once: an engine that waits for each image spends more on waking than on a small network.

    Measured on two cores: MobileNetV2 0.35 takes 1.9 ms of CPU for an image every 3 ms, and 1.2 in bursts of 32.
    """
    waiting = iter(items)
    while burst := list(islice(waiting, BURST)):
        yield from burst


@cache
def cpu_count() -> int:
    """Return the number of cores this process may use: those it may run on, or what its container is limited to."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(CGROUPS))))


def _quota(root: Path) -> float:
    """Cores that the control group grants, infinite where it does not limit them (`cpu.max`, or version 1's files)."""
    try:
        if (root / "cpu.max").is_file():
            share, period = (root / "cpu.max").read_text().split()
        else:
            share, period = (
                (root / "cpu" / name).read_text().strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            )
    except OSError:
        return math.inf
    return int(share) / int(period) if share.isdecimal() and int(share) else math.inf
