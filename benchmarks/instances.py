"""Which machines does SageMaker rent, and what do they cost?"""

from dataclasses import dataclass

# US dollars an hour, on demand, US East (N. Virginia), for training and processing alike. Estimates: as Amazon's price
# page (aws.amazon.com/sagemaker/pricing) had them around the middle of 2025; it was not read again for this file.
PRICES_OF = "mid-2025, us-east-1, estimates"
STORAGE = 0.023  # dollars for a GB of S3 Standard a month, likewise
SPOT = 0.35  # of the price that managed spot training usually costs: a guess between 0.1 and 0.6


@dataclass(frozen=True)
class Instance:
    """One kind of machine."""

    name: str
    cores: int  # virtual
    memory: int  # GB
    price: float  # dollars an hour


GENERAL = [  # for steps that are bound by memory; the smallest first
    Instance("ml.m5.large", 2, 8, 0.115),
    Instance("ml.m5.xlarge", 4, 16, 0.23),
    Instance("ml.m5.2xlarge", 8, 32, 0.461),
    Instance("ml.r5.2xlarge", 8, 64, 0.605),
    Instance("ml.r5.4xlarge", 16, 128, 1.21),
    Instance("ml.r5.12xlarge", 48, 384, 3.629),
    Instance("ml.r5.24xlarge", 96, 768, 7.258),
]
COMPUTE = [  # for steps that keep every core busy
    Instance("ml.c5.xlarge", 4, 8, 0.204),
    Instance("ml.c5.4xlarge", 16, 32, 0.816),
    Instance("ml.c5.18xlarge", 72, 144, 3.672),
    Instance("ml.m5.24xlarge", 96, 384, 5.53),
    Instance("ml.r5.24xlarge", 96, 768, 7.258),
]
LONGEST = 5 * 24  # hours that a processing job may run, which is what a step is


def cheapest(hours: float, all_cores: bool, memory: float, patience: float) -> tuple[Instance, float] | None:
    """Return the cheapest machine that holds `memory` GB, with its hours; None where there is none.

    `hours` are of one core. A machine that takes longer than `patience` hours is taken only if no other is faster.
    """
    found = []
    for instance in COMPUTE if all_cores else GENERAL:
        wall = hours / (instance.cores if all_cores else 1)
        if memory <= 0.85 * instance.memory and wall <= LONGEST:
            found.append((wall > patience, wall * instance.price, instance, wall))
    if not found:
        return None
    late = min(found, key=lambda each: each[:2])
    if late[0]:
        late = min(found, key=lambda each: each[3])
    return late[2], late[3]
