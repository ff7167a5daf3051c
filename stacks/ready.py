"""Is the active stack ready for an experiment? What is missing there is said, or brought there."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diascope import aws
from diascope.errors import InputError
from diascope.preflight import local_inputs, refuse_local_inputs
from diascope.progress import Progress

if TYPE_CHECKING:
    from diascope.config import Experiment
    from diascope.experiment import RunConfiguration

BELOW = "diascope/uploads"  # in the artifact store
SECONDS = 10  # between lines that say how far an upload is


def make_ready(configuration: "RunConfiguration", *, upload: bool) -> "RunConfiguration":
    """Return what the active stack can run; nothing is built or started before it is known that it can.

    Where steps run elsewhere, files of this machine are uploaded if `upload`, and refused otherwise. Raises InputError.
    """
    from zenml.client import Client

    from stacks.here import runs_here
    from stacks.preflight import check_stack
    from stacks.session import connector_id, connector_session

    experiment = configuration.parameters
    here = runs_here()
    if not here and not upload:
        refuse_local_inputs(experiment, Client().active_stack_model.name)
    check_stack()
    if aws.session().get_credentials() is None and (connector := connector_id()):
        aws.lend(connector_session(connector))  # s3:// sources are looked at from here too
    if here or not upload:
        return configuration
    return configuration.model_copy(update={"parameters": upload_inputs(experiment)})


def upload_inputs(experiment: "Experiment") -> "Experiment":
    """Put what an experiment reads from this machine beside the artifacts, and return it with the new addresses.

    Raises InputError where the artifact store is not on S3, or does not take it.
    """
    from zenml.client import Client

    from diascope.uploads import upload
    from stacks.preflight import store_session

    local = local_inputs(experiment)
    stack = Client().active_stack
    if local and stack.artifact_store.flavor != "s3":
        raise InputError(
            f"--upload puts files into an artifact store on S3, but that of the stack {stack.name!r} is "
            f"{stack.artifact_store.flavor!r}: use another stack, or name an address that its steps can read."
        )
    if not local:
        return experiment
    session, endpoint_url = store_session(stack)
    client = aws.client(session, "s3", connections=32, endpoint_url=endpoint_url)
    below = f"{cast(Any, stack.artifact_store).path.rstrip('/')}/{BELOW}"
    addresses = {path: upload(Path(path), below, client, _told(path)) for path in dict.fromkeys(local.values())}
    for path, address in addresses.items():
        print(f"{path} is at {address}.", file=sys.stderr)
    return _with_addresses(experiment, addresses)


def _with_addresses(experiment: "Experiment", addresses: dict[str, str]) -> "Experiment":
    source = experiment.dataset.source
    dataset = experiment.dataset.model_copy(update={"source": addresses.get(source, source)})
    candidates = [
        each.model_copy(update={"weights": addresses.get(each.weights, each.weights)}) for each in experiment.candidates
    ]
    return experiment.model_copy(update={"dataset": dataset, "candidates": candidates})


def _told(path: str) -> Progress:
    said = time.monotonic()

    def tell(what: str, done: int, total: int | None) -> None:
        nonlocal said
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            print(f"{path}: {what} {done / total:.0%}" if total else f"{path}: {what}", file=sys.stderr)

    return tell
