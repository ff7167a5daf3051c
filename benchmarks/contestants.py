"""Who serves the same model? This service, what people would use instead, and how it might have been built."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.container import container
from benchmarks.prepared import RELEASE, Prepared
from benchmarks.servers import Server, serving, tool
from diascope.engine import cpu_count

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def ours(prepared: Prepared) -> AbstractContextManager[Server]:
    """This project's service, from a BentoML store."""
    return _bentoml(prepared, "service:Diascope")


def two_workers(prepared: Prepared) -> AbstractContextManager[Server]:
    """This project's service with two processes."""
    return _bentoml(prepared, "service:Diascope", DIASCOPE_WORKERS="2")


def plain(prepared: Prepared) -> AbstractContextManager[Server]:
    """A service of `@bentoml.api`."""
    return _bentoml(prepared, "benchmarks.plain_service:Plain")


def batching(prepared: Prepared) -> AbstractContextManager[Server]:
    """A service of `@bentoml.api` with adaptive batching."""
    return _bentoml(prepared, "benchmarks.plain_service:Batching")


def _bentoml(prepared: Prepared, service: str, **settings: str) -> AbstractContextManager[Server]:
    command = [tool("bentoml"), "serve", service, "--host", "127.0.0.1", "--port", "{port}"]
    environment = {
        "BENTOML_HOME": str(prepared.store),
        "BENTOML_DO_NOT_TRACK": "True",
        "DIASCOPE_MODEL": RELEASE.stored_as,
        "DIASCOPE_MONITORING": str(prepared.root / "monitoring"),
    }
    return serving(command, "/readyz", environment | settings, prepared.log)


def flask(prepared: Prepared) -> AbstractContextManager[Server]:
    """Flask and `keras.predict` behind gunicorn, one worker per core."""
    options = ["--workers", str(cpu_count()), "--bind", "127.0.0.1:{port}", "--timeout", "300"]
    command = [sys.executable, "-m", "gunicorn", *options, "benchmarks.flask_app:app"]
    return serving(command, "/readyz", {"BENCHMARK_CLASSIFIER": str(prepared.classifier), **QUIET}, prepared.log)


def mlflow(prepared: Prepared) -> AbstractContextManager[Server]:
    """`mlflow models serve`, one worker per core."""
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}", "--workers", str(cpu_count())]
    command = [tool("mlflow"), "models", "serve", "--model-uri", str(prepared.root / "mlflow"), *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return serving(command, "/health", {"PATH": path, **QUIET}, prepared.log)


CONTESTANTS: dict[str, Callable[[Prepared], AbstractContextManager[Server]]] = {
    "ours": ours,
    "container": container,
    "flask": flask,
    "mlflow": mlflow,
    "two_workers": two_workers,
    "plain": plain,
    "batching": batching,
    "explain": ours,  # asked for explanations
}
