"""What do ten times the images cost, in seconds and in memory?"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import child, data
from benchmarks.figure import Figure
from benchmarks.ours import Laps, candidate, compare_folds
from diascope.candidates import Development
from diascope.features import Backbone, extract_features
from diascope.heads import fit_logistic

TIMES = 10
LINEAR = 1.1  # seconds per image may grow by this much and still be called linear


def measure(backbone: Path, scratch: Path, *, once: int = 1, times: int = TIMES) -> list[Figure]:
    """Ingest, extract features and fit a head for the demo's images and for many times as many, a process each."""
    answers = []
    for count in (once, once * times):
        folder = scratch / f"demo-{count}"
        data.write_demos(folder, count)
        answers.append(child.run("scale", folder=str(folder), backbone=str(backbone)))
    few, many = answers
    n, larger = few["n"], many["n"]
    spent = [f"{each['n']} images: {_phases(each['seconds'], 's')}" for each in answers]
    held = [f"{each['n']} images, peak after each phase: {_phases(each['peaks'], 'MB')}" for each in answers]
    seconds, peak = ({f"{each['n']} images": each[key] for each in answers} for key in ("total", "peak"))
    growth = many["total"] / few["total"] / (larger / n)
    held.append("TensorFlow is loaded" if many["tensorflow"] else "TensorFlow is not loaded")
    return [
        Figure(f"time of {larger / n:.1f} times the images, per image", "s", seconds, growth, LINEAR, "at most", spent),
        Figure("peak memory of the same", "MB", peak, many["peak"] / few["peak"], 1.3, "at most", held),
    ]


def _phases(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{phase} {value:.1f} {unit}" for phase, value in values.items())


def main() -> None:
    """Print seconds and peak memory of one run without the export of the backbone, which does not see the images."""
    asked = child.options()
    peaks: dict[str, float] = {}
    lap = Laps()

    def end(phase: str) -> None:
        lap(phase)
        peaks[phase] = child.peak_megabytes()

    with TemporaryDirectory() as scratch:
        root, backbone = Path(scratch), Backbone(Path(asked["backbone"]))
        for name in ("features", "head"):
            (root / name).mkdir()
        dataset = data.store(Path(asked["folder"]), root / "dataset", demo=True)
        end("ingest")
        features = extract_features(dataset, backbone, ["train", "validation"], root / "features")
        end("features")
        spec = backbone.info.spec
        config = candidate(spec.backbone, backbone.info.size, spec.alpha)
        groups, _ = compare_folds(config, backbone, dataset, features, root / "head")
        labels, k = Development.of(dataset, groups).labels, len(dataset.info.class_names)
        fit_logistic(np.asarray(features.array()), labels, k, [1e-3], config)
        end("head")
        n = len(dataset.index())
    answer = {
        "n": n,
        "seconds": lap.seconds,
        "total": sum(lap.seconds.values()),
        "peaks": peaks,
        "peak": peaks["head"],
        "tensorflow": "tensorflow" in sys.modules,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
