"""How is a deployment run, and what did it leave behind? Read back from its artifacts."""

from typing import TYPE_CHECKING, Any

from diascope.deployment import Deployment, Release

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse


def active_stack() -> str:
    """Return the name of the stack that a deployment runs on."""
    from zenml.client import Client

    return Client().active_stack_model.name


def step_names(container: bool) -> list[str]:
    """Return the steps in order."""
    steps = ["load_production", "check_parity", "write_card", "build_bento"]
    return steps + ["build_image", "smoke_test"] * container + ["push_image"] * (container and _has_registry())


def deploy(release: Release, *, container: bool, fresh: bool) -> Deployment:
    """Package a release, into a container if asked for; with `fresh` every layer of its image is built anew."""
    from zenml import Model

    from pipelines.deployment import deployment

    configured = deployment.with_options(model=Model(name=release.name, version=release.version))
    run = configured(release, container=container, push=container and _has_registry(), fresh=fresh)
    assert run is not None  # only a schedule starts none
    return read_deployment(run, release)


def read_deployment(run: "PipelineRunResponse", release: Release) -> Deployment:
    """Return a finished deployment in the words of its summary."""
    from zenml.client import Client

    run = Client().get_pipeline_run(run.id)
    steps, started = run.steps, run.start_time

    def output(step: str, name: str) -> Any:
        return steps[step].outputs[name][0].load() if step in steps else None

    return Deployment(
        run_name=run.name,
        status=str(run.status.value),
        stack=run.stack.name if run.stack else "",
        release=release,
        parity=output("check_parity", "parity"),
        bento=output("build_bento", "bento"),
        image=output("build_image", "image"),
        smoke=output("smoke_test", "smoke"),
        pushed=output("push_image", "pushed_image"),
        seconds=(run.end_time - started).total_seconds() if run.end_time and started else 0.0,
        step_seconds={name: _seconds(step) for name, step in steps.items()},
    )


def _has_registry() -> bool:
    from zenml.client import Client

    return Client().active_stack.container_registry is not None


def _seconds(step: Any) -> float:
    return float((step.end_time - step.start_time).total_seconds()) if step.end_time and step.start_time else 0.0
