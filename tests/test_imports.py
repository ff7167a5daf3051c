"""Which part may import which, and what must not be imported before it is needed?"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    *("run", "commands", "pipelines", "steps", "materializers", "stacks", "targets", "diascope"),
    *("service", "serving", "benchmarks", "tests"),
}
MAY_IMPORT = {
    "run": {"commands", "diascope"},
    "commands": {"pipelines", "stacks", "diascope"},
    "pipelines": {"steps", "targets", "stacks", "diascope"},
    "steps": {"materializers", "targets", "stacks", "diascope"},
    "materializers": {"diascope"},
    "stacks": {"diascope"},
    "targets": {"diascope"},
    "diascope": set(),
    "service": {"serving", "diascope"},
    "serving": {"diascope"},
}
NEVER = {
    "diascope": {"zenml", "mlflow", "bentoml"},
    "stacks": {"bentoml", "tensorflow", "keras"},
    "targets": {"zenml", "mlflow", "bentoml", "tensorflow", "keras"},
    "service": {"zenml", "mlflow", "tensorflow", "keras", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib"},
    "serving": {"zenml", "mlflow", "tensorflow", "keras", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib"},
}
HEAVY = {
    *("tensorflow", "keras", "openvino", "sklearn", "scipy", "matplotlib", "pandas"),
    *("boto3", "botocore", "gdown", "requests", "pydicom", "rich"),
}
# These have Keras at the top, and are imported in functions alone.
LATE = {
    "diascope.assembly",
    "diascope.augmentation",
    "diascope.batches",
    "diascope.descent",
    "diascope.distribution",
    "diascope.gradient",
    "diascope.original",
    "diascope.precision",
    "diascope.rates",
}


def modules(room: str) -> list[Path]:
    return [ROOT / f"{room}.py"] if room in ("run", "service") else sorted((ROOT / room).rglob("*.py"))


def named(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imports(path: Path, everywhere: bool) -> Iterator[str]:
    """Full names of what a file imports: at the top, where it runs at once, or everywhere."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            assert isinstance(node.args[0], ast.Constant), f"{path} imports what cannot be told"
            yield str(node.args[0].value)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if everywhere or not (inside or typing):
            waiting.extend(ast.iter_child_nodes(node))
        elif isinstance(node, ast.If):
            waiting.extend(node.orelse)


def root_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


def test_the_reader_of_imports_sees_them_all(tmp_path: Path) -> None:
    code = """
import a.b
from c import d as e
if TYPE_CHECKING:
    import f
else:
    import g
try:
    import h
finally:
    with x:
        import i
class K:
    import j
    def late(self):
        from k.l import m
import_module("n")
"""
    (tmp_path / "some.py").write_text(code)
    top = {"a.b", "c.d", "g", "h", "i", "j", "n"}
    assert set(imports(tmp_path / "some.py", everywhere=False)) == top
    assert set(imports(tmp_path / "some.py", everywhere=True)) == top | {"f", "k.l.m"}


def test_every_room_is_there() -> None:
    assert all(modules(room) for room in MAY_IMPORT)
    known = {named(path) for path in modules("diascope")}
    assert known >= LATE


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room: str) -> None:
    wrong = [
        f"{named(path)} imports {name}"
        for path in modules(room)
        for name in imports(path, everywhere=True)
        if root_of(name) in OURS - {room} - MAY_IMPORT[room]
    ]
    assert not wrong


@pytest.mark.parametrize("room", NEVER)
def test_some_libraries_have_no_place_in_some_rooms(room: str) -> None:
    wrong = [
        f"{named(path)} imports {name}"
        for path in modules(room)
        for name in imports(path, everywhere=True)
        if root_of(name) in NEVER[room]
    ]
    assert not wrong


def test_heavy_libraries_are_imported_where_they_are_needed() -> None:
    wrong = [
        f"{named(path)} imports {name} at its top"
        for room in MAY_IMPORT
        for path in modules(room)
        if named(path) not in LATE
        for name in imports(path, everywhere=False)
        if root_of(name) in HEAVY or any(name == late or name.startswith(f"{late}.") for late in LATE)
    ]
    assert not wrong


def test_the_library_has_no_import_cycle() -> None:
    known = {named(path): path for path in modules("diascope")}
    needs = {
        module: {
            next((part for part in (name, name.rpartition(".")[0]) if part in known), module)
            for name in imports(path, everywhere=False)
            if root_of(name) == "diascope"
        }
        - {module}
        for module, path in known.items()
    }
    while free := [module for module, needed in needs.items() if not needed & needs.keys()]:
        for module in free:
            del needs[module]
    assert not needs


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("diascope.config, diascope.experiment", {"tensorflow", "keras", "pandas", "pyarrow", "zenml", "mlflow"}),
        ("diascope.classifier", {"tensorflow", "keras", "zenml", "mlflow", "scipy", "sklearn", "pandas", "matplotlib"}),
        ("diascope.candidates, diascope.evaluation, diascope.features", {"tensorflow", "keras", "zenml", "sklearn"}),
        ("diascope.reports, diascope.summary, diascope.promotion", {"tensorflow", "keras", "zenml", "openvino"}),
        ("commands.training, commands.deployment", {"tensorflow", "keras", "zenml", "mlflow", "rich"}),
        ("run", {"tensorflow", "keras", "numpy", "pydantic", "zenml", "rich"}),
        ("targets.ecs, targets.kubernetes, targets.container", {"boto3", "numpy", "pandas", "requests", "zenml"}),
        ("targets.sagemaker, targets.lambda_function", {"boto3", "botocore", "numpy", "requests", "zenml"}),
        ("service", {"tensorflow", "keras", "zenml", "mlflow", "scipy", "sklearn", "pandas", "pyarrow", "matplotlib"}),
    ],
)
def test_an_import_brings_nothing_heavy_along(module: str, unwanted: set[str]) -> None:
    code = f"import {module}, sys; print(*(name for name in {sorted(unwanted)} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []
