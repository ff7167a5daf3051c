"""What do ten times the images cost, in seconds and in memory?"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import child, data
from benchmarks.figure import Figure
from benchmarks.ours import Laps, candidate, compare_folds
from diascope.development import Development
from diascope.features import FeatureSpec, extract_features, write_backbone
from diascope.heads import fit_logistic

TIMES = 10
LINEAR = 1.1  # seconds per image may grow by this much and still be called linear
PHASES = ("ingest", "features", "head")  # that see the images


def measure(scratch: Path, *, size: int, once: int = 1, times: int = TIMES) -> list[Figure]:
    """Export, ingest, extract features and fit for the demo's images and for many times as many, a process each."""
    answers = []
    for count in (once, once * times):
        folder = scratch / f"demo-{count}"
        data.write_demos(folder, count)
        answers.append(child.run("scale", folder=str(folder), size=size))
    few, many = answers
    seconds, peak = (
        {f"{each['n']} images": value(each) for each in answers}
        for value in (lambda each: sum(each["seconds"][phase] for phase in PHASES), lambda each: each["peaks"]["head"])
    )
    (less, more), (small, large) = seconds.values(), peak.values()
    n = many["n"] / few["n"]
    spent = [f"{each['n']} images: {_phases(each['seconds'], 's')}" for each in answers]
    held = [f"{each['n']} images, peak after {_phases(each['peaks'], 'MB')}" for each in answers]
    growth = more / less / n
    return [
        Figure(f"time of {n:.1f} times the images, per image", "s", seconds, growth, LINEAR, "at most", spent),
        Figure("peak memory of the same", "MB", peak, large / small, 1.3, "at most", held),
    ]


def _phases(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{phase} {value:.1f} {unit}" for phase, value in values.items())


def main() -> None:
    """Print seconds and peak memory by phase, all phases in one process as in a run."""
    asked = child.options()
    peaks: dict[str, float] = {}
    lap = Laps()

    def end(phase: str) -> None:
        lap(phase)
        peaks[phase] = child.peak_megabytes()

    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in ("backbone", "features", "head"):
            (root / name).mkdir()
        config = candidate("MobileNetV2", asked["size"], 0.35)
        backbone = write_backbone(FeatureSpec.of(config), root / "backbone", data.SEED)
        end("export")
        dataset = data.store(Path(asked["folder"]), root / "dataset", demo=True)
        end("ingest")
        features = extract_features(dataset, backbone, ["train", "validation"], root / "features")
        end("features")
        groups, _ = compare_folds(config, backbone, dataset, features, root / "head")
        labels, k = Development.of(dataset, groups).labels, len(dataset.info.class_names)
        fit_logistic(np.asarray(features.array()), labels, k, [1e-3], config)
        end("head")
        n = len(dataset.index())
    print(json.dumps({"n": n, "seconds": lap.seconds, "peaks": peaks}))


if __name__ == "__main__":
    main()
