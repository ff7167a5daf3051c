"""What tests in several files ask Docker's engine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from diascope import docker


def ask(*arguments: str) -> str:
    """What the `docker` command answers."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def on_its_network() -> Iterator[None]:
    """The host's, where the engine has no bridge network."""
    with pytest.MonkeyPatch.context() as patch:
        if not ask("network", "ls", "--quiet", "--filter", "driver=bridge"):
            patch.setenv(docker.NETWORK, "host")
        yield
