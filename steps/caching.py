"""When may a step's stored result be taken instead of running it again?"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from zenml.config.cache_policy import CachePolicy

PINS = "requirements/train.txt"  # other library versions may give other numbers
ROOT = Path(__file__).resolve().parent.parent


def depends_on_library(step_file: str) -> CachePolicy:
    """Return the policy for the step in this file: its result is good while the library code behind it is the same.

    ZenML's cache key covers the step's own source and inputs. This adds every file of `diascope` that the step
    imports, directly or through another, also inside functions.
    """
    files = sorted(_behind(Path(step_file).resolve()) - {Path(step_file).resolve()})
    return CachePolicy(file_dependencies=[PINS, *(path.relative_to(ROOT).as_posix() for path in files)])


@cache
def _behind(start: Path) -> frozenset[Path]:
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path) if path.suffix == ".py" else []
    return frozenset(found)


@cache  # every step stands on much the same files, and parsing them for each would add a second to every run
def _imported(path: Path) -> tuple[Path, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "diascope":
                yield from _files(ROOT / Path(*name.split(".")))


def _files(module: Path) -> Iterator[Path]:
    if module.with_suffix(".py").is_file():
        yield module.with_suffix(".py")
    elif module.is_dir() and module.name != "diascope":
        yield from (path for path in module.rglob("*") if path.suffix in {".py", ".html", ".css"})
