"""How is a Kubernetes cluster asked? (the `kubectl` command, with the user's own settings)"""

import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

from diascope.errors import InputError
from targets.target import TargetError

SECONDS = 60.0  # that one answer may take
FORWARDS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
# What the user can mend, by what kubectl says.
THEIRS = (
    "Forbidden",
    "Unauthorized",
    "logged in",
    "connect",
    "no such host",
    "context was not found",
    "current-context",
    "namespaces",
    "kubeconfig",
)


@dataclass(frozen=True)
class Kubectl:
    """The cluster of a context, and a namespace in it; None stands for what the user has set."""

    context: str | None
    namespace: str | None

    def is_configured(self) -> bool:
        """Whether there is a `kubectl`, and a cluster that it would speak to."""
        if shutil.which("kubectl") is None:
            return False
        if self.context or "KUBERNETES_SERVICE_HOST" in os.environ:  # the latter inside a cluster
            return True
        return self._call("config", "current-context", seconds=SECONDS).returncode == 0

    def run(self, *arguments: str, text: str | None = None, seconds: float = SECONDS) -> str:
        """Return what `kubectl` printed; raises InputError where the user can mend it, else TargetError."""
        try:
            done = self._call(*arguments, text=text, seconds=seconds)
        except subprocess.TimeoutExpired:
            raise TargetError(f"`kubectl {arguments[0]}` did not end within {seconds:g} seconds.") from None
        if done.returncode:
            said = _reason(done.stderr)
            kind = InputError if any(word in said for word in THEIRS) else TargetError
            raise kind(f"`kubectl {arguments[0]}` failed: {said}.")
        return done.stdout

    def read(self, *arguments: str) -> Any:
        """Return what `kubectl get` says of objects; None where there is no such object."""
        text = self.run("get", *arguments, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def forward(self, what: str, port: int) -> "Forward":
        """Open a way from this machine to a port of a pod."""
        command = [*self._command(), "port-forward", "--address=127.0.0.1", what, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch = threading.Timer(SECONDS, process.kill)
        watch.start()
        assert process.stdout is not None
        try:
            match = FORWARDS.search(process.stdout.readline())
        finally:
            watch.cancel()
        if match is None:
            process.kill()
            raise TargetError(f"`kubectl port-forward` failed: {_reason(process.communicate()[1])}.")
        threading.Thread(target=process.stdout.read, daemon=True).start()  # it says a line for each connection
        return Forward(f"http://127.0.0.1:{match[1]}", process)

    def _command(self) -> list[str]:
        program = shutil.which("kubectl")
        if program is None:
            raise InputError("There is no `kubectl` here: install it, or apply the manifests where there is one.")
        said = [f"--context={self.context}"] if self.context else []
        return [program, *said, *([f"--namespace={self.namespace}"] if self.namespace else [])]

    def _call(self, *arguments: str, seconds: float, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self._command(), *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )


@dataclass(frozen=True)
class Forward:
    """An open way to a pod."""

    url: str
    process: "subprocess.Popen[str]"

    def is_open(self) -> bool:
        """Whether it still is; it closes when the pod goes."""
        return self.process.poll() is None

    def close(self) -> None:
        """Close it; twice does no harm."""
        if self.is_open():
            self.process.terminate()
        self.process.wait(timeout=10)


def _reason(said: str) -> str:
    """The last line of an error, without what every one begins with."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "unable", "the connection"))]
    return (errors or lines or ["it did not say why"])[-1].removeprefix("error: ").rstrip(".")
