"""Is this experiment file right, and what does it say?

ZenML ignores unknown top-level keys, wrongly nested step settings and unknown step names, so everything is checked
here, before anything expensive is imported or started.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from diascope import documents
from diascope.config import CandidateConfig, Experiment
from diascope.errors import InputError, nearest
from diascope.overrides import Override, override
from diascope.problems import KeyPath, Problem, check_schema, check_settings
from diascope.sagemaker import check_sagemaker
from diascope.schema import Section

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


INGESTS = "ingest_data"  # the step that a run on a stored version of the dataset does without


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
        """The file as ZenML shall read it to train: every parameter with its value, steps by their ids in the run."""
        document = self.model_dump(mode="json", exclude_unset=True, exclude={"parameters", "steps"})
        compared = self.parameters.taking_part
        asked = self.parameters.model_copy(update={"candidates": compared})
        document["parameters"] = asked.model_dump(mode="json", exclude={"deployment", "recipe_style"})
        ids = self.step_ids()
        steps: dict[str, Any] = {}
        for name, section in self.steps.items():  # a function's name stands for all of its steps
            said = section.model_dump(mode="json", exclude_unset=True)
            for step in [name] if name in ids else [step for step, function in ids.items() if function == name]:
                steps[step] = steps.get(step, {}) | said
        return yaml.safe_dump(document | ({"steps": steps} if steps else {}), sort_keys=False, allow_unicode=True)

    def step_ids(self) -> dict[str, str]:
        """The id of every step that a training run will have, and the name of its function."""
        ids = step_ids(self.parameters.taking_part, swept=self.parameters.sweep is not None)
        return ids if self.parameters.dataset.version is None else {k: v for k, v in ids.items() if v != INGESTS}

    def surroundings(self) -> str:
        """What the file says of any run, whatever its pipeline: settings, tags and the like, as ZenML shall read it."""
        training = {"parameters", "steps", "run_name"}
        document = self.model_dump(mode="json", exclude_unset=True, exclude=training)
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


class ConfigurationError(InputError):
    """Everything that is wrong with an experiment file, one line each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


def step_ids(candidates: Iterable[CandidateConfig], swept: bool = False) -> dict[str, str]:
    """The id of every step of a training run, and the name of its function; candidates share backbone and features."""
    from diascope.features import FeatureSpec

    return _step_ids([(each.name, FeatureSpec.of(each).key, not each.trains_network) for each in candidates], swept)


def _step_ids(candidates: Sequence[tuple[str, str, bool]], swept: bool) -> dict[str, str]:
    """`candidates` are names, what their features depend on, and whether they are trained on features alone."""
    ids = {INGESTS: INGESTS, "check_data": "check_data"}
    seen: set[tuple[str, str]] = set()
    for name, key, on_features in candidates:
        for function in ("base_model", "extract_features") if on_features else ("base_model",):
            if (function, key) not in seen:
                seen.add((function, key))
                ids[f"{function}_{name}"] = function
    ids |= {name: name for name in ("group_images", "explore_data")}
    ids |= {f"train_{name}": "train_model" for name, _, _ in candidates}
    ids |= {"sweep_settings": "sweep_settings"} if swept else {}
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
    document, problems = documents.read(path)
    said: list[Override] = []
    lines = [f"{shown}: {_dotted(problem)}" for problem in problems]
    top_level = {*RunConfiguration.model_fields, *REFUSED}
    for text in overrides:
        try:
            said.append(override(document, text, top_level, _settings_table()))
        except InputError as error:
            lines.append(f"--set {text}: {error}")
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
    return problems + check_sagemaker(document) + _check_steps(document) + _check_sweep(document, problems)


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
        if ids and name not in valid:
            text = f"there is no such step; the nearest is {nearest(str(name), valid)!r}"
            problems.append(Problem(("steps", name), text))
        elif name == "promote_model" and isinstance(step, dict) and step.get("enable_cache"):
            problems.append(Problem(("steps", name, "enable_cache"), "a promotion must not be cached"))
    return problems


def _check_sweep(document: dict[str, Any], problems: Sequence[Problem]) -> list[Problem]:
    """What a sweep may not say of the candidates, once all of the parameters can be read."""
    parameters = document.get("parameters")
    if not isinstance(parameters, dict) or parameters.get("sweep") is None:
        return []
    if any(problem.path[:1] == ("parameters",) for problem in problems):
        return []
    from diascope.sweep_checks import check_sweep

    experiment = Experiment.model_validate(parameters, strict=True)
    return check_sweep(experiment.sweep, experiment.taking_part) if experiment.sweep else []


def _ids_as_far_as_known(parameters: Any) -> dict[str, str]:
    """Where a candidate is wrong, every step that any candidate of its name could have; {} where one has no name."""
    found = parameters.get("candidates") if isinstance(parameters, dict) else None
    candidates = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    if not candidates or not all(isinstance(each.get("name"), str) for each in candidates):
        return {}
    swept = parameters.get("sweep") is not None
    try:
        return step_ids([CandidateConfig.model_validate(each, strict=True) for each in candidates], swept)
    except ValidationError:
        return _step_ids([(each["name"], each["name"], True) for each in candidates], swept)


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
    for each in reversed(overrides):
        if problem.path[: len(each.made)] == each.made:
            beside = each.path[: len(problem.path)] != problem.path[: len(each.path)]  # in what it has made
            inner = ".".join(map(str, problem.path if beside else problem.path[len(each.path) :]))
            return f"--set {each.text}: " + (f"{inner}: " if inner else "")
    return f"{file}: " + (".".join(map(str, problem.path)) + ": " if problem.path else "")
