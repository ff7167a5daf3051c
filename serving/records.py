"""What is recorded of each prediction? What an image looked like in a few figures, and what was answered."""

import logging
import queue
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import bentoml
import numpy as np

from diascope.answers import Answer

log = logging.getLogger("bentoml.diascope")

MOST_WAITING = 10_000  # records; beyond, a disk that is slower than the service would fill the memory
ROTATION = Path(__file__).with_name("monitoring.yaml")
STRIDE = 4  # brightness and contrast are taken from every fourth pixel of every fourth row
SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"RIFF": "WebP",
    b"GIF8": "GIF",
}


@dataclass(frozen=True)
class Record:
    """One prediction; neither pixels nor names."""

    format: str
    width: int
    height: int
    bytes: int
    brightness: float  # mean of what the network saw, 0 to 255
    contrast: float  # standard deviation of the same
    answer: Answer


def record(data: bytes, size: tuple[int, int], pixels: np.ndarray, answer: Answer) -> Record:
    """Describe an image (its bytes, its width and height, the network's view of it) and its answer."""
    known = (name for signature, name in SIGNATURES.items() if data.startswith(signature))
    seen = pixels[::STRIDE, ::STRIDE, 1]
    return Record(next(known, "DICOM"), *size, len(data), float(seen.mean()), float(seen.std()), answer)


class Recorder:
    """Writes records with `bentoml.monitor` in a thread of its own, so that no request waits for a disk."""

    def __init__(self, folder: Path | None, model: str, version: str) -> None:
        self._folder = folder
        self._model = model
        self._version = version
        self._waiting: queue.Queue[Record | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        if folder is not None:
            self._thread.start()

    def add(self, record: Record) -> None:
        """Keep a record; it is written soon."""
        if self._folder is None:
            return
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._give_up("the disk is slower than the service")

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits."""
        if self._folder is not None:
            self._waiting.put(None)
            self._thread.join(seconds)

    def _work(self) -> None:
        try:
            assert self._folder is not None
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass  # BentoML would tell with every record that it cannot write
            while (each := self._waiting.get()) is not None:
                self._write(each)
        except OSError as error:
            self._give_up(str(error))

    def _write(self, each: Record) -> None:
        options = {"log_path": str(self._folder), "log_config_file": str(ROTATION)}
        with bentoml.monitor("diascope", monitor_class="default", monitor_options=options) as monitor:
            monitor.log(each.format, "format", "feature", "categorical")
            for name in ("width", "height", "bytes", "brightness", "contrast"):
                monitor.log(getattr(each, name), name, "feature", "numerical")
            monitor.log(each.answer.distance, "distance", "feature", "numerical")
            probabilities = list(each.answer.probabilities.values())
            monitor.log(probabilities, "probabilities", "prediction", "numerical_sequence")
            monitor.log(each.answer.label, "label", "prediction", "categorical")
            monitor.log(each.answer.decision, "decision", "prediction", "categorical")
            monitor.log(f"{self._model}:{self._version}", "model", "feature", "categorical")
        for handler in logging.getLogger("bentoml_monitor_data").handlers:
            handler.handleError = self._failed  # type: ignore[assignment]  # a full disk: once is enough

    def _failed(self, _: logging.LogRecord) -> None:
        self._give_up(str(sys.exc_info()[1]))

    def _give_up(self, why: str) -> None:
        if self._folder is not None:
            log.warning("Predictions are not recorded in %s: %s.", self._folder, why)
        self._folder = None
