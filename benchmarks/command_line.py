"""How long does a person wait for help, and for a run that has nothing left to do?"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.child import ROOT
from benchmarks.figure import Figure, medians

ALWAYS_RUNS = "promote_model"  # its answer depends on what is in production now
# Imported by Python at every start when its folder is on PYTHONPATH.
WITNESS = """
import atexit, os, sys
atexit.register(lambda: open(os.environ["BENCHMARK_MODULES"], "w").write("\\n".join(sys.modules)))
"""


def measure_cached(scratch: Path, *, config: str = "demo", overrides: tuple[str, ...] = (), repeats: int = 5) -> Figure:
    """Compare a training run that finds every step cached with an empty pipeline, in a ZenML home of its own."""
    environment = _isolated(scratch)
    training = [sys.executable, str(ROOT / "run.py"), "--training", "--json", "--config", config]
    training += [word for override in overrides for word in ("--set", override)]
    first = _seconds(training, scratch, environment)
    modules: set[str] = set()

    def cached() -> float:
        start = time.perf_counter()
        answer = json.loads(_output(training, scratch, environment).splitlines()[-1])
        seconds = time.perf_counter() - start
        ran = [name for name, spent in answer["seconds"]["steps"].items() if spent and name != ALWAYS_RUNS]
        if ran:
            raise RuntimeError(f"not cached: {', '.join(ran)}; was the source changed meanwhile?")
        modules.update(Path(environment["BENCHMARK_MODULES"]).read_text().split())
        return seconds

    empty = [sys.executable, str(ROOT / "benchmarks" / "nothing.py")]
    _seconds(empty, scratch, environment)
    bars = medians(repeats, {"empty pipeline": lambda: _seconds(empty, scratch, environment), "cached run": cached})
    loaded = sorted(modules & {"tensorflow", "keras"})
    notes = [f"loads {' and '.join(loaded)}: IT SHOULD NOT" if loaded else "loads neither TensorFlow nor Keras"]
    notes += [f"medians of {repeats}; the first run took {first:.0f} s"]
    ratio = bars["cached run"] / bars["empty pipeline"]
    return Figure(f"cached re-run of {config}", "s", bars, ratio, 1.5, "at most", notes)


def measure_help(scratch: Path, *, repeats: int = 9) -> Figure:
    """Time `run.py --help`."""
    command = [sys.executable, str(ROOT / "run.py"), "--help"]
    bars = medians(repeats, {"run.py --help": lambda: _seconds(command, scratch, dict(os.environ))})
    return Figure("seconds until help is shown", "s", bars, bars["run.py --help"], 0.5, "at most", [])


def _isolated(scratch: Path) -> dict[str, str]:
    witness = scratch / "witness"
    witness.mkdir(parents=True)
    (witness / "sitecustomize.py").write_text(WITNESS)
    home = scratch / "zenml"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZENML_")}
    return kept | {
        "ZENML_CONFIG_PATH": str(home),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "DIASCOPE_CACHE": str(scratch / "cache"),
        "BENCHMARK_MODULES": str(scratch / "modules.txt"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(witness), kept.get("PYTHONPATH")])),
    }


def _seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    _output(command, folder, environment)
    return time.perf_counter() - start


def _output(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout
