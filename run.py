"""Train, compare, evaluate and promote a medical image classifier, and package it: `python run.py --training`."""

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from diascope.summary import Outcome

E = TypeVar("E", bound=Exception)
ROOT = Path(__file__).resolve().parent
TARGETS = ("bento", "container")
FAILED, WRONG_INPUT, NOT_PROMOTED, INTERRUPTED = 1, 2, 3, 130
STOPPED = ("RunInterruptedException", "RunStoppedException")  # what ZenML makes of SIGTERM and its dashboard's button
EXIT_STATUS = "Exit status: 0 done, 1 failed, 2 wrong input, 3 not promoted (--require-promotion), 130 interrupted."
NO_ROOM = 1_000_000  # bytes
AGAIN = "finished steps are kept, and the same command goes on from there"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status."""
    options = _parse(argv)
    from diascope.errors import InputError

    act = _report if options.report else _deploy if options.deployment else _train
    interrupted = f"Interrupted: {'the same command starts anew' if options.deployment else AGAIN}."
    try:
        return act(options)
    except KeyboardInterrupt:
        return _say(interrupted, INTERRUPTED)
    except Exception as error:
        if type(error).__name__ in STOPPED:
            return _say(interrupted, INTERRUPTED)
        if options.debug:
            traceback.print_exception(error)
        wrong = _find_cause(error, InputError)
        if wrong:
            return _say(str(wrong), WRONG_INPUT)
        if _is_disk_full(error):
            return _say(f"The disk is full: free some space, {AGAIN}; TMPDIR says where steps work.", FAILED)
        return _say(f"The run failed: {_sentence(error)} (--debug shows where)", FAILED)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, epilog=EXIT_STATUS, allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--training", action="store_true", help="train, compare, evaluate and promote")
    action.add_argument("--deployment", action="store_true", help="package the production model, and try the container")
    action.add_argument("--report", action="store_true", help="write the production model's report, print its path")
    add = parser.add_argument
    add("--config", default="demo", metavar="NAME|PATH", help="a file, or a name under configs/ (default: demo)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value, in YAML; repeatable")
    add("--no-cache", action="store_true", help="run every step, and build every layer, also where nothing has changed")
    add("--require-promotion", action="store_true", help="exit with 3 where the model is not promoted")
    add("--target", choices=TARGETS, help="where --deployment ends (default: container where a Docker engine answers)")
    add("--json", action="store_true", help="print the result as one JSON object on the last line")
    add("--debug", action="store_true", help="show all logs, and where an error comes from")
    options = parser.parse_args(argv)
    if options.require_promotion and options.deployment:
        parser.error("--require-promotion goes with --training: a deployment promotes nothing")
    if options.target and not options.deployment:
        parser.error("--target goes with --deployment alone")
    return options


def _train(options: argparse.Namespace) -> int:
    from diascope.experiment import find_configuration, load, step_ids
    from diascope.preflight import check_inputs

    configuration = load(find_configuration(options.config, ROOT / "configs"), options.set)
    check_inputs(configuration.parameters)
    start_zenml(options.debug)
    from diascope import summary
    from diascope.progress import show_progress
    from stacks.local import ensure_tracking_stack

    stack = ensure_tracking_stack()
    live = sys.stderr.isatty() and not options.debug
    if not live:
        print(f"Training {options.config} on stack {stack!r}.", file=sys.stderr)
    steps = list(step_ids(configuration.parameters.candidates))
    with show_progress(steps, live=live, debug=options.debug):
        outcome = _run_pipeline(configuration.resolved(), cached=not options.no_cache)
    _print_outcome(outcome, summary, as_json=options.json)
    refused = not outcome.decision.promoted and outcome.decision.case != "identical"  # which is in production already
    return NOT_PROMOTED if options.require_promotion and refused else 0


def _run_pipeline(configuration: str, *, cached: bool) -> "Outcome":
    from tempfile import TemporaryDirectory

    from pipelines.outcome import read_outcome
    from pipelines.training import training

    with TemporaryDirectory() as folder:
        path = Path(folder, "resolved.yaml")
        path.write_text(configuration, encoding="utf-8")
        run = training.with_options(config_path=str(path), enable_cache=None if cached else False)()
    assert run is not None  # only a schedule starts none, and the checks refuse it
    return read_outcome(run)


def _print_outcome(outcome: Any, words: ModuleType, *, as_json: bool) -> None:
    """Print what came out, in the words of the module that has `as_json` and `print_table` for it."""
    if as_json:
        import json

        print(json.dumps(words.as_json(outcome), allow_nan=False))
    else:
        from rich.console import Console

        words.print_table(outcome, Console())


def _deploy(options: argparse.Namespace) -> int:
    from diascope.experiment import find_configuration, load

    configuration = load(find_configuration(options.config, ROOT / "configs"), options.set)
    container = _makes_container(options.target)
    start_zenml(options.debug)
    from diascope import deployment
    from diascope.progress import show_progress
    from pipelines.deployed import active_stack, deploy, step_names
    from pipelines.production import find_release

    release = find_release(configuration.parameters.promotion.model)
    live = sys.stderr.isatty() and not options.debug
    if not live:
        print(f"Packaging {release.tag} on stack {active_stack()!r}.", file=sys.stderr)
    with show_progress(step_names(container), live=live, debug=options.debug):
        outcome = deploy(release, container=container, fresh=options.no_cache)
    _print_outcome(outcome, deployment, as_json=options.json)
    if not container and options.target is None:
        print(
            f"No Docker engine answers here. Where one does, go on with\n  {_with_container(options)}", file=sys.stderr
        )
    return 0


def _makes_container(target: str | None) -> bool:
    from diascope.docker import find_engine
    from diascope.errors import InputError

    container = target != "bento" and find_engine() is not None
    if target == "container" and not container:
        raise InputError("No Docker engine answers: start one, or end at the bento with --target bento.")
    return container


def _with_container(options: argparse.Namespace) -> str:
    said = [part for each in options.set for part in ("--set", each)]
    return shlex.join(["python", "run.py", "--deployment", "--config", options.config, *said, "--target", "container"])


def _report(options: argparse.Namespace) -> int:
    from diascope.experiment import find_configuration, load

    configuration = load(find_configuration(options.config, ROOT / "configs"), options.set)
    start_zenml(options.debug)
    from pipelines.outcome import write_report

    print(write_report(configuration.parameters.promotion.model))
    return 0


def start_zenml(debug: bool) -> None:
    """Import ZenML with its console logs off unless they were asked for; what a step logs is stored all the same."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "INFO" if debug else "ERROR")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3")
    os.environ["ZENML_LOGGING_VERBOSITY"] = "DEBUG" if debug else "INFO"  # progress is read from INFO

    import logging

    from zenml.logger import ZenMLConsoleHandler
    from zenml.utils.source_utils import set_custom_source_root

    set_custom_source_root(str(ROOT))  # also where run.py is not the main module
    root = logging.getLogger()
    if not debug:
        root.handlers = [handler for handler in root.handlers if not isinstance(handler, ZenMLConsoleHandler)]


def _find_cause(error: BaseException | None, kind: type[E]) -> E | None:
    """The error of this kind among the error and what led to it."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error


def _is_disk_full(error: BaseException) -> bool:
    from shutil import disk_usage
    from tempfile import gettempdir

    from diascope.errors import DISK_FULL

    storage = _find_cause(error, OSError)
    if storage and storage.errno in DISK_FULL:
        return True
    try:
        return disk_usage(gettempdir()).free < NO_ROOM  # OpenVINO and HDF5 have words of their own for it
    except OSError:  # no such folder can be had, which the error itself says
        return False


def _sentence(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
