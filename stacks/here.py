"""Which stack is used for what must run on this machine, such as building an image?"""

import os
from typing import TYPE_CHECKING

from diascope.errors import InputError

if TYPE_CHECKING:
    from zenml.models import StackResponse

LOCAL = "local"


def runs_here() -> bool:
    """Return whether the steps of the active stack run on this machine, as processes that see its files."""
    return orchestrator_flavor() == LOCAL


def orchestrator_flavor() -> str:
    """Return what runs the steps of the active stack: `local`, `local_docker`, `sagemaker`, …"""
    from zenml.client import Client

    return _flavor(Client().active_stack_model)


def _flavor(stack: "StackResponse") -> str:
    return next(found[0].flavor_name for kind, found in stack.components.items() if kind.value == "orchestrator")


def use_stack_here() -> str:
    """Use a stack whose steps run here for the rest of this process, and return its name.

    That is the active stack, or where it runs steps elsewhere the stack `<name>-local` with the same components.
    Raises InputError where there is none.
    """
    from zenml.client import Client

    client = Client()
    active = client.active_stack_model.name
    if runs_here():
        return active
    name = f"{active}-local"
    found = next(iter(client.list_stacks(name=name, hydrate=True).items), None)
    if found is None or _flavor(found) != LOCAL:
        raise InputError(
            f"The stack {active!r} runs its steps elsewhere, and there is no stack {name!r} that runs them here: "
            "register it with `make stack-aws`, or choose another with `zenml stack set NAME`."
        )
    os.environ["ZENML_ACTIVE_STACK_ID"] = str(found.id)  # of this process alone: what is active stays so
    return name
