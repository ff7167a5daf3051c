"""How is one thing that ZenML knows brought to be as it should, in a way that can be undone?"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from diascope.errors import InputError
from stacks.aws.parts import Part, secret_name
from stacks.session import CONNECTOR_TYPE

if TYPE_CHECKING:
    from zenml.client import Client
    from zenml.models import ComponentResponse, ServiceConnectorResponse

LABEL = "diascope-stack"  # what is registered here carries the name of its stack under it; nothing else is touched
MANY = 500


def ensure_secret(
    client: "Client", stack: str, purpose: str, given: Mapping[str, str] | None, undo: ExitStack
) -> frozenset[str]:
    """Store credentials as a ZenML secret where some are given, and return the keys that there are afterwards."""
    name = secret_name(stack, purpose)
    before = secret_values(client, name)
    if not given:
        return frozenset(before or ())
    if before is None:
        undo.callback(lambda: _gone(lambda: client.delete_secret(name)))
        client.create_secret(name, dict(given))
    elif before != given:
        undo.callback(lambda: _replace_secret(client, name, before))
        _replace_secret(client, name, given)
    return frozenset(given)


def _replace_secret(client: "Client", name: str, values: Mapping[str, str]) -> None:
    old = set(secret_values(client, name) or ())
    client.update_secret(name, add_or_update_values=dict(values), remove_values=sorted(old - set(values)))


def secret_values(client: "Client", name: str) -> dict[str, str] | None:
    """Return what a ZenML secret holds; None where there is none of this name."""
    try:
        return dict(client.get_secret(name, allow_partial_name_match=False, allow_partial_id_match=False).secret_values)
    except KeyError:
        return None


def ensure_connector(
    client: "Client", stack: str, method: str, configuration: dict[str, str], undo: ExitStack
) -> "ServiceConnectorResponse":
    """Register a service connector, or configure it anew; ZenML's server tries it out. Raises InputError."""
    name = f"{stack}-{method}"  # one that is in use cannot change how it authenticates
    found = next((each for each in find_connectors(client) if each.name == name), None)
    with _zenml_named(f"The AWS service connector {name!r} cannot be registered", method):
        if found is None:
            undo.callback(lambda: _gone(lambda: client.delete_service_connector(name)))
            client.create_service_connector(
                name,
                CONNECTOR_TYPE,
                auth_method=method,
                configuration=configuration,
                labels={LABEL: stack},
                list_resources=False,
            )
        else:
            _refuse_foreign(found, stack, "service connector")
            known = dict(found.configuration.plain)
            if configuration != known:
                undo.callback(lambda: _configure(client, name, known, verify=False))
                _configure(client, name, configuration)
        return client.get_service_connector(name, allow_name_prefix_match=False)


def _configure(client: "Client", name: str, configuration: dict[str, str], *, verify: bool = True) -> None:
    client.update_service_connector(name, configuration=configuration, verify=verify, list_resources=False)


def find_connectors(client: "Client") -> "list[ServiceConnectorResponse]":
    """Return the AWS service connectors with their secrets."""
    found = client.list_service_connectors(connector_type=CONNECTOR_TYPE, size=MANY, hydrate=True, expand_secrets=True)
    return list(found.items)


def ensure_component(
    client: "Client", stack: str, part: Part, linked: "ServiceConnectorResponse", undo: ExitStack
) -> UUID:
    """Register a component, or configure it anew, link it to the connector, and return its id; raises InputError."""
    from zenml.enums import StackComponentType

    kind, name = StackComponentType(part.kind), part.name(stack)
    said = {key: value for key, value in part.configuration.items() if value is not None}
    found = next((each for each in find_components(client, name) if each.type == kind), None)
    with _zenml_named(f"The {part.kind} {name!r} cannot be registered"):
        if found is None:
            undo.callback(lambda: _gone(lambda: client.delete_stack_component(name, kind)))
            found = client.create_stack_component(name, part.flavor, kind, said, labels={LABEL: stack})
        else:
            _refuse_foreign(found, stack, part.kind)
            before = dict(found.configuration)
            if any(before.get(key) != value for key, value in part.configuration.items()):
                undo.callback(lambda: client.update_stack_component(found.id, kind, configuration=before))
                client.update_stack_component(found.id, kind, configuration=part.configuration)
        old = (found.connector.id, found.connector_resource_id) if found.connector else None
        if part.resource is not None and old != (linked.id, part.resource):
            if old is not None:
                undo.callback(lambda: _link(client, found, *old))
            _link(client, found, linked.id, part.resource)
    return found.id


def _link(client: "Client", component: "ComponentResponse", connector: UUID, resource: str | None) -> None:
    client.update_stack_component(component.id, component.type, connector_id=connector, connector_resource_id=resource)


def ensure_stack(client: "Client", owner: str, name: str, components: Mapping[str, UUID], undo: ExitStack) -> None:
    """Register a stack of these components, or exchange them; raises InputError."""
    from zenml.enums import StackComponentType

    wanted = {StackComponentType(kind): component for kind, component in components.items()}
    found = next(iter(client.list_stacks(name=name, hydrate=True).items), None)
    with _zenml_named(f"The stack {name!r} cannot be registered"):
        if found is None:
            undo.callback(lambda: _gone(lambda: client.delete_stack(name)))
            client.create_stack(name, wanted, labels={LABEL: owner})
            return
        _refuse_foreign(found, owner, "stack")
        before = {kind: [each.id for each in each_kind] for kind, each_kind in found.components.items()}
        if before == {kind: [component] for kind, component in wanted.items()}:
            return
        undo.callback(lambda: client.update_stack(found.id, component_updates=before))
        client.update_stack(found.id, component_updates=wanted)


def find_components(client: "Client", name: str | None = None) -> "list[ComponentResponse]":
    """Return the stack components, or those of a name."""
    return list(client.list_stack_components(name=name, size=MANY, hydrate=True).items)


def is_ours(entity: Any, stack: str) -> bool:
    """Return whether something was registered here, for the stack of this name."""
    return (entity.labels or {}).get(LABEL) == stack


def _refuse_foreign(entity: Any, stack: str, kind: str) -> None:
    if not is_ours(entity, stack):
        raise InputError(
            f"There already is a {kind} {entity.name!r} in ZenML that was not made here: rename it, or choose another "
            "name with DIASCOPE_AWS_STACK."
        )


def _gone(delete: Callable[[], None]) -> None:
    """Delete what may not have come into being."""
    try:
        delete()
    except KeyError:
        return


@contextmanager
def _zenml_named(doing: str, method: str = "") -> Iterator[None]:
    """Say in one sentence why ZenML does not do it."""
    from zenml.exceptions import AuthorizationException, IllegalOperationError

    try:
        yield
    except AuthorizationException as error:
        raise InputError(f"{doing}: {_line(error)}{_hint(method)}.") from error
    except (IllegalOperationError, RuntimeError, ValueError, KeyError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{doing}: {_line(error)}.") from error


def _hint(method: str) -> str:
    if method != "implicit":
        return "; check the credentials in the environment"
    return (
        "; start the ZenML server with ZENML_ENABLE_IMPLICIT_AUTH_METHODS=true where it has an AWS role, or say "
        "connector: environment"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
