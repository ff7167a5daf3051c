"""Do the settings for SageMaker go together? It says so itself only when a step begins, after what came before it."""

from typing import Any

from diascope.problems import Problem

KEY = "orchestrator.sagemaker"
RUNTIME = 86_400  # seconds that ZenML allows a step unless it is told otherwise


def check_sagemaker(document: dict[str, Any]) -> list[Problem]:
    """Everything about instances and spot instances that SageMaker would refuse, in a checked experiment file."""
    common = _settings(document)
    problems = _check(common, ("settings", KEY))
    for name, step in _mapping(document.get("steps")).items():
        if own := _settings(_mapping(step)):
            arguments = _arguments(common) | _arguments(own)
            problems += _check(common | own | {"estimator_args": arguments}, ("steps", name, "settings", KEY))
    return list(dict.fromkeys(problems))


def _check(settings: dict[str, Any], path: tuple[str | int, ...]) -> list[Problem]:
    problems = []
    instance = settings.get("instance_type")
    if isinstance(instance, str) and not instance.startswith("ml."):
        problems.append(Problem((*path, "instance_type"), f"{instance!r} is none of SageMaker's: they begin with ml."))
    arguments = _arguments(settings)
    if not arguments.get("use_spot_instances"):
        return problems
    longest, wait = settings.get("max_runtime_in_seconds", RUNTIME), arguments.get("max_wait")
    if not isinstance(wait, int) or (isinstance(longest, int) and wait < longest):
        text = f"spot instances need a max_wait of at least max_runtime_in_seconds, which is {longest}"
        problems.append(Problem((*path, "estimator_args", "max_wait"), text))
    if settings.get("keep_alive_period_in_seconds"):
        text = "spot instances cannot be kept: leave it out, or use_spot_instances"
        problems.append(Problem((*path, "keep_alive_period_in_seconds"), text))
    return problems


def _settings(section: dict[str, Any]) -> dict[str, Any]:
    return _mapping(_mapping(section.get("settings")).get(KEY))


def _arguments(settings: dict[str, Any]) -> dict[str, Any]:
    return _mapping(settings.get("estimator_args"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
