"""What is wrong with a configuration, in words?"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from diascope.errors import nearest

KeyPath = tuple[str | int, ...]

# How pydantic calls a value of the wrong type, and how a person does.
EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
JSON_TYPES: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "string": ("text", str),
    "integer": ("a whole number", int),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", bool),
    "array": ("a list", list),
    "object": ("a mapping of keys to values", dict),
    "null": ("null", NoneType),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, with the keys that lead to it."""

    path: KeyPath
    text: str


def check_schema(schema: type[BaseModel], document: Any) -> list[Problem]:
    """Everything in `document` that `schema` does not allow, unknown keys with the nearest valid name.

    Types are strict: the text "5" is no number and 1 is not true.
    """
    problems = _validate(schema, document)
    unknown = [problem.path for problem in problems if _is_unknown(schema, problem.path)]
    if unknown:  # hide what goes together in a section from pydantic as long as it stays; look again without it
        found = {problem.path for problem in problems}
        broken = {path[:-1] for path in found}
        rest = _validate(schema, _without(document, unknown))
        problems += [problem for problem in rest if problem.path not in found | broken]
    return problems


def check_settings(table: Mapping[str, Any], settings: Mapping[str, Any], path: KeyPath) -> list[Problem]:
    """Everything under a `settings` key that ZenML would ignore or refuse later.

    `table` is what `diascope/settings.json` holds; keys are `docker`, `resources`, a component type, or a component
    type and flavor.
    """
    problems = []
    for key, value in settings.items():
        if ":" in str(key):
            problems.append(Problem((*path, key), "names a component of one stack; write type.flavor instead"))
        elif (allowed := _settings_of(table, str(key))) is None:
            valid = {*table, *_component_types(table)}
            problems.append(Problem((*path, key), f"unknown key; the nearest is {nearest(str(key), valid)!r}"))
        else:
            problems += _check_value(allowed, value, (*path, key))
    return problems


def is_settings_key(table: Mapping[str, Any], key: str) -> bool:
    return _settings_of(table, key) is not None


def _component_types(table: Mapping[str, Any]) -> set[str]:
    return {key.partition(".")[0] for key in table if "." in key}


def _settings_of(table: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    if key in _component_types(table):
        return {}  # which flavor it will be depends on the stack
    return table.get(key)


def _check_value(allowed: Mapping[str, Any], value: Any, path: KeyPath) -> list[Problem]:
    if not allowed or (value is None and allowed.get("nullable")):
        return []
    if "keys" in allowed:
        if not isinstance(value, dict):
            return [Problem(path, _should_be(["a mapping of keys to values"], value))]
        return [problem for key in value for problem in _check_key(allowed["keys"], key, value[key], path)]
    if "enum" in allowed:
        return [] if value in allowed["enum"] else [Problem(path, _should_be(map(repr, allowed["enum"]), value))]
    types = [JSON_TYPES[name] for name in allowed["types"]]
    if not any(_has_type(value, kind) for _, kind in types):
        return [Problem(path, _should_be([name for name, _ in types], value))]
    if "values" in allowed and isinstance(value, dict):  # its keys are the user's
        return [problem for key in value for problem in _check_value(allowed["values"], value[key], (*path, key))]
    if "pattern" in allowed and isinstance(value, str) and not re.search(allowed["pattern"], value):
        return [Problem(path, f"should match {allowed['pattern']!r}, not {_shown(value)}")]
    return []


def _check_key(keys: Mapping[str, Any], key: Any, value: Any, path: KeyPath) -> list[Problem]:
    if key not in keys:
        near = f"; the nearest is {nearest(str(key), keys)!r}" if keys else "; nothing can be set here"
        return [Problem((*path, key), f"unknown key{near}")]
    return _check_value(keys[key], value, (*path, key))


def _has_type(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _validate(schema: type[BaseModel], document: Any) -> list[Problem]:
    try:
        schema.model_validate(document, strict=True)
    except ValidationError as error:
        by_path: dict[KeyPath, list[Any]] = defaultdict(list)
        for detail in error.errors(include_url=False):
            by_path[_key_path(detail["loc"])].append(detail)
        return [Problem(path, _in_words(schema, path, details)) for path, details in by_path.items()]
    return []


def _key_path(location: KeyPath) -> KeyPath:
    """Keys alone: pydantic adds which alternative of a union failed, and a mark where a key itself is wrong."""
    return tuple(takewhile(lambda part: not str(part).startswith(("[key]", "constrained-", "literal[")), location))


def _in_words(schema: type[BaseModel], path: KeyPath, details: list[Any]) -> str:
    first = details[0]
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "extra_forbidden":
        return _unknown_key(schema, path)
    if first["loc"][-1:] == ("[key]",) and first["type"] == "string_type":
        return "a key should be text; put it in quotes"
    if first["loc"][-1:] == ("[key]",):
        valid = first.get("ctx", {}).get("expected", "")
        near = f"; the nearest is {nearest(str(path[-1]), valid.replace(' or ', ', ').split(', '))}" if valid else ""
        return f"unknown key{near}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] in ("too_short", "string_too_short"):
        return "should not be empty"
    return _should_be([_expected(detail) for detail in details], first["input"])


def _expected(detail: Any) -> str:
    if detail["type"] == "literal_error":
        return str(detail["ctx"]["expected"])
    words = EXPECTED.get(detail["type"])
    return words or detail["msg"].partition(" should ")[2].removeprefix("be ") or detail["msg"]


def _should_be(expected: Any, value: Any) -> str:
    wanted = " or ".join(expected)
    verb = "should" if wanted.startswith(("have ", "match ")) else "should be"
    hint = "; put it in quotes" if wanted == "text" and isinstance(value, int | float | bool) else ""
    return f"{verb} {wanted}, not {_shown(value)}{hint}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}…'"


def _unknown_key(schema: type[BaseModel], path: KeyPath) -> str:
    """The nearest of the keys that may stand here; where none is near, the place where this key may stand."""
    key = str(path[-1])
    section = _section(schema, path[:-1])
    siblings = list(section.model_fields) if section else []
    if not (homes := [place for name, place in _places(schema) if name == key]):
        return f"unknown key; the nearest is {nearest(key, siblings)!r}"
    if near := get_close_matches(key, siblings, n=1, cutoff=0.7):
        return f"unknown key; the nearest is {near[0]!r}"
    here = [str(part) for part in path[:-1]]
    home = max(homes, key=lambda home: _shared(home, here))
    return f"does not belong here; it belongs {f'under {home!r}' if home else 'to the top level'}"


def _shared(home: str, here: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(home.split("."), here, strict=False)))


def _places(schema: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every key of the schema with the dotted path of the section that it belongs to."""
    for name, field in schema.model_fields.items():
        yield name, ".".join(prefix)
        inner, steps = _container(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _places(inner, (*prefix, name, *steps))


def _section(schema: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model that describes the mapping at `path`."""
    annotation: Any = schema
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = _plain(field.annotation) if field else None
        else:
            annotation = _plain(get_args(annotation)[-1]) if get_args(annotation) else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """The type without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        rest = [each for each in get_args(annotation) if each is not NoneType]
        return _plain(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _container(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """What a list or mapping holds, with a placeholder for the index or key; other types as they are."""
    plain = _plain(annotation)
    if get_origin(plain) in (list, dict):
        return _plain(get_args(plain)[-1]), ("N" if get_origin(plain) is list else "NAME",)
    return plain, ()


def _is_unknown(schema: type[BaseModel], path: KeyPath) -> bool:
    section = _section(schema, path[:-1]) if path else None
    return section is not None and path[-1] not in section.model_fields


def _without(document: Any, paths: list[KeyPath], here: KeyPath = ()) -> Any:
    if isinstance(document, dict):
        kept = {key: value for key, value in document.items() if (*here, key) not in paths}
        return {key: _without(value, paths, (*here, key)) for key, value in kept.items()}
    if isinstance(document, list):
        return [_without(value, paths, (*here, index)) for index, value in enumerate(document)]
    return document
