"""What the container starts with, without a container."""

import ast
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from container import start, trim

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, 3000),
        (["serve"], {}, 8080),
        (["serve"], {"SAGEMAKER_BIND_TO_PORT": "9000"}, 9000),
        ([], {"SAGEMAKER_BIND_TO_PORT": "9000"}, 3000),
        ([], {"PORT": "5000", "BENTOML_PORT": "6000"}, 5000),
        ([], {"BENTOML_PORT": "6000"}, 6000),
        (["serve"], {"PORT": "5000"}, 5000),
        (["/app/bin/python", "-m", "bentoml", "serve", "/bento", "--port", "4000"], {}, 4000),
        (["/app/bin/python", "start.py", "serve", ""], {}, 8080),  # as /proc/1/cmdline says it
    ],
)
def test_the_port_is_where_it_is_looked_for(arguments, environment, expected):
    assert start.port(arguments, environment) == expected


@pytest.mark.parametrize(("status", "ready"), [("200 OK", True), ("500 Internal Server Error", False)])
def test_ready_is_what_the_service_says(status, ready):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1000).startswith(b"GET /readyz ")
                connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        assert start.is_ready(server.getsockname()[1]) is ready
        thread.join()


def test_nobody_listening_is_not_ready():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        assert start.is_ready(probe.getsockname()[1]) is False


def test_an_unknown_argument_is_refused_in_one_sentence():
    done = subprocess.run([sys.executable, start.__file__, "sreve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "'sreve' is unknown: give nothing, or `serve` for port 8080.\n"


def test_the_health_check_needs_no_installed_package():
    names = {
        alias.name.split(".")[0]
        for node in ast.parse(Path(start.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("writable", [True, False])
def test_folders_are_where_one_can_write(tmp_path, monkeypatch, writable):
    code = (
        "import os; from container import start; start.prepare_folders(); print(os.environ['PROMETHEUS_MULTIPROC_DIR'])"
    )
    if not writable:  # as tempfile sees a read-only file system
        code = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc']; " + code
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    folder = Path(done.stdout.strip())
    assert folder.parent == (tmp_path if writable else Path("/dev/shm")), done.stderr
    folder.rmdir()


def test_what_is_removed_is_there_in_the_packages_that_are_pinned():
    """A pattern that finds nothing any more is out of date (the packages here are those of the container)."""
    found = importlib.util.find_spec("openvino")
    assert found is not None
    assert found.origin is not None
    packages = Path(found.origin).parent.parent
    assert [pattern for pattern in trim.SERVING if not any(packages.glob(pattern))] == []
    removed = trim.unneeded(packages, trim.SERVING)
    assert packages / "openvino" / "libs" / "libopenvino_intel_gpu_plugin.so" in removed
    for needed in (
        "libopenvino_intel_cpu_plugin.so",
        "libopenvino.so.*",
        "libopenvino_ir_frontend.so.*",
        "libtbb.so.*",
    ):
        (kept,) = (packages / "openvino" / "libs").glob(needed)
        assert kept not in removed
