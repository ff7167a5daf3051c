"""How is a deployment run, and what came of it?"""

from diascope.deployment import Deployment, Release


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
    from pipelines.finished import Finished

    configured = deployment.with_options(model=Model(name=release.name, version=release.version))
    run = configured(release, container=container, push=container and _has_registry(), fresh=fresh)
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
        seconds=finished.seconds,
        step_seconds=finished.step_seconds,
    )


def _has_registry() -> bool:
    from zenml.client import Client

    return Client().active_stack.container_registry is not None
