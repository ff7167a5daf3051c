"""Where does the report of a model version go?"""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import diascope.reports
from diascope.errors import InputError
from pipelines import report, training_run

VERSION: Any = SimpleNamespace(model=SimpleNamespace(name="model"), number=3, created=datetime(2025, 3, 4, tzinfo=UTC))
RECORD: Any = SimpleNamespace(evaluation=None, predictions=lambda: None)


@pytest.fixture(autouse=True)
def _page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "shown_images", lambda *_: {})
    monkeypatch.setattr(diascope.reports, "report_page", lambda *_: "<p>page</p>")


def written() -> str | None:
    return training_run._or_none(report.write_report, VERSION, RECORD, None, None)


def test_the_report_is_written_below_the_working_directory(tmp_path: Path) -> None:
    assert written() == str(tmp_path / "reports" / "model-3.html")
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["model-3.html"]
    assert (tmp_path / "reports" / "model-3.html").read_text() == "<p>page</p>"


def test_other_pages_are_beside_it(tmp_path: Path) -> None:
    assert report.write_page(VERSION, "sweep", "<p>tried</p>") == tmp_path / "reports" / "model-3-sweep.html"
    assert (tmp_path / "reports" / "model-3-sweep.html").read_text() == "<p>tried</p>"


def test_a_run_counts_where_its_report_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    assert written() is None
    said = capsys.readouterr()
    assert said.err == f"The report '{tmp_path}/reports/model-3.html' cannot be written: File exists.\n"
    assert said.out == ""


def test_no_half_report_takes_the_place_of_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written()

    def full(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text.encode()[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        report.write_report(VERSION, RECORD, None, None)  # type: ignore[arg-type]
    assert (tmp_path / "reports" / "model-3.html").read_text() == "<p>page</p>"
