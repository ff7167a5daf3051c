"""Why has a run elsewhere failed?"""

from typing import TYPE_CHECKING, Any

from diascope.errors import InputError
from diascope.failures import lost_tracking

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse
    from zenml.orchestrators import BaseOrchestrator

INPUT_ERROR = f"{InputError.__module__}.{InputError.__qualname__}"
LONGEST = 400  # characters of what a step said; the rest is in its logs
UNKNOWN = "its logs say why"


class RunFailed(RuntimeError):
    """A run elsewhere has failed; the message is one sentence with the step and what it said."""


def why_failed(run: "PipelineRunResponse") -> InputError | RunFailed:
    """Return the error that a failed run ends with: what the step raised, or what the orchestrator says."""
    failed = next((step for step in run.steps.values() if step.status.is_failed), None)
    on = f"on the stack {run.stack.name!r}" if run.stack else "elsewhere"
    if failed is None:
        return RunFailed(f"The run {run.name} has {run.status.value} {on}: {_reason(run)}. {where(run)}".rstrip())
    kind, message = _raised(failed)
    if kind == INPUT_ERROR:
        return InputError(message)
    short = kind.rpartition(".")[2]
    said = lost_tracking(short, message) or ": ".join(filter(None, (short, _line(message)))) or _reason(run)
    return RunFailed(f"Step {failed.name!r} failed {on}: {said}. {where(run)}".rstrip())


def where(run: "PipelineRunResponse") -> str:
    """Return where a person looks: the dashboard's address, where there is a dashboard."""
    from zenml.utils.dashboard_utils import get_run_url

    url = get_run_url(run)
    return f"Look at {url} for more." if url else ""


def execution(run: "PipelineRunResponse") -> str:
    """Return the ARN of a run's execution on SageMaker; "" on other orchestrators."""
    return str(run.run_metadata.get("pipeline_execution_arn", ""))


def active_orchestrator() -> "BaseOrchestrator":
    """Return the orchestrator of the active stack."""
    from zenml.client import Client

    return Client().active_stack.orchestrator


def _raised(step: "StepRunResponse") -> tuple[str, str]:
    information = step.exception_info
    return (information.source or "", information.message or "") if information else ("", "")


def _reason(run: "PipelineRunResponse") -> str:
    """Why SageMaker has given up, such as an image that it cannot pull or a machine that is not to be had."""
    arn = execution(run)
    if not arn:
        return UNKNOWN
    from diascope import aws

    orchestrator: Any = active_orchestrator()
    latest = {"SortOrder": "Descending", "MaxResults": 100}  # without it, the ten that began first
    try:
        with aws.explained("Asking SageMaker why the run failed"):
            client = orchestrator.sagemaker_session.sagemaker_client
            steps = client.list_pipeline_execution_steps(PipelineExecutionArn=arn, **latest)["PipelineExecutionSteps"]
            whole = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    except InputError as error:  # that the run has failed is what must be told
        return f"{UNKNOWN} ({_line(str(error))})"
    reasons = [f"{each['StepName']}: {each['FailureReason']}" for each in steps if each.get("FailureReason")]
    return _line((reasons or [whole.get("FailureReason") or UNKNOWN])[0])


def _line(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
