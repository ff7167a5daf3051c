"""What does a YAML text say?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from diascope.errors import InputError
from diascope.problems import KeyPath, Problem


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core types: `no`, `on` and 12:30 are text, and 1e-3 is a number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read(path: Path) -> tuple[Any, list[Problem]]:
    """The file's content and the keys that stand in it twice; raises InputError where it is not YAML."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        duplicates = list(_duplicates(node, ()))  # before anchors are merged into the nodes
        return (loader.construct_document(node) if node else None), duplicates
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: {_in_words(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply, or an anchor refers to itself") from error


def parse(text: str) -> Any:
    """The value of a YAML text; raises InputError, in words that do not repeat it."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(_in_words(error)) from error
    except RecursionError as error:
        raise InputError("is nested too deeply") from error


def _in_words(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}is not YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"


def _duplicates(node: yaml.Node | None, path: KeyPath) -> Iterator[Problem]:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused when it is constructed
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                text = f"stands in the file twice (lines {seen[key.value]} and {line})"
                yield Problem((*path, key.value), text)
            seen[key.value] = line
            yield from _duplicates(value, (*path, key.value))
