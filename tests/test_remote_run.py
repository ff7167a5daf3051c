"""A run whose steps run elsewhere: how it is handed over, interrupted, tried again and waited for.

A ZenML server and moto are real; the jobs that SageMaker would run are processes here, started as it was recorded.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import cloud
import pytest
import yaml
from test_stacks_reach import answering
from zenml.exceptions import EntityExistsError

from diascope.errors import InputError

IMAGE = "python:3.11-slim"
TOY = '''
import os
import time
from pathlib import Path

from zenml import pipeline, step

from diascope.errors import InputError


@step(enable_cache=False)
def count(folder: str) -> int:
    """Waits in its first attempt, so that it can be interrupted there."""
    (attempts := Path(folder, "attempts")).open("a").write("x")
    while attempts.read_text() == "x" and not Path(folder, "go").exists():
        time.sleep(0.1)
    return 1


@step(enable_cache=False)
def refuse(folder: str) -> int:
    Path(folder, "refused").open("a").write("x")
    raise InputError("dataset.source: there is no image in it")


@pipeline
def counting(folder: str) -> None:
    count(folder)


@pipeline
def refusing(folder: str) -> None:
    refuse(folder)
'''


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Two pipelines in a project of their own, on the stack `aws` of a ZenML server."""
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.utils import source_utils

    folder = tmp_path_factory.mktemp("remote")
    (folder / "project").mkdir()
    (folder / "project" / "toy_pipelines.py").write_text(TOY)
    before = GlobalConfiguration.get_instance(), Client.get_instance(), source_utils._CUSTOM_SOURCE_ROOT
    patch = pytest.MonkeyPatch()
    with ExitStack() as servers:
        environment = cloud.aws_environment(servers.enter_context(cloud.moto(folder)))
        known = environment | {"ZENML_ENABLE_IMPLICIT_AUTH_METHODS": "true"}
        zenml = servers.enter_context(cloud.zenml_server(folder, known))
        tracking, _ = servers.enter_context(answering(lambda *_: (200, {}, '{"experiments": []}')))
        for name in [name for name in os.environ if name.startswith(("AWS_", "DIASCOPE_AWS_", "ZENML_ACTIVE"))]:
            patch.delenv(name)
        own = {"ZENML_CONFIG_PATH": str(folder / "client"), "HOME": str(folder), "ZENML_LOGGING_VERBOSITY": "INFO"}
        for name, value in (environment | zenml.environment | own).items():
            patch.setenv(name, value)
        patch.syspath_prepend(folder / "project")
        patch.chdir(folder)
        GlobalConfiguration._reset_instance()
        Client._reset_instance()
        source_utils.set_custom_source_root(str(folder / "project"))
        try:
            register(tracking)
            yield importlib.import_module("toy_pipelines")
        finally:
            patch.undo()
            source_utils.set_custom_source_root(before[2])
            GlobalConfiguration._reset_instance(before[0])
            Client._reset_instance(before[1])
            sys.modules.pop("toy_pipelines", None)


def register(tracking: str) -> None:
    from zenml.client import Client

    from stacks.aws.registration import register
    from stacks.aws.values import AwsValues
    from stacks.server import check_server

    check_server()  # which is no local one
    boto3.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    values = AwsValues(
        region=cloud.REGION,
        bucket="artifacts",
        registry="127.0.0.1:9",
        execution_role="arn:aws:iam::123456789012:role/steps",
        tracking_uri=f"http://{tracking}",
    )
    assert register(values, {}) == ["aws", "aws-local"]
    Client().activate_stack("aws")


def handed_over(pipeline: Any, folder: Path, **settings: Any) -> tuple[Any, Any]:
    """Start a pipeline as training is started; the run, and the job of its only step."""
    from pipelines.remote_run import for_steps_elsewhere

    folder.mkdir(exist_ok=True)
    said = {"parameters": {"folder": str(folder)}, "settings": {"docker": {"skip_build": True, "parent_image": IMAGE}}}
    (folder / "run.yaml").write_text(for_steps_elsewhere(yaml.safe_dump(said | settings)))
    run = pipeline.with_options(config_path=str(folder / "run.yaml"))()
    sagemaker = boto3.client("sagemaker")
    execution = run_metadata(run)["pipeline_execution_arn"]
    name = execution.split("/")[1]
    (job,) = json.loads(sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"])["Steps"]
    return run, job | {"Execution": execution}


def run_metadata(run: Any) -> dict[str, str]:
    from zenml.client import Client

    return Client().get_pipeline_run(run.id).run_metadata


def started(job: dict[str, Any], folder: Path) -> subprocess.Popen:
    """Start the job as SageMaker would, in an empty folder."""
    algorithm = job["Arguments"]["AlgorithmSpecification"]
    command = [*algorithm["ContainerEntrypoint"], *algorithm["ContainerArguments"]]
    given = {
        name: job["Execution"] if isinstance(value, dict) else value
        for name, value in job["Arguments"]["Environment"].items()
    }
    work = folder / f"machine-{time.monotonic_ns()}"
    work.mkdir()
    kept = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "HOME": str(work)}
    kept |= {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}  # what the image would bring
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=work,
        env=kept | given | {"ZENML_CONFIG_PATH": str(work / "zenml")},
        stdout=(work / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )


def begin_step(run: Any) -> None:
    """Tell the server that the only step begins, as every machine does first."""
    from zenml.client import Client
    from zenml.enums import ExecutionStatus
    from zenml.models import StepRunRequest
    from zenml.utils.time_utils import utc_now

    client = Client()
    request = StepRunRequest(
        name="count",
        pipeline_run_id=run.id,
        status=ExecutionStatus.RUNNING,
        start_time=utc_now(),
        project=client.active_project.id,
    )
    client.zen_store.create_run_step(request)


def attempts(folder: Path) -> int:
    path = folder / "attempts"
    return len(path.read_text()) if path.exists() else 0


def statuses(run: Any) -> list[str]:
    from zenml.client import Client

    found = Client().list_run_steps(pipeline_run_id=run.id, sort_by="asc:created", exclude_retried=False)
    return [str(step.status) for step in found.items]


def test_an_interrupted_step_begins_again_and_a_finished_one_does_not(toy: ModuleType, tmp_path: Path) -> None:
    from pipelines.remote_run import wait_for

    run, job = handed_over(toy.counting, tmp_path / "a", retry={"max_retries": 1})
    machine = job["Arguments"]["ResourceConfig"]
    assert machine["KeepAlivePeriodInSeconds"] == 0  # no warm pool, of which new accounts have none
    assert job["Arguments"]["OutputDataConfig"] == {"S3OutputPath": "s3://artifacts/diascope/sagemaker"}
    assert "DebugHookConfig" not in job["Arguments"]

    first = started(job, tmp_path / "a")
    cloud.until(lambda: attempts(tmp_path / "a") == 1, "the first attempt")
    first.send_signal(signal.SIGKILL)  # a spot instance goes away
    first.wait(30)
    assert statuses(run) == ["running"]
    assert started(job, tmp_path / "a").wait(120) == 0  # SageMaker begins the job again
    assert attempts(tmp_path / "a") == 2
    assert wait_for(run).status.value == "completed"
    assert statuses(run) == ["retried", "completed"]

    with pytest.raises(EntityExistsError, match="already exists"):  # before any code of the step
        begin_step(run)


def test_the_server_counts_every_start_of_a_step(toy: ModuleType, tmp_path: Path) -> None:
    """Why retries are asked for: without them, a step that a spot instance has lost may not begin again."""
    for expected, settings in ((1, {"retry": None}), (4, {})):
        run, _ = handed_over(toy.counting, tmp_path / str(expected), **settings)
        for _ in range(expected):
            begin_step(run)
        with pytest.raises(EntityExistsError, match="exceeded the maximum number of retries"):
            begin_step(run)


def test_a_wrong_input_found_elsewhere_is_the_same_sentence_as_here(toy: ModuleType, tmp_path: Path) -> None:
    from pipelines.remote_run import wait_for

    run, job = handed_over(toy.refusing, tmp_path / "c", retry={"max_retries": 1, "delay": 0})
    player = threading.Thread(target=lambda: started(job, tmp_path / "c").wait(120))
    player.start()
    with pytest.raises(InputError, match=r"^dataset\.source: there is no image in it$"):
        wait_for(run)
    player.join()
    assert (tmp_path / "c" / "refused").read_text() == "xx"


def test_who_stops_waiting_is_told_how_to_go_on(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import remote_run

    run, job = handed_over(toy.counting, tmp_path / "d")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote_run.time, "sleep", interrupt)
    with pytest.raises(remote_run.Detached) as raised:
        remote_run.wait_for(run)
    said = str(raised.value)
    assert f"the run {run.name} goes on elsewhere" in said
    assert f"/runs/{run.id}" in said
    assert f"`aws sagemaker stop-pipeline-execution --pipeline-execution-arn {job['Execution']}`" in said


def test_a_machine_that_never_started_ends_the_waiting(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto calls every execution a success, so what SageMaker would say of this one is put into its mouth."""
    from zenml.enums import ExecutionStatus
    from zenml.integrations.aws.orchestrators import SagemakerOrchestrator

    from pipelines import remote_run
    from pipelines.remote_failure import RunFailed

    run, _ = handed_over(toy.counting, tmp_path / "e")
    failed = {"StepName": "count", "FailureReason": "ClientError: Please ensure that the image exists.  "}
    answers = SimpleNamespace(
        list_pipeline_execution_steps=lambda **_: {"PipelineExecutionSteps": [failed]},
        describe_pipeline_execution=lambda **_: {"PipelineExecutionStatus": "Failed"},
    )
    session = property(lambda _: SimpleNamespace(sagemaker_client=answers))
    monkeypatch.setattr(SagemakerOrchestrator, "sagemaker_session", session)
    monkeypatch.setattr(remote_run, "ASK_ORCHESTRATOR", 0.0)
    monkeypatch.setattr(remote_run, "POLL", 0.1)
    with pytest.raises(RunFailed, match=r"failed on the stack 'aws': count: ClientError: Please ensure that the image"):
        remote_run.wait_for(run)
    from zenml.client import Client

    assert Client().get_pipeline_run(run.id).status == ExecutionStatus.FAILED


def test_a_server_that_is_away_for_a_moment_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import remote_run

    answers = iter([RuntimeError("no connection"), ConnectionResetError(), "run"])
    monkeypatch.setattr(remote_run, "POLL", 0.0)

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert remote_run._patiently(ask) == "run"
    monkeypatch.setattr(remote_run, "PATIENCE", -1.0)
    answers = iter([RuntimeError("no connection")])
    with pytest.raises(InputError, match=r"no longer answers .*the run goes on without being watched"):
        remote_run._patiently(ask)


def test_a_login_that_ends_meanwhile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from zenml.exceptions import CredentialsNotValid

    from pipelines import remote_run

    def ask() -> None:
        raise CredentialsNotValid("token expired")

    with pytest.raises(InputError, match=r"no longer lets us in .*token expired.*the run goes on .*`zenml login`"):
        remote_run._patiently(ask)


@pytest.mark.parametrize("problem", ["RuntimeError", "OSError", "AuthorizationException"])
def test_a_connector_that_gives_nothing_for_a_moment_does_not_end_the_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: str
) -> None:
    from zenml import exceptions

    from pipelines import remote_run

    kinds: dict[str, type[Exception]] = {"RuntimeError": RuntimeError, "OSError": ConnectionResetError}

    class Orchestrator:
        def fetch_status(self, _: Any) -> None:
            raise kinds.get(problem, exceptions.AuthorizationException)("no connection")

    monkeypatch.setattr(remote_run, "active_orchestrator", Orchestrator)
    remote_run._ask_orchestrator(SimpleNamespace())  # type: ignore[arg-type]
    assert "no connection). The run is still waited for." in capsys.readouterr().err


def test_that_sagemaker_does_not_say_why_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    from pipelines import remote_failure

    def refused(**_: Any) -> None:
        said = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
        raise ClientError(said, "ListPipelineExecutionSteps")

    client = SimpleNamespace(list_pipeline_execution_steps=refused)
    orchestrator = SimpleNamespace(sagemaker_session=SimpleNamespace(sagemaker_client=client))
    monkeypatch.setattr(remote_failure, "active_orchestrator", lambda: orchestrator)
    run = SimpleNamespace(run_metadata={"pipeline_execution_arn": "arn:of:it"})
    said = remote_failure._reason(run)  # type: ignore[arg-type]
    assert said.startswith("its logs say why (Asking SageMaker why the run failed failed: access is denied to ")


def test_what_a_configuration_says_goes_before_what_is_added() -> None:
    from pipelines.remote_run import for_steps_elsewhere

    bare = yaml.safe_load(for_steps_elsewhere("{}"))
    assert bare["retry"] == {"max_retries": 3, "delay": 10, "backoff": 2}
    assert bare["settings"]["orchestrator.sagemaker"]["synchronous"] is False
    own = {"instance_type": "ml.c5.xlarge", "synchronous": True, "estimator_args": {"max_wait": 5}}
    said = {"retry": {"max_retries": 1}, "settings": {"orchestrator.sagemaker": own, "resources": {"cpu_count": 1}}}
    found = yaml.safe_load(for_steps_elsewhere(yaml.safe_dump(said)))
    assert found["retry"] == {"max_retries": 1}
    sagemaker = found["settings"]["orchestrator.sagemaker"]
    assert sagemaker | own == sagemaker | {"estimator_args": own["estimator_args"]}
    assert sagemaker["estimator_args"] == {"disable_profiler": True, "debugger_hook_config": False, "max_wait": 5}
    assert found["settings"]["resources"] == {"cpu_count": 1}
