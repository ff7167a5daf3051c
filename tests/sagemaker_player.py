"""What SageMaker does with a pipeline that was started, done here: its jobs run in containers of their images.

moto records pipelines and executes nothing. The player takes what it recorded and does as SageMaker would: jobs in the
order of their dependencies, each with its own entry point, arguments, environment and role, and nothing of this
machine: no mounts, no variables. The network is the host's, because that is where the stand-ins of the cloud listen.
"""

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cloud

ACCOUNT = "123456789012"  # moto's


@dataclass(frozen=True)
class Job:
    """A training job of a pipeline definition, with what it refers to filled in."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    role: str
    instance_type: str
    volume_gb: int
    seconds: int  # that it may take
    kept_seconds: int  # that the machine is kept afterwards, and paid for
    tags: Mapping[str, str]
    after: frozenset[str]


def read_jobs(definition: str, execution: str) -> list[Job]:
    """Read a pipeline's definition (JSON) for one execution (its ARN), in the order in which it stands there."""
    return [_job(step, execution) for step in json.loads(definition)["Steps"]]


def _job(step: Mapping[str, Any], execution: str) -> Job:
    assert step["Type"] == "Training", step["Type"]
    said = step["Arguments"]
    algorithm, machine = said["AlgorithmSpecification"], said["ResourceConfig"]
    assert machine["InstanceCount"] == 1
    known = {"Execution.PipelineExecutionArn": execution}
    return Job(
        name=step["Name"],
        image=algorithm["TrainingImage"],
        command=(*algorithm["ContainerEntrypoint"], *algorithm["ContainerArguments"]),
        environment={
            name: known[value["Get"]] if isinstance(value, dict) else value
            for name, value in said["Environment"].items()
        },
        role=said["RoleArn"],
        instance_type=machine["InstanceType"],
        volume_gb=machine["VolumeSizeInGB"],
        seconds=said["StoppingCondition"]["MaxRuntimeInSeconds"],
        kept_seconds=machine.get("KeepAlivePeriodInSeconds", 0),
        tags={tag["Key"]: tag["Value"] for tag in said.get("Tags", [])},
        after=frozenset(step.get("DependsOn", ())),
    )


def in_order(jobs: Sequence[Job], do: Callable[[Job], object], at_once: int = 2) -> list[str]:
    """Do every job after those that it depends on, some at a time; the names in the order in which they ended."""
    waiting, ended = {job.name: job for job in jobs}, list[str]()
    running: dict[Future[object], str] = {}
    with ThreadPoolExecutor(at_once) as pool:
        while waiting or running:
            ready = [job for job in waiting.values() if job.after <= set(ended)][: at_once - len(running)]
            for job in ready:
                running[pool.submit(do, waiting.pop(job.name))] = job.name
            assert running, f"these wait for each other or for what is not there: {sorted(waiting)}"
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                done.result()
                ended.append(running.pop(done))
    return ended


@dataclass
class Player:
    """Runs jobs; `seconds` says how long each took, and the folder has what each said."""

    folder: Path
    aws: str  # where AWS is
    credentials: str  # where containers ask for those of their role
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, job: Job, stop_when: str = "") -> int:
        """Run a job once and give its exit status; once it has written `stop_when` its container is killed."""
        name = f"diascope-proof-{uuid.uuid4().hex[:12]}"
        given = {"TRAINING_JOB_NAME": name} | self._given(job) | dict(job.environment)
        variables = [part for key, value in given.items() for part in ("--env", f"{key}={value}")]
        command = ["docker", "run", "--rm", "--name", name, "--network=host", *variables]
        command += ["--entrypoint", job.command[0], job.image, *job.command[1:]]
        start = datetime.now(UTC)
        with (self.folder / f"{job.name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                if stop_when:
                    cloud.until(lambda: stop_when in self.said(job) or process.poll() is not None, "a job to start")
                    time.sleep(2)  # it is at work
                    subprocess.run(["docker", "kill", name], capture_output=True, check=True)
                status = process.wait(600)
            finally:
                subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
        self.seconds[job.name] = (datetime.now(UTC) - start).total_seconds()
        return status

    def play(self, job: Job) -> None:
        """Run a job that must succeed."""
        status = self.run(job)
        assert status == 0, f"{job.name} ended with {status}:\n{self.said(job)[-4000:]}"

    def said(self, job: Job) -> str:
        """What a job has written so far."""
        return (self.folder / f"{job.name}.log").read_text(errors="replace")

    def _given(self, job: Job) -> dict[str, str]:
        """What SageMaker gives every container: the region, and where the credentials of the job's role are."""
        return {
            "AWS_REGION": cloud.REGION,
            "AWS_DEFAULT_REGION": cloud.REGION,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.credentials}?role={job.role}",
            "AWS_ENDPOINT_URL": self.aws,  # no real container needs it: there, AWS is at its own addresses
        }


@contextmanager
def player(folder: Path, aws: str) -> Iterator[Player]:
    """A player, with the server that gives containers the credentials of their role."""
    import boto3

    sts = boto3.client(
        "sts", endpoint_url=aws, region_name=cloud.REGION, aws_access_key_id="sagemaker", aws_secret_access_key="-"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            role = self.path.partition("?role=")[2]
            found = sts.assume_role(RoleArn=role, RoleSessionName="SageMaker")["Credentials"]
            body = {
                "RoleArn": role,
                "AccessKeyId": found["AccessKeyId"],
                "SecretAccessKey": found["SecretAccessKey"],
                "Token": found["SessionToken"],
                "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: a request for every client of every step."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder.mkdir(exist_ok=True)
    try:
        yield Player(folder, aws, f"http://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
        server.server_close()


def wait_for_execution(sagemaker: Any, process: subprocess.Popen) -> tuple[str, str]:
    """The definition of the pipeline that a process has just started, and the ARN of its execution.

    `sagemaker` is a client; raises what the process wrote where it ends before.
    """
    known = _executions(sagemaker)
    found: list[tuple[str, str]] = []

    def started() -> bool:
        found[:] = _executions(sagemaker) - known
        return bool(found) or process.poll() is not None

    cloud.until(started, "a SageMaker pipeline to be started", 400)
    if not found:
        raise RuntimeError(f"no pipeline was started:\n{process.communicate()[1][-4000:]}")
    ((name, execution),) = found
    return str(sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"]), execution


def _executions(sagemaker: Any) -> set[tuple[str, str]]:
    """Names of pipelines and ARNs of their executions."""
    names = [each["PipelineName"] for each in sagemaker.list_pipelines()["PipelineSummaries"]]
    return {
        (name, each["PipelineExecutionArn"])
        for name in names
        for each in sagemaker.list_pipeline_executions(PipelineName=name)["PipelineExecutionSummaries"]
    }
