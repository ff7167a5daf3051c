"""What may a run configuration say under `settings`?

Importing ZenML takes seconds and a mistyped key must be refused in less than one, so the answer is kept in
`diascope/settings.json`. After an upgrade of ZenML: `python -m stacks.flavors`.
"""

import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

CHECKED = {"aws", "default", "local", "local_docker", "mlflow", "s3", "sagemaker"}  # flavors of the stacks made here
JSON_TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    NoneType: "null",
}
SETTINGS_FILE = Path(__file__).resolve().parent.parent / "diascope" / "settings.json"


def describe_settings() -> dict[str, Any]:
    """What may stand under each settings key that the installed ZenML knows.

    A value is `{"keys": {name: value, …}}` for a mapping with known keys, else any of `types` (JSON type names),
    `values` (of a mapping whose keys are free), `enum` and `pattern`; an empty value says that anything goes, as it
    does for flavors that no stack here uses.
    """
    from zenml.stack.flavor_registry import FlavorRegistry
    from zenml.utils.settings_utils import get_general_settings

    registry = FlavorRegistry()
    described = {key: _describe_class(settings) for key, settings in get_general_settings().items()}
    del described["deployment"]  # of pipelines that serve, not of pipelines that run
    for flavor in (each() for each in registry.builtin_flavors + registry.integration_flavors):
        checked = flavor.name in CHECKED
        described[f"{flavor.type}.{flavor.name}"] = (
            _describe_class(_settings_class(flavor.config_class)) if checked else {}
        )
    described["orchestrator.sagemaker"]["keys"] |= _describe_jobs()
    return dict(sorted(described.items()))


def _describe_jobs() -> dict[str, Any]:
    """The arguments that ZenML hands on to SageMaker's library, which swallows those that it does not know."""
    from sagemaker.estimator import Estimator
    from sagemaker.processing import Processor

    return {"estimator_args": _describe_arguments(Estimator), "processor_args": _describe_arguments(Processor)}


def _describe_arguments(made: type) -> dict[str, Any]:
    parameters = inspect.signature(made).parameters.values()
    named = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    return {"keys": {each.name: _describe_hint(each.annotation) for each in sorted(named, key=lambda each: each.name)}}


def _describe_hint(hint: Any) -> dict[str, Any]:
    """A type hint as JSON types; those of pipeline variables, which no file can name, are left out."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    types = {JSON_TYPES[kind] for each in alternatives if (kind := get_origin(each) or each) in JSON_TYPES}
    return {"types": sorted(types)} if types else {}


def _settings_class(config_class: type) -> type | None:
    """A component's configuration inherits from the class of what may be set per run, if anything may."""
    from zenml.config.base_settings import BaseSettings
    from zenml.stack.stack_component import StackComponentConfig

    for base in config_class.__mro__:
        if issubclass(base, BaseSettings) and not issubclass(base, StackComponentConfig) and base is not BaseSettings:
            return base
    return None


def _describe_class(settings: type | None) -> dict[str, Any]:
    if settings is None:
        return {"keys": {}}
    schema = settings.model_json_schema()  # type: ignore[attr-defined]
    return _describe(schema, schema.get("$defs", {}))


def _describe(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One JSON schema in the short form above; alternatives are merged, so a value may be any of them."""
    if "$ref" in schema:
        return _describe(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "properties" in schema:
        return {"keys": {name: _describe(value, definitions) for name, value in schema["properties"].items()}}
    if "anyOf" in schema:
        return _merged([_describe(each, definitions) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return {"enum": schema.get("enum", [schema.get("const")])}
    described: dict[str, Any] = {"types": [schema["type"]]} if "type" in schema else {}
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        described["values"] = _describe(schema["additionalProperties"], definitions)
    return described | ({"pattern": schema["pattern"]} if "pattern" in schema else {})


def _merged(alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    """Alternatives as one; `keys` survives beside null alone, a choice between a mapping and others says types only."""
    if not all(alternatives):
        return {}
    rest = [each for each in alternatives if each != {"types": ["null"]}]
    nullable = len(rest) < len(alternatives)
    if len(rest) == 1:
        return rest[0] | ({"nullable": True} if nullable else {})
    types = sorted({kind for each in rest for kind in _types(each)} | ({"null"} if nullable else set()))
    return {"types": types}


def _types(described: dict[str, Any]) -> list[str]:
    if "keys" in described:
        return ["object"]
    return described.get("types", ["string"])


if __name__ == "__main__":
    lines = [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in describe_settings().items()]
    SETTINGS_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
