"""What does each backbone cost? Parameters, multiply-adds and images per second of every network that can be named."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import child  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from diascope import hub  # noqa: E402
from diascope.backbones import BACKBONES, COMPACT_CNN, find_backbone  # noqa: E402
from diascope.hub_architectures import architecture  # noqa: E402

OUT = Path(__file__).parent / "out" / "backbones.jsonl"
LARGEST = 400_000_000  # parameters; more are not measured
HEAD = ["network", "px", "weights", "million parameters", "input", "GMACs", "features", "images/s f32", "images/s bf16"]
DATA = {
    "imagenet21k": "ImageNet-21k",
    "in22k": "ImageNet-22k and ImageNet",
    "ade20k": "ADE20K",
    "cityscapes": "Cityscapes",
    "dinov2": "LVD-142M",
}
INPUTS = {  # where black and white go, and in which order of channels
    "0 to 255": (0, 0, 0, 255, 255, 255),
    "-1 to 1": (-1, -1, -1, 1, 1, 1),
    "0 to 1": (0, 0, 0, 1, 1, 1),
    "mean and deviation": (-2.1179, -2.0357, -1.8044, 2.2489, 2.4286, 2.64),
    "BGR less mean": (-103.939, -116.779, -123.68, 151.061, 138.221, 131.32),
}


def main() -> None:
    """Measure what was not measured yet, one process for each network, and print the table or put it into a page."""
    options = _options()
    found = _stored(options.out)
    if not options.table:
        print(machine(), file=sys.stderr)
        for name in options.only or _names():
            if name not in found:
                found[name] = _measure(name, options)
    lines = list(rows(found))
    if options.into:
        options.into.write_text(_with_table(options.into.read_text(encoding="utf-8"), lines), encoding="utf-8")
    else:
        print("\n".join(lines))


def rows(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The lines of a Markdown table with every network, also those that were not measured."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---|---:|---|---:|---|---:|---:|---:|---:|"
    for name in _names():
        cells: list[object] = [f"`{name}`", find_backbone(name).size, _trained_on(name)]
        of = found.get(name, {"error": "not measured"})
        if "error" in of:
            cells += ["", of["error"], "", "", "", ""]
        else:
            rates = [of["rates"].get(precision) for precision in ("f32", "bf16")]
            cells += [
                f"{of['parameters'] / 1e6:.1f}",
                _input(of["convention"]),
                f"{of['gigamacs']:.2f}",
                of["features"],
            ]
            cells += [_number(rate["cpu"] * of["cores"]) if rate else "" for rate in rates]
        yield f"| {' | '.join(map(str, cells))} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _with_table(page: str, lines: list[str]) -> str:
    """The page with this table in place of the one with the same head."""
    before, head, after = page.partition(f"| {HEAD[0]} |")
    rest = after.splitlines()
    last = next((i for i, line in enumerate(rest[1:], 1) if not line.startswith("|")), len(rest))
    assert head, "the page has no such table"
    return "\n".join([before + lines[0], *lines[1:], *rest[last:]]) + "\n"


def _trained_on(name: str) -> str:
    """What there are weights of, by the network's name."""
    if not hub.is_hub(name):
        return "ImageNet" if name != COMPACT_CNN else ""
    return next((said for part, said in DATA.items() if part in name), "ImageNet")


def _names() -> Iterator[str]:
    """Every network; of presets that are built alike, the first."""
    yield from BACKBONES
    seen = set()
    for name, preset in hub.presets().items():
        built = json.dumps([architecture(name, preset.size), preset.size])
        if built not in seen and (preset.parameters or 0) < LARGEST and architecture(name, preset.size):
            seen.add(built)
            yield f"{hub.PREFIX}{name}"


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    try:
        answer = child.run("backbone", backbone=name, seconds=options.seconds)
    except RuntimeError as error:
        answer = {"error": str(error).strip().splitlines()[-1][:200]}
    print(name, json.dumps(answer), file=sys.stderr, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:  # at once: the next ones take long
        file.write(json.dumps({"name": name, **answer}) + "\n")
    return answer


def _stored(path: Path) -> dict[str, dict[str, Any]]:
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {line.pop("name"): line for line in lines}


def _input(convention: list[list[float]]) -> str:
    """A name for where black and white go; networks of their own kind say the range."""
    ends = [value for end in convention for value in end]
    for name, known in INPUTS.items():
        if all(abs(a - b) < 0.01 for a, b in zip(ends, known, strict=True)):
            return name
    return f"{min(ends):.3g} to {max(ends):.3g}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks by their names (default: all)")
    parser.add_argument("--seconds", type=float, default=4, help="of measuring, for each network and precision")
    parser.add_argument("--out", type=Path, default=OUT, help="results, which are kept and gone on with")
    parser.add_argument("--table", action="store_true", help="measure nothing: only the table of what was measured")
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="put the table into this page, in place of the old one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
