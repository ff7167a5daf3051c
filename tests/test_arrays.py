"""An array that is written row by row is the array, or an error."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diascope.arrays import write_rows

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(0, 3), (5, 3), (4, 2, 2, 3)])
def test_numpy_reads_what_was_written(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    write_rows(tmp_path / "a.npy", iter(array), shape, dtype)
    found = np.load(tmp_path / "a.npy", mmap_mode="r" if len(array) else None)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert np.array_equal(found, array)


def test_rows_of_another_type_or_order_are_converted(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 2, 2)
    write_rows(tmp_path / "a.npy", (row.T for row in array), array.shape, np.float32)
    assert np.array_equal(np.load(tmp_path / "a.npy"), array.transpose(0, 2, 1).astype(np.float32))


@pytest.mark.parametrize("n", [2, 4])
def test_another_number_of_rows_is_an_error(tmp_path: Path, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {n} rows, not 3"):
        write_rows(tmp_path / "a.npy", np.zeros((n, 5)), (3, 5), np.float32)


def test_rows_of_another_shape_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 1 .* \(4,\), not \(5,\)"):
        write_rows(tmp_path / "a.npy", np.zeros((3, 4)), (3, 5), np.float32)


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from diascope.arrays import write_rows
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_rows(Path(sys.argv[1]), np.zeros((1000, 100)), (1000, 100), np.float32)
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_that_takes_no_more_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "File too large"
