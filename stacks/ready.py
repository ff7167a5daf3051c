"""Is the active stack ready for an experiment? What is missing there is said, or brought there."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diascope import aws, hub
from diascope.errors import InputError
from diascope.preflight import local_inputs, refuse_local
from diascope.progress import Progress

if TYPE_CHECKING:
    from diascope.config import CandidateConfig, Experiment
    from diascope.experiment import RunConfiguration

BELOW = "diascope/uploads"  # in the artifact store
SECONDS = 10  # between lines that say how far an upload is


def make_ready(configuration: "RunConfiguration", *, upload: bool) -> "RunConfiguration":
    """Return what the active stack can run; nothing is built or started before it is known that it can.

    Where steps run elsewhere, files of this machine are uploaded if `upload`, and refused otherwise. Raises InputError.
    """
    experiment = configuration.parameters
    addresses = reachable(local_inputs(experiment), upload=upload)
    if not addresses:
        return configuration
    return configuration.model_copy(update={"parameters": _with_addresses(experiment, addresses)})


def reachable(local: Mapping[str, str], *, upload: bool) -> dict[str, str]:
    """Make sure that the active stack can read paths of this machine, each given under what names it.

    Returns the address of each path that was uploaded: {} where steps run here. Where they run elsewhere, paths are
    uploaded if `upload`, and refused otherwise. Raises InputError.
    """
    from zenml.client import Client

    from stacks.here import runs_here
    from stacks.preflight import check_stack
    from stacks.session import connector_id, connector_session

    here = runs_here()
    if not here and not upload:
        refuse_local(local, Client().active_stack_model.name)
    check_stack()
    if aws.session().get_credentials() is None and (connector := connector_id()):
        aws.lend(connector_session(connector))  # s3:// sources are looked at from here too
    return {} if here or not upload else upload_paths(local)


def upload_paths(local: Mapping[str, str]) -> dict[str, str]:
    """Put paths of this machine beside the artifacts, and return the address of each.

    Raises InputError where the artifact store is not on S3, or does not take it.
    """
    from zenml.client import Client

    from diascope.uploads import upload
    from stacks.preflight import store_session

    stack = Client().active_stack
    if local and stack.artifact_store.flavor != "s3":
        raise InputError(
            f"--upload puts files into an artifact store on S3, but that of the stack {stack.name!r} is "
            f"{stack.artifact_store.flavor!r}: use another stack, or name an address that its steps can read."
        )
    if not local:
        return {}
    session, endpoint_url = store_session(stack)
    client = aws.client(session, "s3", connections=32, endpoint_url=endpoint_url)
    below = f"{cast(Any, stack.artifact_store).path.rstrip('/')}/{BELOW}"
    addresses = {path: upload(Path(path), below, client, _told(path)) for path in dict.fromkeys(local.values())}
    for path, address in addresses.items():
        print(f"{path} is at {address}.", file=sys.stderr)
    return addresses


def _with_addresses(experiment: "Experiment", addresses: dict[str, str]) -> "Experiment":
    source = experiment.dataset.source
    dataset = experiment.dataset.model_copy(update={"source": addresses.get(source, source)})
    candidates = [_with_address(each, addresses) for each in experiment.candidates]
    return experiment.model_copy(update={"dataset": dataset, "candidates": candidates})


def _with_address(candidate: "CandidateConfig", addresses: dict[str, str]) -> "CandidateConfig":
    changed: dict[str, object] = {"weights": addresses.get(candidate.weights, candidate.weights)}
    if (folder := hub.folder_of(candidate.backbone)) in addresses:
        sizes = candidate.image_sizes or [hub.find_preset(candidate.backbone).size]  # which can be read here
        changed |= {"backbone": f"{hub.PREFIX}{addresses[str(folder)]}", "image_sizes": sizes}
    return candidate.model_copy(update=changed)


def _told(path: str) -> Progress:
    said = time.monotonic()

    def tell(what: str, done: int, total: int | None) -> None:
        nonlocal said
        if time.monotonic() - said > SECONDS:
            said = time.monotonic()
            print(f"{path}: {what} {done / total:.0%}" if total else f"{path}: {what}", file=sys.stderr)

    return tell
