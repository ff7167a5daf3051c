"""What do training and evaluation leave behind?"""

from diascope.answers import Abstention, Familiarity
from diascope.config import CandidateConfig
from diascope.metrics import Estimate, Metrics
from diascope.schema import Frozen


class CurvePoint(Frozen):
    """One epoch of gradient training, or one weight decay that was tried."""

    x: float
    loss: float  # on the images that were fitted
    held_out_loss: float | None = None
    held_out_auroc: float | None = None


class TriedSet(Frozen):
    """One set of features that a search has tried: every combination of sizes, layers and poolings."""

    image_sizes: list[int]
    layers: list[str]
    pooling: list[str]
    features: int  # how many
    score: float  # of ridge regression, out of fold
    gain: float | None  # by how much it is better than the one that was taken, at least; None where nobody can tell
    gigamacs: float  # billions of multiply-adds of one image
    milliseconds: float  # of one image, by the times of the parts of the network


class Search(Frozen):
    """The way to a set of features."""

    metric: str
    sets: list[TriedSet]  # in the order in which they were tried
    taken: int  # its place
    known: int  # how many sets there are
    images: int  # that they were compared on
    optimism: float  # how much too good the score of the one that was taken is, because it was chosen by it
    seconds: float


class CandidateResult(Frozen):
    """One candidate, measured on training data alone."""

    name: str
    backbone: str
    description: str  # image sizes, layers, pooling, head, in words
    n: int  # images with an out-of-fold prediction
    scores: dict[str, float]  # auroc, accuracy, balanced_accuracy, log_loss over grouped folds or the validation split
    plain_scores: dict[str, float] | None  # the same with images dealt to folds one by one; the difference is the leak
    chosen: dict[str, float]  # hyperparameters that were chosen, e.g. weight_decay
    curve_axis: str  # "epoch" or "weight decay"
    curve: list[CurvePoint]
    milliseconds: float  # one image through the backbone, least of 30, on this machine
    megabytes: float  # the network's weights
    gigamacs: float = 0  # billions of multiply-adds of one image: what ties are broken by
    seconds: float  # of fitting and comparing, features not included
    candidate: CandidateConfig | None = None  # what the winner's final fit is made from; None in older records
    base: str | None = None  # the configured candidate that it was made from, where its name is another
    trials: int = 0  # settings that were tried to find it; 0: none
    corrected: float | None = None  # the score without what choosing the best of these settings adds to it
    search: Search | None = None  # how its features were found, where they were searched for


class Mistake(Frozen):
    """A test image that was classified wrongly."""

    sample_id: str
    truth: str
    predicted: str
    probability: float  # of the predicted class


class Decisions(Frozen):
    """What the classifier says of images of the kind that it was trained on: that it knows, or rather not."""

    n: int
    n_ok: int
    n_uncertain: int
    n_out_of_distribution: int
    ok: Estimate  # share of all images, as the next two
    uncertain: Estimate
    out_of_distribution: Estimate  # all of them false alarms
    accuracy: Estimate  # of the images that are answered with `ok`
    auroc: Estimate  # of the same
    accuracy_of_uncertain: Estimate  # had they been answered
    familiarity: Familiarity | None
    abstention: Abstention | None


class Evaluation(Frozen):
    """The winner on the test split, and how it came to be the winner."""

    class_names: list[str]
    winner: CandidateResult
    candidates: list[CandidateResult]  # in the order of the configuration
    selection: str  # one sentence: why the winner won
    metric: str  # that candidates were compared by
    method: str  # "cross_validation" or "validation"
    groups: str  # "patient", "similarity" or "image"
    temperature: float
    validation: Metrics  # out-of-fold predictions of the winner, calibrated
    test: Metrics
    decisions: Decisions | None = None  # on the test split; None in older records
    mistakes: list[Mistake]  # the most confident first
    dataset_fingerprint: str
    seed: int
