"""What is known of a batch once it is predicted?"""

from functools import cached_property
from pathlib import Path
from typing import get_args

from diascope.answers import Verdict
from diascope.inference_table import ERROR
from diascope.schema import Frozen

TABLE, INFO, EXAMPLES = "predictions.parquet", "batch.json", "examples.json"
STATUSES: tuple[str, ...] = get_args(Verdict)
BINS = 20  # of the histograms
FURTHEST = 2.0  # distance, relative to its limit, of the histogram's last bin, which holds all beyond it too


class Found(Frozen):
    """What a source holds."""

    source: str
    n: int
    fingerprint: str


class BatchInfo(Frozen):
    """What was predicted, by what, and how fast."""

    source: str
    model: str
    version: int
    class_names: list[str]
    positive_class: str | None  # of an operating point
    threshold: float | None  # on its probability
    precision: str
    n: int  # files
    n_new: int  # of them predicted in the last attempt
    seconds: float  # that it took
    images_per_second: float


class Example(Frozen):
    """A file that is shown."""

    file: str
    label: str
    probability: float
    status: str
    distance: float | None
    picture: str = ""  # data URI of a small JPEG


class Examples(Frozen):
    """Files that a person should look at."""

    uncertain: list[Example]  # nearest to being decided otherwise
    foreign: list[Example]  # furthest from the training images


class PredictedImages:
    """A folder with the table, how it was made, and a few files that stand out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def table(self) -> Path:
        """One row for each file, as Parquet."""
        return self.root / TABLE

    @cached_property
    def info(self) -> BatchInfo:
        """How it was made."""
        return BatchInfo.model_validate_json((self.root / INFO).read_bytes())

    @cached_property
    def examples(self) -> Examples:
        """What stands out."""
        return Examples.model_validate_json((self.root / EXAMPLES).read_bytes())


class BatchSummary(Frozen):
    """The result in figures."""

    info: BatchInfo
    statuses: dict[str, int]  # ok, uncertain, out_of_distribution, error
    counts: dict[str, dict[str, int]]  # class -> status -> files
    probabilities: dict[str, list[int]]  # status -> files by the probability of their label, in BINS from 0 to 1
    distances: list[int]  # files by their distance, in BINS from 0 to FURTHEST; empty where the model tells none
    errors: list[tuple[str, str]]  # the first files with an error, and what it is

    @property
    def n_errors(self) -> int:
        """Files that could not be predicted."""
        return self.statuses[ERROR]
