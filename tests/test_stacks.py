import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diascope.errors import InputError
from diascope.experiment import load

ROOT = Path(__file__).resolve().parent.parent
ENSURE = (
    "from commands.start import start_zenml; start_zenml(False); "
    "from stacks.local import ensure_tracking_stack; print(ensure_tracking_stack())"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Path]:
    """A ZenML of its own for this module; whichever was in use before comes back afterwards."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration

    before = GlobalConfiguration.get_instance(), Client.get_instance()
    folder = tmp_path_factory.mktemp("zenml")
    patch = pytest.MonkeyPatch()
    patch.setenv("ZENML_CONFIG_PATH", str(folder))
    patch.setenv("ZENML_ANALYTICS_OPT_IN", "false")
    patch.delenv("ZENML_ACTIVE_STACK_ID", raising=False)
    patch.chdir(folder)  # outside of any repository that has an active stack of its own
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
    yield folder
    patch.undo()
    GlobalConfiguration._reset_instance(before[0])
    Client._reset_instance(before[1])


@pytest.fixture
def client(store):
    """Only what ZenML itself brings is registered, and active."""
    from zenml.client import Client

    client = Client()
    client.activate_stack("default")
    for stack in client.list_stacks().items:
        if stack.name != "default":
            client.delete_stack(stack.id)
    for component in client.list_stack_components(size=100).items:
        if component.name != "default":
            client.delete_stack_component(component.name, component.type)
    return client


def flavors(client) -> dict[str, str]:
    return {str(kind): found[0].flavor_name for kind, found in client.active_stack_model.components.items()}


def tracker(client, name: str, flavor: str = "mlflow", **configuration: str):
    from zenml.enums import StackComponentType

    return client.create_stack_component(name, flavor, StackComponentType.EXPERIMENT_TRACKER, configuration)


def stack(client, name: str, *trackers) -> None:
    from zenml.enums import StackComponentType

    components = {StackComponentType.ORCHESTRATOR: "default", StackComponentType.ARTIFACT_STORE: "default"}
    if trackers:
        components[StackComponentType.EXPERIMENT_TRACKER] = trackers[0].id
    client.create_stack(name, components)
    client.activate_stack(name)


def test_first_run_gets_a_stack_that_tracks(client):
    from stacks.local import ensure_tracking_stack

    assert ensure_tracking_stack() == "local"
    assert client.active_stack_model.name == "local"
    assert flavors(client) == {
        "orchestrator": "local",
        "artifact_store": "local",
        "experiment_tracker": "mlflow",
        "model_registry": "mlflow",
        "image_builder": "local",
    }
    assert client.active_stack.experiment_tracker.get_tracking_uri().startswith("sqlite:///")
    assert "experiment_tracker" not in client.get_stack("default").components


def test_second_run_changes_nothing(client):
    from stacks.local import ensure_tracking_stack

    ensure_tracking_stack()
    before = client.active_stack_model.id, client.list_stack_components().total

    assert ensure_tracking_stack() == "local"
    client.activate_stack("default")
    assert ensure_tracking_stack() == "local"
    assert (client.active_stack_model.id, client.list_stack_components().total) == before


def test_an_interrupted_first_run_is_finished(client):
    from stacks.local import ensure_tracking_stack

    left = tracker(client, "mlflow")

    assert ensure_tracking_stack() == "local"
    assert client.active_stack.experiment_tracker.id == left.id


def test_the_local_stack_is_made_and_used_from_another_one(client, capsys):
    from stacks.local import main

    stack(client, "mine", tracker(client, "remote", tracking_uri="https://mlflow.example.org", tracking_token="x"))

    assert main() == 0
    assert capsys.readouterr().out == "The stack 'local' is active.\n"
    assert client.active_stack_model.name == "local"
    assert flavors(client)["orchestrator"] == "local"
    assert client.active_stack.experiment_tracker.name == "mlflow"  # not the one of the stack before


def test_somebody_elses_tracker_of_that_name_is_not_used(client):
    from stacks.local import ensure_tracking_stack

    tracker(client, "mlflow", tracking_uri="https://mlflow.example.org", tracking_token="x")

    assert ensure_tracking_stack() == "local"
    assert client.active_stack.experiment_tracker.name == "mlflow-diascope"
    assert client.active_stack.experiment_tracker.get_tracking_uri().startswith("sqlite:///")


def test_a_chosen_stack_with_a_tracker_is_used_as_it_is(client):
    from stacks.local import ensure_tracking_stack

    stack(client, "mine", tracker(client, "remote", tracking_uri="https://mlflow.example.org", tracking_token="x"))

    assert ensure_tracking_stack() == "mine"
    assert {each.name for each in client.list_stacks().items} == {"default", "mine"}


def test_a_tracker_that_is_not_mlflow_is_refused_before_anything_runs(client):
    from stacks.local import ensure_tracking_stack

    stack(client, "mine", tracker(client, "other", "neptune", project="p", api_token="x"))

    with pytest.raises(InputError, match="'mine' has no MLflow experiment tracker"):
        ensure_tracking_stack()
    assert client.active_stack_model.name == "mine"


@pytest.mark.parametrize("name", ["mine", "local"])
def test_a_chosen_stack_without_a_tracker_is_left_alone(client, name):
    from stacks.local import ensure_tracking_stack

    stack(client, name)
    if name == "local":
        client.activate_stack("default")

    with pytest.raises(InputError, match=f"`zenml stack update {name} -e mlflow`") as raised:
        ensure_tracking_stack()

    assert "`zenml experiment-tracker register mlflow --flavor=mlflow`" in str(raised.value)
    assert set(client.get_stack(name).components) == {"orchestrator", "artifact_store"}
    assert client.active_stack_model.name == ("default" if name == "local" else name)


def test_two_first_runs_at_once_share_one_stack(client, store):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ZENML_LOGGING_VERBOSITY": "ERROR"}

    def first_run(_: int) -> str:
        command = [sys.executable, "-c", ENSURE]
        done = subprocess.run(command, env=environment, cwd=store, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(first_run, range(2))) == ["local", "local"]

    assert [each.name for each in client.list_stacks().items if each.name != "default"] == ["local"]


def test_settings_table_is_that_of_the_installed_zenml(store):
    from stacks.flavors import SETTINGS_FILE, describe_settings

    assert json.loads(SETTINGS_FILE.read_text()) == describe_settings(), "run `python -m stacks.flavors`"


@pytest.mark.parametrize("name", ["demo", "chest_ct", "folder", "fine_tune"])
def test_zenml_understands_what_it_is_given(store, tmp_path, name):
    from zenml.config.pipeline_run_configuration import PipelineRunConfiguration

    overrides = ["steps.promote_model.extra={a: 1}", "tags=[x]", "settings.orchestrator.sagemaker.synchronous=true"]
    overrides += ["retry={max_retries: 2}", "environment={A: b}"]
    path = tmp_path / "resolved.yaml"
    path.write_text(load(ROOT / "configs" / f"{name}.yaml", overrides).resolved())

    configuration = PipelineRunConfiguration.from_yaml(str(path))

    assert (
        configuration.parameters["promotion"]["model"]
        == load(ROOT / "configs" / f"{name}.yaml").parameters.promotion.model
    )
    assert configuration.steps["promote_model"].extra == {"a": 1}
    assert configuration.settings["orchestrator.sagemaker"].model_extra["synchronous"] is True
    assert (configuration.retry.max_retries, configuration.tags, configuration.environment) == (2, ["x"], {"A": "b"})
    assert configuration.enable_cache is None
