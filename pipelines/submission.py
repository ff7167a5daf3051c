"""How is a pipeline started with what a configuration says, here or elsewhere?"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines.code import check_code
from pipelines.images import with_images
from pipelines.remote_run import for_steps_elsewhere, wait_for

if TYPE_CHECKING:
    from zenml.enums import ExecutionMode
    from zenml.models import PipelineRunResponse
    from zenml.pipelines.pipeline_definition import Pipeline


def run_pipeline(
    pipeline: "Pipeline", configuration: str, *, cached: bool, model: Any = None, **parameters: Any
) -> "PipelineRunResponse":
    """Run a pipeline as a configuration (YAML) says and wait for its end; `cached` takes results of earlier runs.

    `model` is the version (`zenml.Model`) that the run belongs to. Raises what waiting for the run raises.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "resolved.yaml")
        path.write_text(_for_stack(configuration), encoding="utf-8")
        configured = pipeline.with_options(
            config_path=str(path),
            enable_cache=None if cached else False,
            execution_mode=_execution_mode(),
            **({"model": model} if model else {}),
        )
        run = configured(**parameters)
    assert run is not None  # only a schedule starts none, and the checks refuse it
    return wait_for(run)


def _for_stack(configuration: str) -> str:
    from stacks.here import runs_here

    if runs_here():
        return with_images(configuration)
    check_code()
    return with_images(for_steps_elsewhere(configuration))


def _execution_mode() -> "ExecutionMode":
    """End at the first failure; where the orchestrator cannot (SageMaker), what does not depend on it goes on."""
    from zenml.client import Client
    from zenml.enums import ExecutionMode

    supported = Client().active_stack.orchestrator.supported_execution_modes
    return ExecutionMode.FAIL_FAST if ExecutionMode.FAIL_FAST in supported else ExecutionMode.CONTINUE_ON_FAILURE
