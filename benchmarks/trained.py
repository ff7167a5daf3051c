"""What does one training run cost, and what does it leave? Answered by a process and a ZenML of its own."""

import contextlib
import io
import json
import os
import shutil
import time
from pathlib import Path

from benchmarks import child

ARTIFACTS = ("classifier", "dataset")


def main() -> None:
    """Train as `run.py` does, copy classifier and dataset out of the artifact store, print seconds and megabytes."""
    asked = child.options()
    home, out = Path(asked["home"]), Path(asked["out"])
    home.mkdir(parents=True)
    os.environ |= {"ZENML_CONFIG_PATH": str(home), "ZENML_ANALYTICS_OPT_IN": "false"}
    os.environ.pop("ZENML_ACTIVE_STACK_ID", None)
    import run

    printed, start = io.StringIO(), time.perf_counter()
    with contextlib.chdir(home), contextlib.redirect_stdout(printed):
        status = run.main(["--training", "--json", *asked["arguments"]])
    seconds, megabytes = time.perf_counter() - start, child.peak_megabytes()
    if status:
        raise SystemExit(status)  # what is wrong is on standard error
    result = json.loads(printed.getvalue().splitlines()[-1])
    _keep(result["model"], out)
    steps = {name: spent for name, spent in result["seconds"]["steps"].items() if spent >= 1}
    print(json.dumps({"seconds": seconds, "megabytes": megabytes, "steps": steps, "winner": result["winner"]}))


def _keep(model: dict[str, str], out: Path) -> None:
    from zenml.client import Client

    version = Client().get_model_version(model["name"], model["version"])
    for name in ARTIFACTS:
        artifact = version.get_artifact(name)
        assert artifact is not None
        shutil.copytree(artifact.load().root, out / name)


if __name__ == "__main__":
    main()
