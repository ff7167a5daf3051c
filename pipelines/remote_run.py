"""How is a run submitted whose steps run elsewhere, and how is it waited for?"""

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from diascope import aws
from diascope.errors import InputError
from diascope.failures import in_a_line
from pipelines.remote_failure import active_orchestrator, execution, where, why_failed

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse

POLL = 5.0  # seconds between looks at the run
ASK_ORCHESTRATOR = 60.0  # seconds between questions to the orchestrator, which knows of machines that never started
PATIENCE = 600.0  # seconds that ZenML's server may be away for, as while it is upgraded
# Not more: the server counts every start of a step, those after a spot interruption included. See docs/stacks.md.
RETRY = {"max_retries": 3, "delay": 10, "backoff": 2}
SAGEMAKER = "orchestrator.sagemaker"
ON_SAGEMAKER: dict[str, Any] = {
    "synchronous": False,  # ZenML gives up waiting after 50 minutes
    "keep_alive_period_in_seconds": 0,  # ZenML's 300 ask for warm pools: new accounts have none, spot may have none
    "estimator_args": {"disable_profiler": True, "debugger_hook_config": False},  # they write into the bucket
}
T = TypeVar("T")

logger = logging.getLogger("zenml.diascope")  # what shows the steps of a run listens to ZenML's loggers


class Detached(KeyboardInterrupt):
    """Somebody no longer waits for a run that goes on elsewhere; the message says how to look at it and stop it."""


def for_steps_elsewhere(configuration: str) -> str:
    """Return a run configuration (YAML) for an orchestrator that runs steps elsewhere.

    Steps are tried again, because machines go away. What the configuration itself says goes before all of this.
    """
    document = yaml.safe_load(configuration)
    document.setdefault("retry", dict(RETRY))
    said = document.setdefault("settings", {}).get(SAGEMAKER, {})
    arguments = ON_SAGEMAKER["estimator_args"] | said.get("estimator_args", {})
    document["settings"][SAGEMAKER] = ON_SAGEMAKER | said | {"estimator_args": arguments}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def wait_for(run: "PipelineRunResponse") -> "PipelineRunResponse":
    """Wait until a run has ended, showing its steps; one that has ended is returned at once.

    Raises
    ------
    InputError: a step has refused its input, or ZenML's server stays away.
    RunFailed: a step, or the orchestrator, has failed.
    Detached: interrupted; the run goes on.
    """
    try:
        run = _ended(run)
    except KeyboardInterrupt:
        raise Detached(_how_to_go_on(run)) from None
    if not run.status.is_successful:
        raise why_failed(run)
    return run


def _ended(run: "PipelineRunResponse") -> "PipelineRunResponse":
    shown: dict[str, str] = {}
    asked = time.monotonic()
    run = _fresh(run)
    if not run.status.is_finished:
        print(f"Run {run.name} was handed over; machines take minutes to start. {where(run)}".rstrip(), file=sys.stderr)
    while not run.status.is_finished:
        _show(run, shown)
        time.sleep(POLL)
        if time.monotonic() - asked > ASK_ORCHESTRATOR:
            asked = time.monotonic()
            _ask_orchestrator(run)
        run = _fresh(run)
    _show(run, shown)
    return run


def _fresh(run: "PipelineRunResponse") -> "PipelineRunResponse":
    from zenml.client import Client

    return _patiently(lambda: Client().get_pipeline_run(run.id))


def _patiently(ask: Callable[[], T]) -> T:
    """ZenML's server may be away for a while; the steps wait for it too."""
    from zenml.exceptions import AuthorizationException

    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except AuthorizationException as error:  # a login that has ended meanwhile
            raise InputError(
                f"The ZenML server no longer lets us in ({in_a_line(error)}): the run goes on without being watched; "
                "`zenml login` again, and the same command goes on from there."
            ) from error
        except (RuntimeError, OSError) as error:  # ZenML makes the one or the other of a failed connection
            if time.monotonic() > end:
                raise InputError(
                    f"The ZenML server no longer answers ({error}): the run goes on without being watched; start the "
                    "server, and the same command goes on from there."
                ) from error
            time.sleep(POLL)


def _show(run: "PipelineRunResponse", shown: dict[str, str]) -> None:
    """Say what has begun and ended since the last look, in ZenML's words, which the display reads."""
    said = {
        "running": "Step `{}` has started.",
        "cached": "Using cached version of step `{}`.",
        "completed": "Step `{}` has finished in {:.0f}s.",
        "failed": "Failed to run step `{}`: see its logs.",
    }
    for name, step in run.steps.items():
        status = str(step.status.value)
        if status != shown.get(name) and status in said:
            if status == "completed" and name not in shown:
                logger.info(said["running"].format(name))
            logger.info(said[status].format(name, _seconds(step)))
        shown[name] = status


def _seconds(step: "StepRunResponse") -> float:
    return (step.end_time - step.start_time).total_seconds() if step.end_time and step.start_time else 0.0


def _ask_orchestrator(run: "PipelineRunResponse") -> None:
    """Take over that the orchestrator has given up; that it is done, the steps say themselves."""
    from zenml.enums import ExecutionStatus
    from zenml.exceptions import AuthorizationException
    from zenml.utils.run_utils import refresh_run_status

    try:
        with aws.explained("Asking the orchestrator how the run is doing"):
            status, _ = active_orchestrator().fetch_status(run)
    except NotImplementedError:  # the steps alone say
        return
    except InputError as error:
        print(f"{error} The run goes on, and is still waited for.", file=sys.stderr)
        return
    except (AuthorizationException, RuntimeError, OSError) as error:  # the stack's connector gives no credentials now
        print(f"The orchestrator cannot be asked ({in_a_line(error)}). The run is still waited for.", file=sys.stderr)
        return
    if status in (ExecutionStatus.FAILED, ExecutionStatus.STOPPED):
        time.sleep(POLL)  # the step's own account of it comes first
        if not _fresh(run).status.is_finished:
            _patiently(lambda: refresh_run_status(run))


def _how_to_go_on(run: "PipelineRunResponse") -> str:
    stop = (
        f"`aws sagemaker stop-pipeline-execution --pipeline-execution-arn {execution(run)}`"
        if execution(run)
        else f"`zenml pipeline runs stop {run.id}`"
    )
    return (
        f"No longer waiting, but the run {run.name} goes on elsewhere. {where(run)} It is stopped with {stop}; once "
        "it has ended, the same command takes its results from there."
    ).replace("  ", " ")
