"""How is a deployment run, and what came of it?"""

from diascope.deployment import Deployment, Release
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import InputError
from targets import AWS


def active_stack() -> str:
    """Return the name of the stack that a deployment runs on."""
    from zenml.client import Client

    return Client().active_stack_model.name


def step_names(container: bool, target: str | None) -> list[str]:
    """Return the steps in order."""
    steps = ["load_production", "check_parity", "write_card", "build_bento"]
    steps += ["build_image", "smoke_test"] * container + ["push_image"] * (container and _has_registry())
    return steps + ["deploy_service"] * (target is not None)


def check_target(target: str, release: Release, settings: DeploymentSettings) -> None:
    """Raise InputError where it is known already, before anything is built, that a deployment will not work."""
    from steps.places import open_target

    if target in AWS and not _has_registry():
        raise InputError(
            f"The active stack {active_stack()!r} has no container registry, from which {target} could take the image: "
            "choose a stack that has one with `zenml stack set NAME`."
        )
    open_target(target, settings).check(release.service)


def check_push(release: Release) -> None:
    """Raise InputError where the registry of the active stack, if it has one, will not take the image."""
    from zenml.client import Client

    if not _has_registry():
        return
    from stacks.preflight import check_registry

    stack = Client().active_stack
    assert stack.container_registry is not None
    below = stack.container_registry.config.default_repository
    check_registry(stack, "/".join(part for part in (below, release.service) if part))


def deploy(
    release: Release, *, container: bool, fresh: bool, target: str | None, settings: DeploymentSettings
) -> Deployment:
    """Package a release, into a container if asked for, and serve it at a target, if any.

    With `fresh` every layer of the image is built anew.
    """
    from zenml import Model

    from pipelines.deployment import deployment
    from pipelines.finished import Finished

    configured = deployment.with_options(model=Model(name=release.name, version=release.version))
    run = configured(
        release,
        container=container,
        push=container and _has_registry(),
        fresh=fresh,
        target=target,
        settings=settings,
    )
    assert run is not None  # only a schedule starts none
    finished = Finished.read(run)
    return Deployment(
        run_name=finished.run.name,
        status=str(finished.run.status.value),
        stack=finished.stack,
        release=release,
        parity=finished.output("check_parity", "parity"),
        bento=finished.output("build_bento", "bento"),
        image=finished.output("build_image", "image"),
        smoke=finished.output("smoke_test", "smoke"),
        pushed=finished.output("push_image", "pushed_image"),
        served=finished.output("deploy_service", "served"),
        seconds=finished.seconds,
        step_seconds=finished.step_seconds,
    )


def _has_registry() -> bool:
    from zenml.client import Client

    return Client().active_stack.container_registry is not None
