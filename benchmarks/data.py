"""Which images are the benchmarks run on?"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from diascope.config import ChecksConfig, DatasetConfig
from diascope.dataset import Dataset, ingest
from diascope.demo import PATIENT_PATTERN, write_demo

SEED = 20


def store(folder: Path, out: Path, demo: bool) -> Dataset:
    """Ingest a folder of images with default settings."""
    pattern = PATIENT_PATTERN if demo else None
    config = DatasetConfig(source=str(folder), patient_pattern=pattern)
    return ingest(config, ChecksConfig(), folder, out, SEED)


def write_demos(folder: Path, times: int) -> None:
    """Write the demo's images `times` times, of other patients each time."""
    for seed in range(times):
        with TemporaryDirectory() as scratch:
            write_demo(Path(scratch), seed=SEED + seed)
            for path in Path(scratch).rglob("*.png"):
                target = folder / path.relative_to(scratch)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target.with_name(re.sub(r"_p(\d)", rf"_p{seed}0\1", path.name)))
