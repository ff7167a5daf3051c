"""What several test modules share: a ZenML of their own and one real training run on the demo."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import __main__

# Before anything imports them: nothing of the user's is read or written, and no two processes make one database.
OWN = Path(tempfile.mkdtemp(prefix="diascope-tests-"))
atexit.register(shutil.rmtree, OWN, ignore_errors=True)
os.environ["ZENML_CONFIG_PATH"] = str(OWN / "zenml")
os.environ["BENTOML_HOME"] = str(OWN / "bentoml")
os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# In a process of pytest-xdist the main module has no file, by which ZenML tells whose code a step is.
if not hasattr(__main__, "__file__"):
    __main__.__file__ = str(Path(__file__).resolve().parent.parent / "run.py")

# What shares one trained demo, or the Docker engine's images, is run by one process; else a file is what is dealt out.
TOGETHER = {
    "benchmarks_foreign",
    "card",
    "container",
    "data_versions",
    "deployment",
    "inference_pipeline",
    "lambda_entry",
    "places",
    "rollback",
    "target_container",
    "training_pipeline",
}


# What takes minutes is dealt out first: at the end it would keep one process busy while the other has nothing to do.
LONGEST = ("proof_aws", "demo", "recipes", "remote_run", "tracking_lost", "foreign_images")


def dealt_as(nodeid: str) -> str:
    """What a test is dealt out with."""
    name = Path(nodeid.partition("::")[0]).stem.removeprefix("test_")
    return "demo" if name in TOGETHER else name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within each stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(dealt_as(item.nodeid), len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Deal the files out, those that belong together to one process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return dealt_as(nodeid)

    config.option.loadscopereorder = False  # else by number of tests, which says nothing of their time
    return ByFile(config, log)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to work in, with its own ZenML, caches and home."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    folder = tmp_path_factory.mktemp("workplace")
    before = GlobalConfiguration.get_instance(), Client.get_instance()
    patch = pytest.MonkeyPatch()
    patch.setenv("ZENML_CONFIG_PATH", str(folder / "zenml"))
    patch.setenv("DIASCOPE_CACHE", str(folder / "cache"))
    patch.setenv("HOME", str(folder))
    patch.delenv("ZENML_ACTIVE_STACK_ID", raising=False)
    patch.chdir(folder)
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    yield folder
    patch.undo()
    GlobalConfiguration._reset_instance(before[0])
    Client._reset_instance(before[1])


class Run:
    """One call of run.py in this process."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def result(self) -> dict:
        """The JSON object on the last line."""
        return json.loads(self.out.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def train(workplace: Path):
    """Call run.py as a user would, in this process, in the folder and with the ZenML of `workplace`."""
    import contextlib
    import io

    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    import run

    own = GlobalConfiguration.get_instance(), Client.get_instance()

    def call(*arguments: str) -> Run:
        others = GlobalConfiguration.get_instance(), Client.get_instance()
        GlobalConfiguration._reset_instance(own[0])
        Client._reset_instance(own[1])
        patch = pytest.MonkeyPatch()
        patch.setenv("ZENML_CONFIG_PATH", str(workplace / "zenml"))
        patch.chdir(workplace)
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = run.main(list(arguments))
        finally:
            patch.undo()
            GlobalConfiguration._reset_instance(others[0])
            Client._reset_instance(others[1])
        return Run(status, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def demo_run(train) -> Run:
    """The demo, trained once for all tests."""
    return train("--training", "--json")


@pytest.fixture(scope="module")
def aws_endpoint() -> Iterator[str]:
    """Where moto's server answers for all of AWS."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def in_aws(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS is that server, with credentials of its own, and nothing of the user's is read."""
    for name, value in {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
