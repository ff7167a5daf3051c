"""What does `run.py --deployment` do, and where does it end?"""

import argparse
import shlex
import sys

from commands.start import read_configuration, start_zenml
from commands.statuses import DONE
from commands.terminal import print_result, show_steps


def deploy(options: argparse.Namespace) -> int:
    """Package the production model, try it, and serve it where `--target` says."""
    parameters = read_configuration(options).parameters
    container = makes_container(options.target)
    target = _place(options.target, keep=parameters.deployment.container.keep)
    start_zenml(options.debug)
    from diascope.deployment import as_json, print_table
    from pipelines.deployment_run import active_stack, check_push, check_target, step_names
    from pipelines.deployment_run import deploy as run_deployment
    from pipelines.production import find_release
    from stacks.here import use_stack_here

    chosen, stack = active_stack(), use_stack_here()
    if stack != chosen:
        print(f"Stack {chosen!r} has no Docker engine for its steps: this runs on {stack!r}, here.", file=sys.stderr)
    release, settings = find_release(parameters.promotion.model), parameters.deployment
    if target:
        check_target(target, release, settings)
    if container:
        check_push(release)
    doing = f"Deploying {release.tag} to {target}" if target else f"Packaging {release.tag}"
    with show_steps(step_names(container, target), f"{doing} on stack {stack!r}.", options):
        deployment = run_deployment(
            release, container=container, fresh=options.no_cache, target=target, settings=settings
        )
    print_result(deployment, as_json, print_table, options)
    if not container and options.target is None:
        again = _with_container(options)
        print(f"No Docker engine answers here. Where one does, go on with\n  {again}", file=sys.stderr)
    return DONE


def makes_container(target: str | None) -> bool:
    """Whether a container is made on the way there; raises InputError where one is needed and no engine answers."""
    from diascope.docker import find_engine
    from diascope.errors import InputError

    container = target != "bento" and find_engine() is not None
    if target not in (None, "bento") and not container:
        raise InputError("No Docker engine answers: start one, or end at the bento with --target bento.")
    return container


def _place(target: str | None, *, keep: bool) -> str | None:
    """Where the model shall be served, if anywhere: without --target, the container is tried and stopped."""
    return None if target in (None, "bento") or (target == "container" and not keep) else target


def _with_container(options: argparse.Namespace) -> str:
    said = [part for each in options.set for part in ("--set", each)]
    return shlex.join(["python", "run.py", "--deployment", "--config", options.config, *said, "--target", "container"])
