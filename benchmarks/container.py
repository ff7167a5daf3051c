"""How is the service measured in its container?"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks import child
from benchmarks.prepared import Prepared
from benchmarks.servers import Server
from diascope import docker


@contextmanager
def container(prepared: Prepared) -> Iterator[Server]:
    """Build the image as a deployment does, run it while the block runs, and remove it; the engine must be local."""
    built = child.run("image", store=str(prepared.store))
    try:
        print(f"  image: {built['megabytes']:.0f} MB")
        with docker.running(built["tag"]) as running:
            first = psutil.Process(int(_docker("inspect", "--format", "{{.State.Pid}}", running.name)))
            port = int(running.url.rpartition(":")[2])
            yield Server(port, running.ready_seconds, lambda: [first, *first.children(recursive=True)])
    finally:
        _docker("rmi", built["tag"])


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
