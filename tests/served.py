"""A running service: its own BentoML store with one small classifier, its own port, its own process."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from diascope.checksums import write_checksums

ROOT = Path(__file__).resolve().parent.parent
NAME = {"name": "tiny", "version": "7"}
CARD = {"model": {**NAME, "created": "2026-01-01", "stage": "production"}, "class_names": ["across", "along"]}
PATIENCE = 60  # seconds until it must be ready, also on a busy machine


def store(home: Path, classifier: Path) -> Path:
    """Put a classifier with a card into a BentoML store under `home`, as the deployment does; return its folder."""
    code = (
        "import bentoml, pathlib, shutil, sys\n"
        "with bentoml.models.create('diascope:tiny-7') as model:\n"
        "    shutil.copytree(sys.argv[1], model.path, dirs_exist_ok=True)\n"
    )
    packed = home / "packed"
    shutil.copytree(classifier, packed, ignore=shutil.ignore_patterns("*.keras"))
    (packed / "card.json").write_text(json.dumps(CARD))
    (packed / "card.html").write_text("<!doctype html><title>Card</title><style>p {color: red}</style><p>Card</p>")
    write_checksums(packed)
    subprocess.run([sys.executable, "-c", code, str(packed)], env=environment(home), check=True, timeout=PATIENCE)
    return home / "models" / "diascope" / "tiny-7"


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Variables of a process that knows no other store and no settings but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DIASCOPE_", "BENTOML_"))}
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "DIASCOPE_MONITORING": ""}
    return {**kept, **own, **settings}


def start(home: Path, port: int, log: Path, **settings: str) -> subprocess.Popen[bytes]:
    """Run `bentoml serve` in the project folder."""
    command = [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=environment(home, **settings), stdout=out, stderr=out)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, with force where it does not go."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return as soon as it answers."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


@contextmanager
def served(home: Path, **settings: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A client of a service that runs, with environment variables of its own."""
    port, log = free_port(), home / f"log-{time.monotonic_ns()}.txt"
    process = start(home, port, log, **settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_until_ready(client, process, log)
            yield client, process
    finally:
        stop(process)
