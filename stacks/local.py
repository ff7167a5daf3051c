"""Which stack does a run use, and what is made for somebody who has none?"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diascope.errors import InputError

if TYPE_CHECKING:
    from uuid import UUID

    from filelock import BaseFileLock
    from zenml.client import Client
    from zenml.enums import StackComponentType
    from zenml.models import StackResponse

STACK = "local"
# Name and flavor of what is put beside ZenML's own orchestrator and artifact store. Without a tracking URI, MLflow
# writes to sqlite beside the artifacts.
COMPONENTS = {
    "experiment_tracker": ("mlflow", "mlflow"),
    "model_registry": ("mlflow", "mlflow"),
    "image_builder": ("local", "local"),
}


def ensure_tracking_stack() -> str:
    """Give the name of the active stack, which tracks experiments afterwards.

    ZenML's `default` stack, active where nobody has chosen one, has no tracker: a stack `local` is registered beside
    it and activated. A stack that somebody has chosen is never touched; raises InputError where it has no tracker.
    """
    from zenml.client import Client

    client = Client()
    active = client.active_stack_model
    if _tracks(active):
        return active.name
    if active.name != "default":
        raise InputError(_no_tracker(active.name))
    return use_local_stack()


def use_local_stack() -> str:
    """Register the stack `local` unless it is there, activate it and give its name; raises InputError."""
    from zenml.client import Client

    client = Client()
    with _alone():
        local = _find_stack(client) or _register(client)
    if not _tracks(local):  # somebody's own stack of this name
        raise InputError(_no_tracker(local.name))
    client.activate_stack(local.id)
    return local.name


def _alone() -> "BaseFileLock":
    """Two first runs at once would both find nothing and both register: ZenML's store checks and writes in two goes."""
    from filelock import FileLock
    from zenml.utils.io_utils import get_global_config_directory

    return FileLock(Path(get_global_config_directory()) / "diascope-stack.lock")


def _tracks(stack: "StackResponse") -> bool:
    trackers = next((found for kind, found in stack.components.items() if kind.value == "experiment_tracker"), [])
    return any(tracker.flavor_name == "mlflow" for tracker in trackers)


def _no_tracker(stack: str) -> str:
    return (
        f"The active stack {stack!r} has no MLflow experiment tracker: add one with "
        f"`zenml experiment-tracker register mlflow --flavor=mlflow` and `zenml stack update {stack} -e mlflow`, "
        "or choose another stack with `zenml stack set NAME`."
    )


def _find_stack(client: "Client") -> "StackResponse | None":
    found = client.list_stacks(name=STACK, hydrate=True)
    return found.items[0] if found.items else None


def _register(client: "Client") -> "StackResponse":
    """Register the stack and what it lacks; whatever an interrupted or simultaneous run has left is used."""
    from zenml.enums import StackComponentType
    from zenml.exceptions import EntityExistsError

    default = client.get_stack("default", allow_name_prefix_match=False).components
    components = {
        kind: default[kind][0].id for kind in (StackComponentType.ORCHESTRATOR, StackComponentType.ARTIFACT_STORE)
    }
    for kind, (name, flavor) in COMPONENTS.items():
        components[StackComponentType(kind)] = _component(client, StackComponentType(kind), name, flavor)
    try:
        return client.create_stack(STACK, components)
    except EntityExistsError:
        return client.get_stack(STACK, allow_name_prefix_match=False)


def _component(client: "Client", kind: "StackComponentType", name: str, flavor: str) -> "UUID":
    """The id of this component, registered unless it is there; another flavor under its name is left alone."""
    from zenml.exceptions import EntityExistsError

    for candidate in (name, f"{name}-diascope"):
        try:
            return client.create_stack_component(candidate, flavor, kind, {}).id
        except EntityExistsError:
            found = client.get_stack_component(kind, candidate, allow_name_prefix_match=False)
            if found.flavor_name == flavor and not found.configuration:
                return found.id
    raise InputError(
        f"The stack {STACK!r} cannot be registered: the names {name!r} and '{name}-diascope' of the {kind.value} are "
        "taken by components of another kind; register a stack with an experiment tracker and `zenml stack set` it."
    )


def main() -> int:
    """Use the local stack: `python -m stacks.local`."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("ZENML_LOGGING_VERBOSITY", "CRITICAL")  # what goes wrong is said here
    try:
        print(f"The stack {use_local_stack()!r} is active.")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
