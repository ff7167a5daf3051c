"""An MLflow server that goes away in the middle of a run, and comes back."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import cloud
import pytest

import run as command
from diascope.failures import find_lost_tracking, lost_tracking

TOY = """
import os
import signal
from pathlib import Path

import mlflow
from zenml import pipeline, step
from zenml.enums import ExecutionMode


@step(experiment_tracker=True)
def first(folder: str) -> float:
    Path(folder, "first").open("a").write("x")
    mlflow.log_metric("first", 1.0)
    return 1.0


@step(experiment_tracker=True)
def second(folder: str, value: float) -> float:
    if (pid := Path(folder, "pid")).exists():
        os.killpg(int(pid.read_text()), signal.SIGKILL)
    mlflow.log_metric("second", value + 1)
    return value + 1


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def tracked(folder: str) -> None:
    second(folder, first(folder))
"""


@contextmanager
def mlflow_at(port: int, folder: Path) -> Iterator[int]:
    """An MLflow at a port that stays the same; gives the id of its group of processes."""
    program = Path(sys.executable).parent / "mlflow"
    said = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/mlflow"]
    with cloud.served([str(program), "server", *said, *kept], f"http://127.0.0.1:{port}/health", folder / "log") as pid:
        yield pid


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A pipeline of two tracked steps, in a ZenML of its own."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.utils import source_utils

    before = GlobalConfiguration.get_instance(), Client.get_instance(), source_utils._CUSTOM_SOURCE_ROOT
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "ZENML_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(tmp_path / "zenml"))
    monkeypatch.setenv("ZENML_ANALYTICS_OPT_IN", "false")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "tracked_pipeline.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    source_utils.set_custom_source_root(str(tmp_path / "project"))
    yield importlib.import_module("tracked_pipeline")
    import mlflow

    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri("")
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    source_utils.set_custom_source_root(before[2])
    GlobalConfiguration._reset_instance(before[0])
    Client._reset_instance(before[1])
    sys.modules.pop("tracked_pipeline", None)


def test_the_run_ends_with_one_sentence_and_goes_on_from_what_was_finished(toy: ModuleType, tmp_path: Path) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    from stacks.local import ensure_tracking_stack

    port = cloud.free_port()
    uri = f"http://127.0.0.1:{port}"
    ensure_tracking_stack()
    said = {"tracking_uri": uri, "tracking_token": "none"}
    Client().update_stack_component("mlflow", StackComponentType.EXPERIMENT_TRACKER, configuration=said)

    with mlflow_at(port, tmp_path) as pid:
        (tmp_path / "pid").write_text(str(pid))
        with pytest.raises(Exception, match="API request") as raised:
            toy.tracked(str(tmp_path))
    told, status = command._told(raised.value, command.GOES_ON)
    assert status == command.FAILED
    assert told == (
        f"MLflow at {uri} no longer answers; start it again; finished steps are kept, and the same command goes on "
        "from there."
    )

    (tmp_path / "pid").unlink()
    with mlflow_at(port, tmp_path):
        run = Client().get_pipeline_run(toy.tracked(str(tmp_path)).id)
        assert {name: step.status.value for name, step in run.steps.items()} == {
            "first": "cached",
            "second": "completed",
        }
    assert (tmp_path / "first").read_text() == "x"


def test_other_errors_of_mlflow_keep_their_words() -> None:
    refused = "API request to https://mlflow.example.org/api/2.0/x failed with exception HTTPSConnectionPool\nretries"
    assert lost_tracking("MlflowException", refused).startswith(
        "MLflow at https://mlflow.example.org no longer answers"
    )
    proxy = "API request to endpoint /api/2.0/mlflow/runs/create failed with error code 503 != 200."
    assert lost_tracking("MlflowException", proxy).startswith("MLflow no longer answers")
    slow = "API request to http://m:5000/api failed with timeout exception x."
    assert lost_tracking("MlflowException", slow)
    assert lost_tracking("MlflowException", "API request to endpoint /x failed with error code 400 != 200.") == ""
    assert lost_tracking("ValueError", refused) == ""


def test_the_cause_behind_another_error_is_found() -> None:
    class MlflowException(Exception):
        """As it is called."""

    error = RuntimeError("step failed")
    error.__cause__ = MlflowException("API request to http://m:5000/api failed with exception refused")
    assert find_lost_tracking(error) == "MLflow at http://m:5000 no longer answers; start it again"
    assert find_lost_tracking(RuntimeError("no")) == ""
