"""Is the table of backbones whole, and does it say what was measured?"""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import backbones
from diascope.backbones import BACKBONES

ROOT = Path(__file__).resolve().parent.parent
MEASURED = {
    "size": 224,
    "features": 1000,
    "parameters": 12_345_678,
    "gigamacs": 1.5,
    "convention": [[-1, -1, -1], [1, 1, 1]],
    "rates": {"f32": {"wall": 1, "cpu": 100.04}, "bf16": {"wall": 1, "cpu": 21.23}},
    "cores": 2,
}


def test_every_network_has_its_row_in_the_page() -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and line.count("|") == 10]
    assert listed == list(backbones._names())
    assert set(BACKBONES) | {"hub:resnet_18_imagenet"} <= set(listed)


def test_a_row_says_what_was_measured_in_images_per_second_of_all_cores() -> None:
    lines = list(backbones.rows({"VGG16": MEASURED, "VGG19": {"error": "no room"}}))
    assert "| `VGG16` | 224 | ImageNet | 12.3 | -1 to 1 | 1.50 | 1000 | 200 | 42.5 |" in lines
    assert "| `VGG19` | 224 | ImageNet |  | no room |  |  |  |  |" in lines
    assert "| `compact_cnn` | 96 |  |  | not measured |  |  |  |  |" in lines


def test_the_table_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    page = "# Title\n\n| network | px |\n|---|\n| old | 1 |\n\nLast words.\n"
    assert backbones._with_table(page, ["| network | new |", "|---|---|", "| a | b |"]) == (
        "# Title\n\n| network | new |\n|---|---|\n| a | b |\n\nLast words.\n"
    )


@pytest.mark.parametrize(
    ("convention", "name"),
    [([[0, 0, 0], [255, 255, 255]], "0 to 255"), ([[-0.5, 0, 0], [1, 1, 3.25]], "-0.5 to 3.25")],
)
def test_the_input_has_a_name(convention: list[list[float]], name: str) -> None:
    assert backbones._input(convention) == name


def test_one_network_is_measured_in_a_process_of_its_own_and_kept(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/backbones.py", "--only", "compact_cnn", "--seconds", "0.1"]
    done = [
        subprocess.run(
            [*command, "--out", str(tmp_path / "out.jsonl")], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    row = next(line for line in done[0].stdout.splitlines() if "compact_cnn" in line)
    assert row in done[1].stdout
    assert row.startswith("| `compact_cnn` | 96 |  | 0.1 | -1 to 1 | 0.03 | 96 |")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
