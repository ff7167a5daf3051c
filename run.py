"""Train, compare, evaluate and promote a medical image classifier, and serve it: `python run.py --training`."""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from commands.statuses import EXIT_STATUS, FAILED, GOES_ON, INTERRUPTED, PREDICTED, STARTS_ANEW, WRONG_INPUT

PLACES = ("container", "sagemaker", "lambda", "ecs", "kubernetes")  # that a model is served from
TARGETS = ("bento", *PLACES)
STOPPED = ("RunInterruptedException", "RunStoppedException")  # what ZenML makes of SIGTERM and its dashboard's button


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status."""
    options = _parse(argv)
    again = GOES_ON if options.training else PREDICTED if options.inference is not None else STARTS_ANEW
    try:
        return _action(options)(options)
    except KeyboardInterrupt as interrupt:  # the one that ends waiting for a run elsewhere says what becomes of it
        return _say(str(interrupt) or f"Interrupted: {again}.", INTERRUPTED)
    except Exception as error:
        if type(error).__name__ in STOPPED:
            return _say(f"Interrupted: {again}.", INTERRUPTED)
        if options.debug:
            traceback.print_exception(error)
        return _say(*_told(error, again))


def _action(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What was chosen; only its module is imported, so that help is there at once."""
    if options.training:
        from commands.training import train as act
    elif options.status:
        from commands.service import show_status as act
    elif options.delete:
        from commands.service import delete as act
    elif options.deployment:
        from commands.deployment import deploy as act
    elif options.inference is not None:
        from commands.inference import infer as act
    elif options.data is not None:
        from commands.data import show_data as act
    elif options.rollback:
        from commands.rollback import roll_back as act
    else:
        from commands.report import report as act
    return act


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
    action.add_argument(
        "--inference", metavar="PATH|URI", help="predict images without labels with the production model"
    )
    action.add_argument("--rollback", action="store_true", help="put the model before back into production")
    action.add_argument(
        "--data", nargs="*", metavar="WORD", help="list the stored versions of the dataset, or `diff A B`"
    )
    action.add_argument("--report", action="store_true", help="write the production model's report, print its path")
    add = parser.add_argument
    add("--config", default="demo", metavar="NAME|PATH", help="a file, or a name under configs/ (default: demo)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value, in YAML; repeatable")
    add("--no-cache", action="store_true", help="run every step, and build every layer, also where nothing has changed")
    add("--upload", action="store_true", help="put local images and weights into S3 where steps run elsewhere")
    add("--output", metavar="FILE", help="with --inference: the result, .parquet or .csv (default: below reports/)")
    add("--model-version", type=int, metavar="N", help="with --inference: another version than that in production")
    add("--require-promotion", action="store_true", help="exit with 3 where the model is not promoted")
    add("--target", choices=TARGETS, help="where the model is to serve (default: nowhere, its container is only tried)")
    add("--status", action="store_true", help="with --deployment --target: how the service there is doing")
    add("--delete", action="store_true", help="with --deployment --target: remove the service there")
    add("--json", action="store_true", help="print the result as one JSON object on the last line")
    add("--debug", action="store_true", help="show all logs, and where an error comes from")
    options = parser.parse_args(argv)
    if options.require_promotion and not options.training:
        parser.error("--require-promotion goes with --training: nothing else promotes by the gate")
    if options.upload and not (options.training or options.inference is not None):
        parser.error("--upload goes with --training and --inference")
    for name in ("output", "model_version"):
        if getattr(options, name) is not None and options.inference is None:
            parser.error(f"--{name.replace('_', '-')} goes with --inference alone")
    if options.data is not None and (options.set or options.config != "demo"):
        parser.error("--config and --set do not go with --data: it is about all stored versions")
    for name in ("target", "status", "delete"):
        if getattr(options, name) and not options.deployment:
            parser.error(f"--{name} goes with --deployment alone")
    if (options.status or options.delete) and options.target not in PLACES:
        parser.error(f"say which service is meant: --target {', '.join(PLACES[:-1])} or {PLACES[-1]}")
    if options.status and options.delete:
        parser.error("--status and --delete do not go together")
    return options


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
