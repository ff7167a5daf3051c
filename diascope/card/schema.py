"""What is a model card, for programs? Keys stay; estimates are a value with the ends of its interval."""

from typing import Literal

from diascope.answers import Abstention, Familiarity
from diascope.metrics import ClassMetrics, Estimate, OperatingPoint, ReliabilityBin
from diascope.results import Decisions
from diascope.schema import Frozen

SCHEMA_VERSION = 1
# partly: people would have to say more; paper: belongs into the publication
ClaimStatus = Literal["answered", "partly", "not stated", "not done", "paper"]


class ModelName(Frozen):
    name: str
    version: str
    created: str
    stage: str


class InputText(Frozen):
    """How a file becomes what the network sees."""

    formats: list[str]
    max_pixels: int  # of a file; larger ones are refused
    size: int  # side in pixels of what the network sees
    channels: str
    dtype: str
    decoding: str
    preparation: str = "none"  # between decoding and resizing
    resize: str
    normalisation: str


class Network(Frozen):
    """What was built, and how."""

    candidate: str
    backbone: str
    description: str
    initialisation: str
    training: str
    ensemble: str
    settings: dict  # the candidate's configuration
    chosen: dict[str, float]
    n_fitted: int  # images of the final fit: train and validation
    precision: str
    megabytes: float
    gigamacs: float


class DecisionRule(Frozen):
    """How probabilities become an answer."""

    label: str  # one sentence: which class an image is given
    operating_point: OperatingPoint | None  # with what it reaches on the test split
    abstention: Abstention | None
    familiarity: Familiarity | None
    test: Decisions | None  # what it decides on the test split; None where that was not measured


class LeftOut(Frozen):
    """Files that were not used, for one reason."""

    kind: str
    reason: str
    n: int


class Data(Frozen):
    """What it was built and tested on."""

    source: str  # without folders above it, user names and keys
    synthetic: bool
    layout: str
    fingerprint: str
    class_names: list[str]
    counts: dict[str, dict[str, int]]  # by split and class
    n_found: int
    n_used: int
    n_left_out: int
    left_out: list[LeftOut]
    n_alike: int  # sets of images that look almost the same
    kept: list[str]  # problems that were found and not removed, one sentence each
    splits_brought: list[str]
    splits_made: list[str]
    splits: list[str]  # how they came about, one sentence each
    grouping: Literal["patient", "similarity"]
    disjoint: Literal["patient", "inferred group", "image", "not disjoint"]  # training and test images
    separation: str  # the same in a sentence
    folds: str  # what holds images together within training data


class Figure(Estimate):
    """One figure with its interval."""

    key: str
    name: str
    about: str  # what it is of, or a mean over


class Measured(Frozen):
    """Figures on one set of images."""

    n: int
    n_groups: int | None  # units that intervals are over where these are not images
    interval_unit: str
    confidence: float
    resamples: int
    intervals: str  # the same in a sentence
    n_wrong: int
    majority_baseline: float  # accuracy of always answering the most frequent class
    figures: list[Figure]
    per_class: list[ClassMetrics]
    confusion: list[list[int]]  # rows: truth, columns: answer


class Calibration(Frozen):
    """Whether probabilities can be taken at their word; on the test split."""

    method: str
    temperature: float
    before: Estimate  # expected calibration error
    after: Estimate
    finding: str  # one sentence
    reliability: list[ReliabilityBin]


class Contender(Frozen):
    """A candidate of the comparison."""

    name: str
    backbone: str
    description: str
    won: bool
    n: int
    score: float  # by the metric of the selection, groups whole
    plain_score: float | None  # the same with images dealt one by one
    scores: dict[str, float]
    plain_scores: dict[str, float] | None
    chosen: dict[str, float]
    gigamacs: float
    milliseconds: float
    megabytes: float
    seconds: float


class Selection(Frozen):
    """How the winner was found."""

    metric: str
    method: str
    groups: str
    reason: str


class Promotion(Frozen):
    """Why it is where it is."""

    promoted: bool
    case: str
    reason: str
    difference: Estimate | None
    n: int | None


class Explanation(Frozen):
    """What maps of the network's attention are."""

    available: bool
    grid: tuple[int, int] | None
    exact: bool | None
    text: str
    caution: str


class ClaimItem(Frozen):
    """What the card says of one item of the CLAIM 2024 checklist."""

    item: int
    section: str
    title: str  # in our words
    status: ClaimStatus
    text: str


class Card(Frozen):
    """A model with everything that one should know before using it."""

    schema_version: int = SCHEMA_VERSION
    model: ModelName
    research_use_only: str
    intended_use: str
    limits: list[str]
    statement: dict[str, str]  # free text of the configuration, or "not stated"
    class_names: list[str]
    input: InputText
    network: Network
    decision: DecisionRule
    data: Data
    test: Measured
    validation: Measured
    calibration: Calibration
    selection: Selection
    candidates: list[Contender]
    promotion: Promotion | None
    explanation: Explanation
    seeds: dict[str, int]
    versions: dict[str, str]
    files: dict[str, str]  # name -> SHA-256
    claim: list[ClaimItem]
