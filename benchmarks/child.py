"""How is something measured in a process of its own, so that neither imports nor memory are shared?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(module: str, **options: Any) -> dict[str, Any]:
    """Run a module of this package with its options as JSON on stdin; returns the JSON on its last line of stdout.

    Raises RuntimeError, with the end of what it said, where the process fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, input=json.dumps(options), text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def options() -> dict[str, Any]:
    """Return what the parent process asks for."""
    asked: dict[str, Any] = json.load(sys.stdin)
    return asked


def peak_megabytes() -> float:
    """Return the most memory that this process has held so far (Linux: VmHWM, which a new program starts at zero)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
