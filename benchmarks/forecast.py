"""What will each step of a run take for many images, if it goes on growing as it was measured to grow?"""

from dataclasses import dataclass

from benchmarks.growth import DIMENSION
from benchmarks.instances import Instance, cheapest
from diascope.groups import BUCKET_ROWS

HELD_OUT = 0.2  # share of the test split
FOLDS, KINDS, WAYS = 5, 2, 2  # of a blended head, compared over groups and without
PATIENCE = 12  # hours that one step may take before a larger machine is worth its price
CONNECTIONS = 4 * 90e6  # bytes a second that a step gets from S3: the rate that Amazon names, times the connections
BASE = 1.2  # GB of a process with its libraries


@dataclass(frozen=True)
class Sample:
    """What one part took for n images: CPU seconds, and MB at its peak."""

    n: int
    cpu: float
    megabytes: float


@dataclass(frozen=True)
class Rates:
    """Seconds of one core and GB, per image; `pairs` per pair of images."""

    cpu: float
    memory: float
    pairs: float = 0

    @classmethod
    def of(cls, few: Sample, many: Sample) -> "Rates":
        """Return the slope between two sizes: what is there without any image falls out."""
        more = many.n - few.n
        memory = max(many.megabytes - few.megabytes, 0) / more / 1e3
        return cls(max(many.cpu - few.cpu, 0) / more, memory)

    @classmethod
    def of_pairs(cls, comparison: float) -> "Rates":
        """Return rates of finding each image's bucket: one per 2,000 images, found by five passes over a tenth."""
        return cls(0, 0, (1 + 0.5) * comparison / BUCKET_ROWS)

    def hours(self, n: float) -> float:
        """Hours of one core for n images."""
        return (self.cpu * n + self.pairs * n * n) / 3600


@dataclass(frozen=True)
class Need:
    """What a step needs: hours of one core, whether it can use more, GB of memory and of disk, GB it reads."""

    step: str
    hours: float
    all_cores: bool
    memory: float
    disk: float
    reads: float = 0

    def rented(self) -> tuple[Instance, float] | None:
        """The cheapest machine and its hours, the way from the store included; None where the step does not fit."""
        found = cheapest(self.hours, self.all_cores, self.memory, PATIENCE)
        return found and (found[0], max(found[1], self.reads * 1e9 / CONNECTIONS / 3600))


def needs(rates: dict[str, Rates], n: float, image_bytes: float) -> list[Need]:
    """Return what the steps of a run with one candidate of a frozen network need for n images."""
    seen, test = (1 - HELD_OUT) * n, HELD_OUT * n
    size = n * image_bytes / 1e9
    features = 4 * DIMENSION * seen / 1e9
    head, intervals, index = rates["head"], rates["intervals"], rates["index"]
    known = BASE + index.memory * n
    fits = FOLDS * KINDS * WAYS * (1 - 1 / FOLDS)
    grouped = rates["similar"].hours(seen) + rates["buckets"].hours(seen)
    trained = head.hours(fits * seen) + WAYS * rates["folds"].hours(seen)
    fitted = known + head.memory * seen
    return [
        Need("ingest_data", rates["ingest"].hours(n), True, BASE + rates["ingest"].memory * n, 2 * size, size),
        Need("check_data", index.hours(n), False, known, 0.2),
        Need("extract_features", rates["features"].hours(seen), True, known, features + 0.2, size * (1 - HELD_OUT)),
        Need("group_images", grouped, False, known + rates["similar"].memory * seen, features, features),
        Need("train_model", trained, False, fitted, features, features),
        Need("select_model", head.hours(KINDS * seen) + intervals.hours(seen), False, fitted, features, features),
        Need("evaluate_model", rates["features"].hours(test), True, known, 0.2, size * HELD_OUT),
        Need("evaluate_model: intervals", 2 * intervals.hours(test), False, known, 0.2),
    ]
