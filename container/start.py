"""What runs in the container: the service, and the check that it is ready."""

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PORT, SAGEMAKER_PORT = 3000, 8080
LAMBDA = "AWS_LAMBDA_RUNTIME_API"  # AWS Lambda says with it where events are to be fetched
HANDLER = "serving.lambda_entry.handle"
SHARED_MEMORY = "/dev/shm"  # what can be written to on a read-only file system
STOP_SECONDS = 4  # requests that take longer are ended, so that the container is gone after five
BACKLOG = 2048


def main(arguments: Sequence[str]) -> int:
    """Serve, or with `health` tell whether the service answers; on AWS Lambda, answer its events."""
    if os.environ.get(LAMBDA):
        prepare_folders()
        answer_events()
        return 0
    if arguments[:1] == ["health"]:
        started_with = Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")
        return 0 if is_ready(port(started_with, os.environ)) else 1
    if unknown := [argument for argument in arguments if argument != "serve"]:
        print(f"{unknown[0]!r} is unknown: give nothing, or `serve` for port {SAGEMAKER_PORT}.", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    prepare_folders()
    serve(port(arguments, os.environ))
    return 0


def stop(*_: object) -> None:
    """End at once: while the service starts, and when the server has finished everything, which then says so again.

    Process 1 would ignore the signal without a handler.
    """
    sys.exit(0)


def port(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return the port by --port, PORT (Cloud Run, Heroku), BENTOML_PORT, SageMaker's `serve`, or BentoML's default."""
    if "--port" in arguments:  # of the server that several workers run under
        return int(arguments[arguments.index("--port") + 1])
    sagemaker = environment.get("SAGEMAKER_BIND_TO_PORT", SAGEMAKER_PORT) if "serve" in arguments else PORT
    return int(environment.get("PORT") or environment.get("BENTOML_PORT") or sagemaker)


def is_ready(number: int) -> bool:
    """Return whether /readyz answers on this port; without an HTTP library, whose import would take longer."""
    try:
        with socket.create_connection(("127.0.0.1", number), timeout=2) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
    except OSError:
        return False


def prepare_folders() -> None:
    """Name folders that can be written to, where the file system is read-only."""
    import tempfile

    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = os.environ["TMPDIR"] = tempfile.tempdir = SHARED_MEMORY
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="metrics-", dir=folder)


def serve(number: int) -> None:
    """Run the service until SIGTERM; one worker runs in this very process, which saves starting a supervisor."""
    from _bentoml_impl.loader import load

    bento, patience = os.environ["BENTO_PATH"], ["--timeout-graceful-shutdown", str(STOP_SECONDS)]
    if load(bento).config.get("workers", 1) != 1:
        command = [sys.executable, "-m", "bentoml", "serve", bento, "--port", str(number), *patience]
        os.execv(sys.executable, command)
    from _bentoml_impl.worker.service import main as work

    listening = socket.create_server(("0.0.0.0", number), backlog=BACKLOG)
    work.main(args=[bento, "--fd", str(listening.detach()), "--worker-id", "1", *patience], standalone_mode=False)


def answer_events() -> None:
    """Fetch events and answer them for as long as Lambda keeps this sandbox, by Amazon's own interface client."""
    from awslambdaric.__main__ import main as run

    # One process, one event at a time; what is written is gone with the sandbox.
    os.environ.update(DIASCOPE_WORKERS="1", DIASCOPE_MONITORING="")
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    run(["awslambdaric", HANDLER])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
