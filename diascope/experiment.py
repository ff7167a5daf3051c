"""Is this experiment file right, and what does it say?

ZenML ignores unknown top-level keys, wrongly nested step settings and unknown step names, so everything is checked
here, before anything expensive is imported or started.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from diascope.config import CandidateConfig, Experiment, Section
from diascope.errors import InputError, nearest
from diascope.problems import KeyPath, Problem, check_schema, check_settings, is_settings_key

# Keys that ZenML would take, and why they are refused.
REFUSED = {
    "enable_cache": "not allowed: it overrides steps that must never be cached; use --no-cache, or set it for a step",
    "model": "not allowed: the model's name is parameters.promotion.model",
    "schedule": "not allowed: run.py starts a run and waits for it; schedule the command itself",
}
REFUSED_IN_STEP = {
    "parameters": "not allowed: they would go past the checks; say it under the top-level parameters",
    "experiment_tracker": "not allowed: every step uses the tracker of the active stack",
    "model": REFUSED["model"],
}


class Retry(Section):
    """How often a failed step is tried again."""

    max_retries: int = Field(default=1, gt=0)
    delay: int = Field(default=0, ge=0)  # seconds
    backoff: int = Field(default=0, ge=0)  # factor on the delay


class StepSection(Section):
    """What may be said about one step; its inputs come from `parameters`."""

    settings: dict[str, Any] = Field(default={})
    enable_cache: bool | None = None
    step_operator: bool | str | None = None
    retry: Retry | None = None
    environment: dict[str, str] = Field(default={})
    secrets: list[str] = Field(default=[])
    extra: dict[str, Any] = Field(default={})


class RunConfiguration(Section):
    """An experiment file: the part of ZenML's run configuration that is used here."""

    parameters: Experiment
    settings: dict[str, Any] = Field(default={})
    steps: dict[str, StepSection] = Field(default={})
    tags: list[str] = Field(default=[])
    extra: dict[str, Any] = Field(default={})
    run_name: str | None = None
    retry: Retry | None = None
    environment: dict[str, str] = Field(default={})
    secrets: list[str] = Field(default=[])
    substitutions: dict[str, str] = Field(default={})

    def resolved(self) -> str:
        """The file as ZenML shall read it: every parameter with its value, steps by the ids they have in the run."""
        document = self.model_dump(mode="json", exclude_unset=True, exclude={"parameters", "steps"})
        document["parameters"] = self.parameters.model_dump(mode="json")
        ids = step_ids(self.parameters.candidates)
        steps: dict[str, Any] = {}
        for name, section in self.steps.items():  # a function's name stands for all of its steps
            said = section.model_dump(mode="json", exclude_unset=True)
            for step in [name] if name in ids else [step for step, function in ids.items() if function == name]:
                steps[step] = steps.get(step, {}) | said
        return yaml.safe_dump(document | ({"steps": steps} if steps else {}), sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Override:
    """A `--set` that was applied."""

    text: str
    path: KeyPath
    made: KeyPath  # the first key on the path that was not in the file


class ConfigurationError(InputError):
    """Everything that is wrong with an experiment file, one line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


def step_ids(candidates: Iterable[CandidateConfig]) -> dict[str, str]:
    """The id of every step of a training run, and the name of its function; candidates share backbone and features."""
    from diascope.features import FeatureSpec

    return _step_ids([(each.name, FeatureSpec.of(each).key, not each.trains_network) for each in candidates])


def _step_ids(candidates: Sequence[tuple[str, str, bool]]) -> dict[str, str]:
    """`candidates` are names, what their features depend on, and whether they are trained on features alone."""
    ids = {"ingest_data": "ingest_data", "check_data": "check_data"}
    seen: set[tuple[str, str]] = set()
    for name, key, on_features in candidates:
        for function in ("base_model", "extract_features") if on_features else ("base_model",):
            if (function, key) not in seen:
                seen.add((function, key))
                ids[f"{function}_{name}"] = function
    ids["group_images"] = "group_images"
    ids |= {f"train_{name}": "train_model" for name, _, _ in candidates}
    return ids | {name: name for name in ("select_model", "evaluate_model", "promote_model")}


def find_configuration(name: str, folder: Path) -> Path:
    """The file that `--config` names: a path, or a name in `folder`; raises InputError where there is none."""
    for path in (Path(name), folder / name, folder / f"{name}.yaml"):
        if os.path.isfile(path):  # Path.is_file raises where the name is too long
            return path
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    known = f"{folder.name}/ has {', '.join(names)}" if names else f"{folder} is empty"
    hint = f"; did you mean {nearest(Path(name).stem, names)!r}?" if names else ""
    raise InputError(f"--config {name}: there is no such file or name ({known}){hint}")


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfiguration:
    """Read, override and check an experiment file.

    `overrides` are `key.path=value` with the path relative to `parameters` (or starting with another top-level key)
    and the value in YAML. Raises ConfigurationError with a line for everything that is wrong.
    """
    shown = path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
    document, problems = _read(path)
    said: list[Override] = []
    lines = [f"{shown}: {_dotted(problem)}" for problem in problems]
    for override in overrides:
        try:
            said.append(_override(document, override))
        except InputError as error:
            lines.append(f"--set {override}: {error}")
    lines += [f"{_origin(shown, problem, said)}{problem.text}" for problem in check(document)]
    if lines:
        raise ConfigurationError(lines)
    return RunConfiguration.model_validate(document, strict=True)


def check(document: Any) -> list[Problem]:
    """Everything that is wrong with an experiment file's content."""
    if not isinstance(document, dict):
        return [Problem((), "should be a mapping with the key 'parameters'")]
    problems = [_with_reason(problem) for problem in check_schema(RunConfiguration, document)]
    table = _settings_table()
    for path, settings in _settings_sections(document):
        problems += check_settings(table, settings, path)
    return problems + _check_steps(document)


def _with_reason(problem: Problem) -> Problem:
    path = problem.path
    if len(path) == 1 and path[0] in REFUSED:
        return Problem(path, REFUSED[str(path[0])])
    if len(path) == 3 and path[0] == "steps" and path[2] in REFUSED_IN_STEP:
        return Problem(path, REFUSED_IN_STEP[str(path[2])])
    return problem


def _check_steps(document: dict[str, Any]) -> list[Problem]:
    """Steps that the run will not have, as far as the candidates can be read."""
    steps = _items(document.get("steps"))
    ids = _ids_as_far_as_known(document.get("parameters")) if steps else {}
    valid = {*ids, *ids.values()}
    problems = []
    for name, step in steps:
        if name not in valid:
            text = f"there is no such step; the nearest is {nearest(str(name), valid)!r}"
            problems.append(Problem(("steps", name), text))
        elif name == "promote_model" and isinstance(step, dict) and step.get("enable_cache"):
            problems.append(Problem(("steps", name, "enable_cache"), "a promotion must not be cached"))
    return problems


def _ids_as_far_as_known(parameters: Any) -> dict[str, str]:
    """Where a candidate is wrong, every step that any candidate of its name could have."""
    found = parameters.get("candidates") if isinstance(parameters, dict) else None
    candidates = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    try:
        return step_ids([CandidateConfig.model_validate(each, strict=True) for each in candidates])
    except ValidationError:
        return _step_ids([(name := str(each.get("name")), name, True) for each in candidates])


def _settings_sections(document: dict[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    steps = document.get("steps")
    for path, section in [((), document), *((("steps", name), step) for name, step in _items(steps))]:
        if isinstance(section, dict) and isinstance(section.get("settings"), dict):
            yield (*path, "settings"), section["settings"]


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _settings_table() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "settings.json").read_text())


def _dotted(problem: Problem) -> str:
    return ".".join(map(str, problem.path)) + (": " if problem.path else "") + problem.text


def _origin(file: Path, problem: Problem, overrides: Sequence[Override]) -> str:
    """Who said it: the last override that made or set this key, or else the file."""
    for override in reversed(overrides):
        if problem.path[: len(override.made)] == override.made:
            beside = override.path[: len(problem.path)] != problem.path[: len(override.path)]  # in what it has made
            inner = ".".join(map(str, problem.path if beside else problem.path[len(override.path) :]))
            return f"--set {override.text}: " + (f"{inner}: " if inner else "")
    return f"{file}: " + (".".join(map(str, problem.path)) + ": " if problem.path else "")


# Reading


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


def _read(path: Path) -> tuple[Any, list[Problem]]:
    """The file's content and the keys that stand in it twice; raises InputError where it is not YAML."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        duplicates = list(_duplicates(node, ()))  # before anchors are merged into the nodes
        return (loader.construct_document(node) if node else None), duplicates
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: {_yaml_error(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply, or an anchor refers to itself") from error


def _yaml_error(error: Exception) -> str:
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


# Overriding


def _override(document: Any, text: str) -> Override:
    """Put the value of `key.path=value` into the document. Messages do not repeat the override."""
    key, equals, yaml_value = text.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise InputError("write key.path=value, for example candidates.0.epochs=5")
    try:
        value = yaml.load(yaml_value, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the value {_yaml_error(error)}; put it in quotes inside the shell's quotes") from error
    path: list[str | int] = []
    made = 0
    target = document
    parts = _absolute(key.split("."), document)
    for part in parts:
        path.append(_index(target, part, path))
        last = len(path) == len(parts)
        if last or (isinstance(target, dict) and target.get(part) is None):
            made = made or len(path)
            target[path[-1]] = value if last else {}
        target = target[path[-1]]
    return Override(text, tuple(path), tuple(path[:made]))


def _absolute(parts: list[str], document: Any) -> list[str]:
    if parts[0] not in RunConfiguration.model_fields and parts[0] not in REFUSED:
        return ["parameters", *parts]
    for at in (1, 3):  # settings.orchestrator.sagemaker.… and steps.NAME.settings.orchestrator.sagemaker.…
        joined = ".".join(parts[at : at + 2])
        if parts[at - 1 : at] == ["settings"] and len(parts) > at + 1 and is_settings_key(_settings_table(), joined):
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
