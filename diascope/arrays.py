"""How is an array stored that need not fit in memory?"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_rows(path: Path, rows: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype | type) -> None:
    """Write an array of this shape to an .npy file, row by row.

    Not through a memory map: where the disk is full, writing to one kills the process without a word.

    Raises
    ------
    OSError: the disk does not take it.
    ValueError: the rows are not as many, or not of the shape, that were promised.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    n = 0
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for n, row in enumerate(rows, start=1):
            if row.shape != shape[1:]:
                raise ValueError(f"row {n} of {path.name} has the shape {row.shape}, not {shape[1:]}")
            file.write(np.ascontiguousarray(row, dtype).data)
    if n != shape[0]:
        raise ValueError(f"{path.name} got {n} rows, not {shape[0]}")
