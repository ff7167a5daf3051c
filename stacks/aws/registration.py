"""How does ZenML come to know the AWS stacks, and how are they taken away again?"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from diascope.errors import InputError
from diascope.failures import in_a_line
from stacks.aws.entities import (
    MANY,
    ensure_component,
    ensure_connector,
    ensure_secret,
    ensure_stack,
    find_components,
    find_connectors,
    is_ours,
    secret_values,
)
from stacks.aws.parts import ORCHESTRATOR, authentication, parts, secret_name
from stacks.aws.values import AwsValues

if TYPE_CHECKING:
    from zenml.client import Client
    from zenml.models import ComponentResponse, StackResponse

PURPOSES = ("mlflow", "registry")  # of secrets


def register(values: AwsValues, secrets: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Register the stacks `<stack>` and `<stack>-local`, or bring them up to date; return their names.

    `secrets` are credentials of `mlflow` and `registry`; what an earlier registration was given is kept. After a
    failure everything is as it was before. Raises InputError.
    """
    from zenml.client import Client

    client = Client()
    method, configuration = authentication(values)
    with _all_or_nothing() as undo:
        keys = {
            purpose: ensure_secret(client, values.stack, purpose, secrets.get(purpose), undo) for purpose in PURPOSES
        }
        linked = ensure_connector(client, values.stack, method, configuration, undo)
        known = {purpose: found for purpose, found in keys.items() if found}
        components = {
            part.kind: ensure_component(client, values.stack, part, linked, undo) for part in parts(values, known)
        }
        here = client.get_stack("default", allow_name_prefix_match=False).components
        local = next(found[0].id for kind, found in here.items() if kind.value == ORCHESTRATOR)
        names = [values.stack, f"{values.stack}-local"]
        for name, orchestrator in zip(names, (components[ORCHESTRATOR], local), strict=True):
            ensure_stack(client, values.stack, name, components | {ORCHESTRATOR: orchestrator}, undo)
    _remove_unused(client, values.stack, {*components.values(), linked.id})
    return names


def known_secrets(stack: str) -> dict[str, dict[str, str]]:
    """Return the credentials that an earlier registration was given, by what they are for."""
    from zenml.client import Client

    found = {purpose: secret_values(Client(), secret_name(stack, purpose)) for purpose in PURPOSES}
    return {purpose: values for purpose, values in found.items() if values}


def unregister(stack: str) -> list[str]:
    """Take away what `register` has made for a stack, and say what that was; raises InputError where it is in use."""
    from zenml.client import Client

    client = Client()
    stacks = [each for each in client.list_stacks(size=MANY, hydrate=True).items if is_ours(each, stack)]
    components = [each for each in find_components(client) if is_ours(each, stack)]
    _refuse_if_used(client, stacks, components)
    if client.active_stack_model.id in {each.id for each in stacks}:
        client.activate_stack("default")
    removed = []
    for each in stacks:
        client.delete_stack(each.id)
        removed.append(f"stack {each.name}")
    for component in components:
        client.delete_stack_component(component.id, component.type)
        removed.append(f"{component.type.value} {component.name}")
    for found in find_connectors(client):
        if is_ours(found, stack):
            client.delete_service_connector(found.id)
            removed.append(f"service connector {found.name}")
    for purpose in PURPOSES:
        name = secret_name(stack, purpose)
        if secret_values(client, name) is not None:
            client.delete_secret(name)
            removed.append(f"secret {name}")
    return removed


@contextmanager
def _all_or_nothing() -> Iterator[ExitStack]:
    """What is done inside is undone, newest first, where it does not come to its end."""
    undo = ExitStack()
    try:
        yield undo
    except BaseException as error:
        try:
            undo.close()
        except Exception as failure:  # the server has gone away
            raise InputError(
                f"{str(error).rstrip('.')}. What was registered by then could not be taken back "
                f"({in_a_line(failure)}): run `make stack-aws-delete` when the ZenML server answers."
            ) from error
        raise


def _remove_unused(client: "Client", stack: str, used: set[UUID]) -> None:
    """Remove what earlier values needed, such as another registry, unless a stack of somebody's holds on to it."""
    kept = set(used)
    for component in find_components(client):
        if is_ours(component, stack) and component.id not in used:
            if _users(client, component):
                kept |= {component.connector.id} if component.connector else set()
            else:
                client.delete_stack_component(component.id, component.type)
    for connector in find_connectors(client):
        if is_ours(connector, stack) and connector.id not in kept:
            client.delete_service_connector(connector.id)


def _refuse_if_used(client: "Client", stacks: "list[StackResponse]", components: "list[ComponentResponse]") -> None:
    ours = {each.id for each in stacks}
    for component in components:
        for user in _users(client, component):
            if user.id not in ours:
                raise InputError(
                    f"The stack {user.name!r} uses the {component.type.value} {component.name!r}: delete that stack "
                    "first, or take the component out of it."
                )


def _users(client: "Client", component: "ComponentResponse") -> "list[StackResponse]":
    return list(client.list_stacks(component_id=component.id, size=MANY).items)
