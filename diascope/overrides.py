"""What does `--set key.path=value` change in an experiment file?"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diascope import documents
from diascope.errors import InputError
from diascope.problems import KeyPath, is_settings_key


@dataclass(frozen=True)
class Override:
    """A `--set` that was applied."""

    text: str
    path: KeyPath
    made: KeyPath  # the first key on the path that was not in the file


def override(document: Any, text: str, top_level: Collection[str], table: Mapping[str, Any]) -> Override:
    """Put the value of `key.path=value` into the document; raises InputError, in words that do not repeat the text.

    The path is relative to `parameters`, unless it starts with a key that stands at the `top_level` of the file;
    `table` tells which settings keys have a dot in them.
    """
    key, equals, yaml_value = text.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise InputError("write key.path=value, for example candidates.0.epochs=5")
    try:
        value = documents.parse(yaml_value)
    except InputError as error:
        raise InputError(f"the value {error}; put it in quotes inside the shell's quotes") from error
    path: list[str | int] = []
    made = 0
    target = document
    parts = _absolute(key.split("."), top_level, table)
    for part in parts:
        path.append(_index(target, part, path))
        last = len(path) == len(parts)
        if last or (isinstance(target, dict) and target.get(part) is None):
            made = made or len(path)
            target[path[-1]] = value if last else {}
        target = target[path[-1]]
    return Override(text, tuple(path), tuple(path[:made]))


def _absolute(parts: list[str], top_level: Collection[str], table: Mapping[str, Any]) -> list[str]:
    if parts[0] not in top_level:
        return ["parameters", *parts]
    for at in (1, 3):  # settings.orchestrator.sagemaker.… and steps.NAME.settings.orchestrator.sagemaker.…
        joined = ".".join(parts[at : at + 2])
        if parts[at - 1 : at] == ["settings"] and len(parts) > at + 1 and is_settings_key(table, joined):
            return [*parts[:at], joined, *parts[at + 2 :]]
    return parts


def _index(parent: Any, part: str, path: Sequence[str | int]) -> str | int:
    """The key or index that `part` means in the mapping or list at `path`."""
    where = ".".join(map(str, path))
    if isinstance(parent, list):
        if not part.isdecimal() or int(part) >= len(parent):
            raise InputError(
                f"{where or 'the file'} has {len(parent)} entries, 0 to {len(parent) - 1}, and none is {part!r}"
            )
        return int(part)
    if not isinstance(parent, dict):
        raise InputError(f"{where or 'the file'} is not a mapping, so it has no key {part!r}")
    return part
