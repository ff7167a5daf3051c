"""Who serves the same model? This service, its container, Flask with `keras.predict`, `mlflow models serve`."""

import json
import os
import sys
import uuid
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

from benchmarks.servers import Server, serving, tool
from diascope.classifier import Classifier
from diascope.engine import cpu_count

IMAGES = 32  # files that are sent in turn
MODEL = "diascope:benchmark"


def ours(store: Path, log: Path) -> AbstractContextManager[Server]:
    """This project's service, from a BentoML store."""
    command = [tool("bentoml"), "serve", "service:Diascope", "--host", "127.0.0.1", "--port", "{port}"]
    return serving(command, "/readyz", _bentoml(store), log)


def container(store: Path, scratch: Path, log: Path) -> AbstractContextManager[Server]:
    """The same service in its container, built from the bento."""
    raise NotImplementedError


def flask(classifier: Path, log: Path) -> AbstractContextManager[Server]:
    """Flask and `keras.predict` behind gunicorn, one worker per core."""
    options = ["--workers", str(cpu_count()), "--bind", "127.0.0.1:{port}", "--timeout", "300"]
    command = [sys.executable, "-m", "gunicorn", *options, "benchmarks.flask_app:app"]
    return serving(command, "/readyz", {"BENCHMARK_CLASSIFIER": str(classifier), "TF_CPP_MIN_LOG_LEVEL": "3"}, log)


def mlflow(model: Path, log: Path) -> AbstractContextManager[Server]:
    """`mlflow models serve`, one worker per core."""
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}", "--workers", str(cpu_count())]
    command = [tool("mlflow"), "models", "serve", "--model-uri", str(model), *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return serving(command, "/health", {"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": path}, log)


def multipart(files: list[Path], folder: Path) -> None:
    """Write one request per file as a browser sends it."""
    for number, path in enumerate(islice(files, IMAGES)):
        mark = uuid.uuid4().hex
        kind = {".png": "image/png"}.get(path.suffix, "image/jpeg")
        name = f'form-data; name="image"; filename="{number}{path.suffix}"'
        head = f"--{mark}\r\nContent-Disposition: {name}\r\nContent-Type: {kind}\r\n\r\n"
        body = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        _write(folder, number, "/predict", f"multipart/form-data; boundary={mark}", body)


def tensors(files: list[Path], classifier: Classifier, folder: Path) -> None:
    """Write one request per file as MLflow's scoring server takes it: decoded pixels as JSON."""
    for number, path in enumerate(islice(files, IMAGES)):
        body = json.dumps({"inputs": classifier.pixels(path)[None].tolist()}).encode()
        _write(folder, number, "/invocations", "application/json", body)


def _write(folder: Path, number: int, path: str, kind: str, body: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    (folder / f"{number:03}.http").write_bytes(head.encode() + body)


def _bentoml(store: Path) -> dict[str, str]:
    return {"BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "True", "DIASCOPE_MODEL": MODEL}
