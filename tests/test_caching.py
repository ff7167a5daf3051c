"""A step runs again when library code behind it has changed."""

from steps import caching
from steps.caching import ROOT, depends_on_library


def files(step: str) -> set[str]:
    return set(depends_on_library(str(ROOT / "steps" / f"{step}.py")).file_dependencies)


def test_what_a_step_imports_counts_also_through_others_and_inside_functions():
    found = files("extract_features")
    assert {"diascope/features.py", "diascope/engine.py", "diascope/images.py", "requirements/train.txt"} <= found
    assert "diascope/gradient.py" in files("train_model")  # imported inside a function of descent_fit.py
    assert "diascope/reports/templates/style.css" in files("check_data")


def test_what_it_does_not_import_does_not():
    assert "diascope/gradient.py" not in files("ingest_data")
    assert "diascope/heads.py" not in files("extract_features")


def test_all_named_files_are_there():
    for path in (ROOT / "steps").glob("*.py"):
        for name in depends_on_library(str(path)).file_dependencies:
            assert (caching.ROOT / name).is_file()
