"""Does the stand-in for SageMaker do what SageMaker would? (without containers)"""

import json
import threading

import pytest
from sagemaker_player import Job, in_order, read_jobs

ARN = "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/p/execution/x"


def job(name: str, *after: str) -> Job:
    return Job(name, "image", ("python",), {}, "role", "ml.m5.large", 30, 60, 0, {}, frozenset(after))


def test_a_job_runs_after_those_that_it_depends_on() -> None:
    jobs = [job("d", "b", "c"), job("b", "a"), job("c", "a"), job("a")]
    done: list[str] = []
    order = in_order(jobs, lambda each: done.append(each.name))
    assert order[0] == "a"
    assert order[-1] == "d"
    assert sorted(done) == ["a", "b", "c", "d"]


def test_two_run_at_a_time_and_no_more() -> None:
    running, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2, timeout=10)

    def do(_: Job) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1

    in_order([job(name) for name in "abcd"], do, at_once=2)
    assert most == 2


def test_nothing_runs_after_a_job_that_failed() -> None:
    done: list[str] = []

    def do(each: Job) -> None:
        done.append(each.name)
        assert each.name != "a"

    with pytest.raises(AssertionError):
        in_order([job("a"), job("b", "a")], do)
    assert done == ["a"]


def test_jobs_that_wait_for_each_other_are_told() -> None:
    with pytest.raises(AssertionError, match=r"\['a', 'b'\]"):
        in_order([job("a", "b"), job("b", "a")], lambda _: None)


def test_a_definition_is_read_as_sagemaker_reads_it() -> None:
    arguments = {
        "AlgorithmSpecification": {
            "TrainingImage": "registry/steps@sha256:1",
            "ContainerEntrypoint": ["python", "-m", "entry"],
            "ContainerArguments": ["--step_name", "a"],
        },
        "ResourceConfig": {"InstanceType": "ml.c5.large", "InstanceCount": 1, "VolumeSizeInGB": 40},
        "StoppingCondition": {"MaxRuntimeInSeconds": 90},
        "RoleArn": "role",
        "Environment": {"PLAIN": "x", "RUN": {"Get": "Execution.PipelineExecutionArn"}},
        "Tags": [{"Key": "project", "Value": "diascope"}],
    }
    step = {"Name": "a", "Type": "Training", "DependsOn": ["b"], "Arguments": arguments}
    (found,) = read_jobs(json.dumps({"Steps": [step]}), ARN)
    assert found == Job(
        name="a",
        image="registry/steps@sha256:1",
        command=("python", "-m", "entry", "--step_name", "a"),
        environment={"PLAIN": "x", "RUN": ARN},
        role="role",
        instance_type="ml.c5.large",
        volume_gb=40,
        seconds=90,
        kept_seconds=0,
        tags={"project": "diascope"},
        after=frozenset({"b"}),
    )
