"""Train, compare, evaluate and promote a medical image classifier, and serve it: `python run.py --training`."""

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from diascope.experiment import RunConfiguration

R = TypeVar("R")
ROOT = Path(__file__).resolve().parent
PLACES = ("container", "sagemaker", "lambda", "ecs", "kubernetes")  # that a model is served from
TARGETS = ("bento", *PLACES)
DONE, FAILED, WRONG_INPUT, NOT_PROMOTED, INTERRUPTED = 0, 1, 2, 3, 130
STOPPED = ("RunInterruptedException", "RunStoppedException")  # what ZenML makes of SIGTERM and its dashboard's button
EXIT_STATUS = "Exit status: 0 done, 1 failed, 2 wrong input, 3 not promoted (--require-promotion), 130 interrupted."
GOES_ON = "finished steps are kept, and the same command goes on from there"
STARTS_ANEW = "the same command starts anew"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status."""
    options = _parse(argv)
    act = _action(options)
    again = GOES_ON if options.training else STARTS_ANEW
    try:
        return act(options)
    except KeyboardInterrupt as interrupt:  # the one that ends waiting for a run elsewhere says what becomes of it
        return _say(str(interrupt) or f"Interrupted: {again}.", INTERRUPTED)
    except Exception as error:
        if type(error).__name__ in STOPPED:
            return _say(f"Interrupted: {again}.", INTERRUPTED)
        if options.debug:
            traceback.print_exception(error)
        return _say(*_told(error, again))


def _action(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.deployment:
        return _status if options.status else _delete if options.delete else _deploy
    return _report if options.report else _roll_back if options.rollback else _train


def _told(error: Exception, again: str) -> tuple[str, int]:
    """The sentence and the exit status that an error ends with."""
    from diascope.errors import InputError
    from diascope.failures import find_cause, find_lost_tracking, in_a_line, is_disk_full

    if wrong := find_cause(error, InputError):
        return str(wrong), WRONG_INPUT
    if lost := find_lost_tracking(error):
        return f"{lost}; {again}.", FAILED
    if type(error).__name__ == "RunFailed":
        return f"{error} What was finished is kept: {again}.", FAILED
    if is_disk_full(error):
        return f"The disk is full: free some space; {again}. TMPDIR says where steps work.", FAILED
    return f"The run failed: {in_a_line(error)} (--debug shows where)", FAILED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, epilog=EXIT_STATUS, allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--training", action="store_true", help="train, compare, evaluate and promote")
    action.add_argument("--deployment", action="store_true", help="package the production model, try it, and serve it")
    action.add_argument("--rollback", action="store_true", help="put the model before back into production")
    action.add_argument("--report", action="store_true", help="write the production model's report, print its path")
    add = parser.add_argument
    add("--config", default="demo", metavar="NAME|PATH", help="a file, or a name under configs/ (default: demo)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value, in YAML; repeatable")
    add("--no-cache", action="store_true", help="run every step, and build every layer, also where nothing has changed")
    add("--upload", action="store_true", help="put local images and weights into S3 where steps run elsewhere")
    add("--require-promotion", action="store_true", help="exit with 3 where the model is not promoted")
    add("--target", choices=TARGETS, help="where the model is to serve (default: nowhere, its container is only tried)")
    add("--status", action="store_true", help="with --deployment --target: how the service there is doing")
    add("--delete", action="store_true", help="with --deployment --target: remove the service there")
    add("--json", action="store_true", help="print the result as one JSON object on the last line")
    add("--debug", action="store_true", help="show all logs, and where an error comes from")
    options = parser.parse_args(argv)
    if options.require_promotion and not options.training:
        parser.error("--require-promotion goes with --training: nothing else promotes by the gate")
    if options.upload and not options.training:
        parser.error("--upload goes with --training")
    for name in ("target", "status", "delete"):
        if getattr(options, name) and not options.deployment:
            parser.error(f"--{name} goes with --deployment alone")
    if (options.status or options.delete) and options.target not in PLACES:
        parser.error(f"say which service is meant: --target {', '.join(PLACES[:-1])} or {PLACES[-1]}")
    if options.status and options.delete:
        parser.error("--status and --delete do not go together")
    return options


def _train(options: argparse.Namespace) -> int:
    from diascope.experiment import step_ids
    from diascope.preflight import check_inputs

    configuration = _configuration(options)
    check_inputs(configuration.parameters)
    start_zenml(options.debug)
    from diascope.summary import as_json, print_table
    from stacks.local import ensure_tracking_stack
    from stacks.ready import make_ready

    announced = f"Training {options.config} on stack {ensure_tracking_stack()!r}."
    configuration = make_ready(configuration, upload=options.upload)
    from pipelines.training_run import train  # after the checks: it imports what the steps import

    with _progress(list(step_ids(configuration.parameters.candidates)), announced, options):
        outcome = train(configuration.resolved(), cached=not options.no_cache)
    _print(outcome, as_json, print_table, options)
    refused = not outcome.decision.promoted and outcome.decision.case != "identical"  # which is in production already
    return NOT_PROMOTED if options.require_promotion and refused else DONE


def _deploy(options: argparse.Namespace) -> int:
    parameters = _configuration(options).parameters
    container = _makes_container(options.target)
    target = _place(options.target, keep=parameters.deployment.container.keep)
    start_zenml(options.debug)
    from diascope.deployment import as_json, print_table
    from pipelines.deployment_run import active_stack, check_push, check_target, deploy, step_names
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
    with _progress(step_names(container, target), f"{doing} on stack {stack!r}.", options):
        deployment = deploy(release, container=container, fresh=options.no_cache, target=target, settings=settings)
    _print(deployment, as_json, print_table, options)
    if not container and options.target is None:
        again = _with_container(options)
        print(f"No Docker engine answers here. Where one does, go on with\n  {again}", file=sys.stderr)
    return DONE


def _status(options: argparse.Namespace) -> int:
    parameters = _configuration(options).parameters
    start_zenml(options.debug)
    from diascope.deployment import print_rows
    from pipelines.service import service_status

    status = service_status(parameters.promotion.model, options.target, parameters.deployment)
    _print(status.model_dump(), dict, print_rows, options)
    return FAILED if status.state == "failed" else DONE


def _delete(options: argparse.Namespace) -> int:
    parameters = _configuration(options).parameters
    start_zenml(options.debug)
    from diascope.deployment import print_removed
    from pipelines.service import delete_service

    removed = delete_service(parameters.promotion.model, options.target, parameters.deployment)
    _print({"target": options.target, "removed": removed}, dict, print_removed, options)
    return DONE


def _roll_back(options: argparse.Namespace) -> int:
    configuration = _configuration(options)
    start_zenml(options.debug)
    from pipelines.rollback import Rollback, roll_back
    from stacks.local import ensure_tracking_stack

    ensure_tracking_stack()
    rolled = roll_back(configuration.parameters.promotion.model)
    _print(rolled, Rollback.as_json, lambda done, console: console.print(done.sentence, soft_wrap=True), options)
    return DONE


def _report(options: argparse.Namespace) -> int:
    configuration = _configuration(options)
    start_zenml(options.debug)
    from pipelines.report import report_production

    print(report_production(configuration.parameters.promotion.model))
    return DONE


def _configuration(options: argparse.Namespace) -> "RunConfiguration":
    from diascope.experiment import find_configuration, load

    return load(find_configuration(options.config, ROOT / "configs"), options.set)


def _makes_container(target: str | None) -> bool:
    from diascope.docker import find_engine
    from diascope.errors import InputError

    container = target != "bento" and find_engine() is not None
    if target in PLACES and not container:
        raise InputError("No Docker engine answers: start one, or end at the bento with --target bento.")
    return container


def _place(target: str | None, *, keep: bool) -> str | None:
    """Where the model shall be served, if anywhere: without --target, the container is tried and stopped."""
    return None if target in (None, "bento") or (target == "container" and not keep) else target


def _with_container(options: argparse.Namespace) -> str:
    said = [part for each in options.set for part in ("--set", each)]
    return shlex.join(["python", "run.py", "--deployment", "--config", options.config, *said, "--target", "container"])


def _progress(steps: Sequence[str], announced: str, options: argparse.Namespace) -> AbstractContextManager[object]:
    """Show the steps live on a terminal; elsewhere one line says what begins."""
    from diascope.progress import show_progress

    live = sys.stderr.isatty() and not options.debug
    if not live:
        print(announced, file=sys.stderr)
    return show_progress(steps, live=live, debug=options.debug)


def _print(
    result: R,
    as_json: Callable[[R], dict[str, Any]],
    print_table: Callable[[R, "Console"], None],
    options: argparse.Namespace,
) -> None:
    if options.json:
        import json

        print(json.dumps(as_json(result), allow_nan=False))
    else:
        from rich.console import Console

        print_table(result, Console())


def start_zenml(debug: bool) -> None:
    """Import ZenML with its console logs off unless they were asked for; what a step logs is stored all the same."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "INFO" if debug else "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # a minute; MLflow's own 7 are four
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3")
    os.environ["ZENML_LOGGING_VERBOSITY"] = "DEBUG" if debug else "INFO"  # progress is read from INFO

    import logging

    from zenml.logger import ZenMLConsoleHandler
    from zenml.utils.source_utils import set_custom_source_root

    set_custom_source_root(str(ROOT))  # also where run.py is not the main module
    root = logging.getLogger()
    if not debug:
        root.handlers = [handler for handler in root.handlers if not isinstance(handler, ZenMLConsoleHandler)]
        logging.getLogger("sagemaker.config").setLevel(logging.WARNING)  # where it looks for defaults


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
