"""The AWS side, proved without an account: the demo on three stacks, against servers that speak the real protocols.

On stack `aws` SageMaker is asked to run the pipeline; the player then runs what it was asked, in containers of the
image that was pushed, with one of them killed in the middle. On `aws-local` and under ZenML's local_docker orchestrator
the steps run by themselves.
"""

import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloud
import pytest
import sagemaker_player
from engine import on_its_network
from sagemaker_player import Job

from diascope import docker

ROOT = Path(__file__).resolve().parent.parent
BUCKET, ROLE = "diascope-proof", f"arn:aws:iam::{sagemaker_player.ACCOUNT}:role/diascope-steps"
KILLED = "train_mobilenet_random"
DAG = {
    "ingest_data": set(),
    "check_data": {"ingest_data"},
    "base_model_compact_cnn": set(),
    "base_model_mobilenet_random": set(),
    "extract_features_mobilenet_random": {"ingest_data", "base_model_mobilenet_random"},
    "group_images": {"ingest_data", "extract_features_mobilenet_random"},
    "explore_data": {"ingest_data", "group_images", "extract_features_mobilenet_random"},
    "train_compact_cnn": {"ingest_data", "base_model_compact_cnn", "group_images"},
    "train_mobilenet_random": {
        *("ingest_data", "base_model_mobilenet_random", "group_images", "extract_features_mobilenet_random"),
    },
    "select_model": {
        *("ingest_data", "base_model_compact_cnn", "base_model_mobilenet_random", "group_images"),
        *("extract_features_mobilenet_random", "train_compact_cnn", "train_mobilenet_random"),
    },
    "evaluate_model": {"ingest_data", "select_model", "train_compact_cnn", "train_mobilenet_random"},
    "promote_model": {"ingest_data", "evaluate_model"},
}
# The smaller candidate of the demo alone: every kind of step, each in a container, one after the other.
ONE_CANDIDATE = "{name: mobilenet_random, backbone: MobileNetV2, alpha: 0.35, weights: none, image_sizes: [96]}"


def missing() -> str:
    if sys.platform != "linux":
        return "containers reach what listens on this machine on Linux alone"
    if docker.find_engine() is None:
        return "no Docker engine answers"
    return "" if shutil.which("docker-registry") else "there is no docker-registry to push to"


pytestmark = [pytest.mark.aws, pytest.mark.skipif(bool(missing()), reason=missing())]


@dataclass
class Cloud:
    """The stand-ins, and a client of them that knows nothing of whoever runs the tests."""

    folder: Path
    aws: str
    registry: str
    mlflow: str
    zenml: cloud.ZenMLServer

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("AWS_", "ZENML_", "MLFLOW_", "DIASCOPE_AWS_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        said = {
            "HOME": str(self.folder),
            "ZENML_ANALYTICS_OPT_IN": "false",
            "DIASCOPE_CACHE": str(self.folder / "cache"),
            "DOCKER_BUILDKIT": "1",
            "DIASCOPE_AWS_REGION": cloud.REGION,
            "DIASCOPE_AWS_BUCKET": BUCKET,
            "DIASCOPE_AWS_REGISTRY": self.registry,
            "DIASCOPE_AWS_EXECUTION_ROLE": ROLE,
            "DIASCOPE_AWS_CONNECTOR": "environment",
            "DIASCOPE_AWS_TRACKING_URI": self.mlflow,
            "DIASCOPE_AWS_ENDPOINT_URL": self.aws,
        }
        return kept | cloud.aws_environment(self.aws) | self.zenml.environment | said

    def start(self, *arguments: str, client: str = "aws") -> subprocess.Popen:
        """Start Python as a user would, in a folder that holds nothing; each client has an active stack of its own."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment
            | {"PYTHONPATH": str(ROOT), "ZENML_CONFIG_PATH": str(self.folder / f"client-{client}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *arguments: str, client: str = "aws") -> str:
        """Do the same, and give what it printed when it is done."""
        process = self.start(*arguments, client=client)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, f"{arguments} ended with {process.returncode}:\n{out[-2000:]}\n{err[-4000:]}"
        return out

    def zenml_command(self, *arguments: str, client: str = "aws") -> str:
        return self.call(str(Path(sys.executable).parent / "zenml"), *arguments, client=client)

    def train(self, stack: str, *arguments: str) -> dict[str, Any]:
        """Train on a stack; the result that run.py prints."""
        self.zenml_command("stack", "set", stack, client=stack)
        out = self.call(str(ROOT / "run.py"), "--training", "--config", "demo", "--json", *arguments, client=stack)
        return json.loads(out.strip().splitlines()[-1])

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.aws,
            region_name=cloud.REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The servers, started at once, with what a Terraform run would have made in an empty account."""
    folder = tmp_path_factory.mktemp("cloud")
    before = step_images()
    with on_its_network(), ExitStack() as stack, ThreadPoolExecutor() as pool:
        starting = [cloud.moto(folder), cloud.registry(folder), cloud.mlflow_server(folder)]
        started = [pool.submit(stack.enter_context, each) for each in starting]
        aws = started[0].result()
        zenml = stack.enter_context(cloud.zenml_server(folder, cloud.aws_environment(aws)))
        made = Cloud(folder, aws, *(each.result() for each in started[1:]), zenml)
        place = {"LocationConstraint": cloud.REGION}
        made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made.client("iam").create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=policy)
        made.call("-m", "stacks.aws")
        yield made
        for name in step_images() - before:  # the names alone: the next time nothing is built anew
            subprocess.run(["docker", "rmi", "--force", "--no-prune", name], capture_output=True, check=False)


def step_images() -> set[str]:
    """Names of images of steps that the engine has."""
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in found if ":steps-" in name}


@dataclass(frozen=True)
class Played:
    """A run on SageMaker, as far as there is one here."""

    definition: str
    jobs: dict[str, Job]
    execution: str
    order: list[str]
    result: dict[str, Any]
    statuses: list[int]  # of the job that was killed: each time it ran


@pytest.fixture(scope="module")
def played(stands: Cloud) -> Played:
    """`run.py --training` on stack `aws`: what SageMaker was asked for, and what came of it."""
    stands.zenml_command("stack", "set", "aws")
    return play(stands, "--training", "--config", "demo", "--json")


def play(stands: Cloud, *arguments: str, kill: str = KILLED) -> Played:
    process = stands.start(str(ROOT / "run.py"), *arguments)
    try:
        definition, execution = sagemaker_player.wait_for_execution(stands.client("sagemaker"), process)
        jobs = sagemaker_player.read_jobs(definition, execution)
        statuses: list[int] = []
        with sagemaker_player.player(stands.folder / "jobs", stands.aws) as player:

            def do(job: Job) -> None:
                if job.name == kill:
                    statuses.append(player.run(job, stop_when="has started"))
                player.play(job)

            order = sagemaker_player.in_order(jobs, do)
        out, err = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 0, err[-4000:]
    result = json.loads(out.strip().splitlines()[-1])
    return Played(definition, {job.name: job for job in jobs}, execution, order, result, statuses)


# What SageMaker was asked to do


def test_the_pipeline_has_the_steps_of_the_experiment_in_their_order(played: Played) -> None:
    assert {name: set(job.after) for name, job in played.jobs.items()} == DAG
    assert set(played.order) == set(DAG)


def test_every_step_starts_as_zenml_starts_it_on_sagemaker(played: Played) -> None:
    for name, job in played.jobs.items():
        module = "zenml.integrations.aws.orchestrators.sagemaker_orchestrator_entrypoint_config"
        assert job.command[:3] == ("python", "-m", "zenml.entrypoints.entrypoint")
        said = dict(zip(job.command[3::2], job.command[4::2], strict=True))
        assert said["--entrypoint_config_source"] == f"{module}.SagemakerEntrypointConfiguration"
        assert said["--step_name"] == name
        assert job.environment["ZENML_SAGEMAKER_RUN_ID"] == played.execution
    assert len({job.command[6] for job in played.jobs.values()}) == 1  # one snapshot


def test_every_step_has_the_machine_that_the_experiment_names(played: Played) -> None:
    for job in played.jobs.values():
        assert (job.instance_type, job.volume_gb, job.seconds) == ("ml.m5.large", 30, 1800)
        assert job.tags == {"project": "diascope", "experiment": "demo"}
        assert job.role == ROLE
        assert job.kept_seconds == 0  # new accounts have a quota of 0 for more


def test_every_step_has_the_pushed_image_by_its_digest(played: Played, stands: Cloud) -> None:
    (image,) = {job.image for job in played.jobs.values()}
    name, _, digest = image.partition("@")
    assert name == f"{stands.registry}/diascope-steps"
    url = f"http://{stands.registry}/v2/diascope-steps/manifests/{digest}"
    accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    with cloud.DIRECT.open(urllib.request.Request(url, headers=accepted)) as response:
        layers = json.loads(response.read())["layers"]
    packed = sum(layer["size"] for layer in layers) / 1e6
    assert packed < 900, f"{packed:.0f} MB to pull for every step"


def test_nothing_of_this_machine_is_in_what_sagemaker_was_told(played: Played, stands: Cloud) -> None:
    for local in (str(ROOT), str(stands.folder), str(Path.home()), "AWS_", stands.zenml.api_key):
        assert local not in played.definition


def test_the_code_that_steps_fetch_is_what_git_knows(played: Played, stands: Cloud) -> None:
    bucket = stands.client("s3")
    (found,) = bucket.list_objects_v2(Bucket=BUCKET, Prefix="code_uploads/")["Contents"]
    assert found["Size"] < 20e6
    packed = bucket.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
    assert {"run.py", "steps/ingest_data.py", "diascope/classifier.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", ".zen")) or "__pycache__" in name]


# What came of it


def test_the_run_has_completed_on_stack_aws(played: Played) -> None:
    assert (played.result["status"], played.result["stack"]) == ("completed", "aws")
    assert set(played.result["seconds"]["steps"]) == set(DAG)
    assert played.result["model"]["stage"] == "production"


def test_a_step_whose_machine_went_away_was_run_again(played: Played) -> None:
    assert played.statuses == [137]  # killed; the player then started it anew, as SageMaker does


def test_every_artifact_lies_in_the_bucket(played: Played, stands: Cloud) -> None:
    program = (
        "import json; from zenml.client import Client; steps = Client().get_pipeline_run({!r}).steps.values();"
        "print(json.dumps([one.uri for step in steps for found in step.outputs.values() for one in found]))"
    )
    addresses = json.loads(stands.call("-c", program.format(played.result["run_name"])).strip().splitlines()[-1])
    assert len(addresses) >= len(DAG)
    bucket = stands.client("s3")
    for address in addresses:
        assert address.startswith(f"s3://{BUCKET}/")
        assert bucket.list_objects_v2(Bucket=BUCKET, Prefix=address.removeprefix(f"s3://{BUCKET}/"))["KeyCount"]


def test_the_remote_mlflow_has_the_metrics_and_the_champion(played: Played, stands: Cloud) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(stands.mlflow)
    version = client.get_model_version_by_alias(played.result["model"]["name"], "champion")
    logged = client.get_run(version.run_id).data
    assert logged.metrics["test_auroc"] == played.result["test"]["auroc"]
    assert logged.params["winner"] == played.result["winner"]["name"]


def test_what_is_finished_is_never_run_again(played: Played, stands: Cloud) -> None:
    again = play(stands, "--training", "--config", "demo", "--json", kill="")
    assert set(again.jobs) == {"promote_model"}, "everything else has its result"
    assert {job.image for job in again.jobs.values()} == {job.image for job in played.jobs.values()}
    assert again.result["test"] == played.result["test"]


# Other ways to run it


@pytest.fixture(scope="module")
def elsewhere(stands: Cloud, played: Played) -> dict[str, dict[str, Any]]:
    """The results on the other stacks, by stack, each run by a client of its own at the same time."""
    settings = json.dumps({"network": "host", "remove": True})
    stands.zenml_command("orchestrator", "register", "docker", "--flavor=local_docker", f"--run_args={settings}")
    stands.zenml_command("experiment-tracker", "register", "mlflow", "--flavor=mlflow")
    stands.zenml_command("image-builder", "register", "docker", "--flavor=local", "--use_subprocess_call=true")
    parts = ("-o", "docker", "-a", "default", "-e", "mlflow", "-i", "docker")
    stands.zenml_command("stack", "register", "docker", *parts)
    said = {
        "aws-local": ("--no-cache", "--set", "promotion.model=diascope-here"),
        "docker": ("--set", f"candidates=[{ONE_CANDIDATE}]", "--set", "promotion.model=diascope-docker"),
    }
    with ThreadPoolExecutor() as pool:
        return dict(zip(said, pool.map(lambda stack: stands.train(stack, *said[stack]), said), strict=True))


def test_steps_that_run_here_use_the_same_bucket_and_mlflow(elsewhere: dict[str, Any], stands: Cloud) -> None:
    from mlflow import MlflowClient

    here = elsewhere["aws-local"]
    assert (here["status"], here["stack"]) == ("completed", "aws-local")
    assert MlflowClient(stands.mlflow).get_model_version_by_alias("diascope-here", "champion")
    assert not [*(stands.folder / "client-aws-local").rglob("*.parquet")]  # nothing stayed on this machine


def test_the_metrics_on_sagemaker_are_those_of_this_machine(played: Played, elsewhere: dict[str, Any]) -> None:
    """Here the steps ran in this environment, whose TensorFlow is another build: the rest is rounding."""
    for part in ("winner", "data", "test", "validation"):
        assert differences(timeless(played.result[part]), timeless(elsewhere["aws-local"][part])) == []


def test_under_local_docker_every_step_runs_in_a_container(elsewhere: dict[str, Any]) -> None:
    result = elsewhere["docker"]
    assert (result["status"], result["stack"]) == ("completed", "docker")
    assert result["seconds"]["steps"]["train_mobilenet_random"] > 0


def timeless(result: Any) -> Any:
    """A result without what a clock says of it."""
    if isinstance(result, dict):
        return {key: timeless(value) for key, value in result.items() if key not in ("seconds", "milliseconds")}
    return result


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two results differ by more than rounding."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted({*ours, *theirs})
        return [line for key in keys for line in differences(ours.get(key), theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = zip(ours, theirs, strict=True)
        return [line for index, pair in enumerate(pairs) for line in differences(*pair, f"{path}.{index}")]
    same = math.isclose(ours, theirs, rel_tol=1e-9) if isinstance(ours, float) and isinstance(theirs, float) else False
    return [] if same or ours == theirs else [f"{path}: {ours} and {theirs}"]
