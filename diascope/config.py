"""What may an experiment say? Every key, its type and its default; anything else is refused."""

from os.path import expanduser
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from diascope.backbones import COMPACT_CNN, find_backbone
from diascope.deployment_settings import DeploymentSettings
from diascope.descent_settings import Augmentation, Optimizer, Original, View
from diascope.preparation_settings import Preparation
from diascope.schema import Section
from diascope.statement import Statement
from diascope.sweep_config import SweepConfig
from diascope.taps import AUTO

DEMO = "demo"  # the source that is drawn on the spot
Policy = Literal["drop", "warn", "fail"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
PathText = Annotated[str, AfterValidator(expanduser)]  # shells leave the ~ in --set dataset.source=~/images
Score = Annotated[float, Field(ge=0, le=1)]
Floored = Literal["auroc", "balanced_accuracy", "accuracy", "sensitivity", "specificity"]
Penalty = Annotated[float, Field(ge=0)]
OF_FINE_TUNING = {"head_epochs", "head_learning_rate", "layer_decay"}
OF_TRAINING = OF_FINE_TUNING | {  # what a candidate with `original` may not say beside it
    *("layers", "pooling", "feature_norm", "head", "hidden_units", "dropout", "weight_decay", "optimizer"),
    *("learning_rate", "schedule", "warmup_epochs", "epochs", "batch_size", "early_stopping", "augmentation"),
    *("class_weights", "sample_weights", "resampling", "fine_tune_layers", "mixed_precision"),
}


class AnnotationColumns(Section):
    """Column names of a CSV of annotations; all but the first two may be absent from the file."""

    file: str = "file"
    label: str = "label"
    split: str | None = None
    patient: str | None = None
    votes: str | None = None  # how many annotators chose `votes_for`
    agreement: str | None = None  # how many annotators agree with the label, or which share of them does


class Annotations(Section):
    """A CSV beside an image folder or archive, for data whose labels are not folder names."""

    file: str = Field(min_length=1)  # relative to the source
    images: str = "."  # folder or archive with the images, relative to the source
    columns: AnnotationColumns = AnnotationColumns()
    votes_for: str | None = None  # the label, as the CSV writes it, that the column `votes` counts
    annotators: int | None = Field(default=None, ge=1)  # who looked at each image

    @model_validator(mode="after")
    def _votes_can_be_counted(self) -> "Annotations":
        if self.columns.votes is not None and self.columns.agreement is not None:
            raise ValueError("columns.votes and columns.agreement say the same: leave one of them out")
        if self.columns.votes is not None and (self.votes_for is None or self.annotators is None):
            raise ValueError("columns.votes needs votes_for and annotators: for which label, and of how many")
        if self.columns.votes is None and self.votes_for is not None:
            raise ValueError("votes_for needs columns.votes: which column counts them")
        if self.columns.votes is None and self.columns.agreement is None and self.annotators is not None:
            raise ValueError("annotators needs columns.votes or columns.agreement: which column counts them")
        return self


class ArchiveLimits(Section):
    """Bounds that an archive must keep while it is extracted."""

    entries: int = Field(default=500_000, gt=0)
    bytes: int = Field(default=200 * 1024**3, gt=0)  # total size after extraction
    ratio: float = Field(default=200, gt=1)  # extracted to compressed; images compress by less than 20


class Splits(Section):
    """Shares of the splits that the data does not bring."""

    validation: Fraction = 0.15
    test: Fraction = 0.2


class DatasetConfig(Section):
    """Where the images come from and how their labels are read."""

    source: PathText = Field(min_length=1)  # a folder, an archive, https://, Google Drive, kaggle:, s3://, or `demo`
    version: int | None = Field(default=None, ge=1)  # of the stored dataset, which then is used as it is
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None  # of the archive
    layout: Literal["auto", "class_folders", "split_folders", "csv"] = "auto"
    annotations: Annotations | None = None
    class_map: dict[str, Annotated[str, Field(min_length=1)]] = Field(default={})  # name in the data -> the class
    classes: list[str] = Field(default=[])  # the only ones that are used; empty: all
    patient_pattern: str | None = None  # regular expression on the file name; its first group is the patient
    splits: Splits = Splits()
    limits: ArchiveLimits = ArchiveLimits()
    max_pixels: int = Field(default=100_000_000, gt=0)  # larger image headers are not decoded

    @field_validator("patient_pattern")
    @classmethod
    def _pattern_has_a_group(cls, value: str | None) -> str | None:
        if value is not None:
            import re

            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"{value!r} is not a regular expression: {error}") from error
            if not groups:
                raise ValueError(f"{value!r} has no group: put the patient's part in parentheses")
        return value

    @field_validator("classes")
    @classmethod
    def _classes_can_be_told_apart(cls, value: list[str]) -> list[str]:
        if value and len(set(value)) < max(2, len(value)):
            raise ValueError("name two or more classes, each of them once")
        return value

    @model_validator(mode="after")
    def _csv_needs_annotations(self) -> "DatasetConfig":
        if self.layout == "csv" and self.annotations is None:
            raise ValueError("layout csv needs dataset.annotations.file")
        return self


class ChecksConfig(Section):
    """What is done about each kind of problem in the data."""

    unreadable: Policy = "drop"
    blank: Policy = "drop"
    duplicates: Policy = "drop"  # the same pixels again in one split: one is kept
    near_duplicates: Literal["warn", "fail"] = "warn"  # kept, and kept together in folds and made splits
    leaks: Literal["drop_test", "drop_training", "warn", "fail"] = "drop_test"  # the same pixels in two splits
    conflicts: Policy = "drop"  # the same pixels under two labels: none of them is kept
    imbalance: Literal["warn", "fail"] = "warn"
    imbalance_ratio: float = Field(default=10, gt=1)  # largest class to smallest
    minimum_per_class: int = Field(default=10, ge=2)  # usable images; fewer cannot be split and measured


class SearchConfig(Section):
    """For how long sets of a frozen network's features are compared; whichever budget is spent first ends it."""

    minutes: float = Field(default=1, gt=0)
    sets: int | None = Field(default=None, ge=1)  # None: all that there are, within the minutes


class CandidateConfig(Section):
    """One way to build the classifier, compared with the others."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    backbone: str
    alpha: float | None = Field(default=None, gt=0)  # width multiplier of MobileNet and MobileNetV2
    weights: PathText = "imagenet"  # imagenet, none, or a Keras weights file: a path or s3://
    preparation: Preparation = Preparation()  # of every image, before it is resized
    image_sizes: list[Annotated[int, Field(ge=32, le=1024)]] = Field(default=[])  # pixels; empty: the backbone's own
    layers: list[str] = Field(default=["last"], min_length=1)  # `last`, names of Keras layers, or `auto` alone
    pooling: list[Literal["avg", "max", "std"]] = Field(default=["avg"], min_length=1)
    search: SearchConfig | None = None  # among sets of these sizes, layers and poolings
    feature_norm: Literal["l2", "none"] = "l2"  # every layer's pooled vector is scaled to length 1
    head: Literal["blend", "logistic", "ridge", "mlp"] = "blend"  # blend: the mean of logistic and ridge regression
    hidden_units: int = Field(default=128, ge=1, le=16_384)  # of the mlp
    dropout: float = Field(default=0, ge=0, lt=1)
    weight_decay: Penalty | Literal["auto"] = "auto"  # L2; auto chooses by cross-validation (not mlp)
    optimizer: Optimizer = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"  # of the learning rate
    warmup_epochs: int = Field(default=0, ge=0)  # over which the learning rate rises from 0
    epochs: int = Field(default=200, ge=1)  # for `logistic` the largest number of L-BFGS iterations
    batch_size: int = Field(default=32, ge=1)
    class_weights: Literal["balanced", "none"] = "none"
    sample_weights: Literal["agreement", "none"] = "none"  # agreement: what annotators agree on counts more
    resampling: Literal["undersample", "oversample", "none"] = "none"  # of the fitted images, to equal classes
    early_stopping: int = Field(default=10, ge=0)  # epochs without improvement; 0: never
    augmentation: Augmentation = Augmentation()
    fine_tune_layers: int = Field(default=0, ge=0)  # top layers trained after the head; BatchNorm stays frozen
    head_epochs: int = Field(default=0, ge=0)  # of gradient descent for the head alone; 0: it starts from L-BFGS
    head_learning_rate: float = Field(default=1e-3, gt=0)
    layer_decay: float = Field(default=1, gt=0, le=1)  # a layer's learning rate, relative to that of the one above
    mixed_precision: Literal["auto", "none", "bfloat16", "float16"] = "auto"  # of training
    test_time_augmentation: list[View] = Field(default=[])  # further views whose logits are averaged with the plain one
    original: Original | None = None  # train as a tutorial does

    @property
    def trains_network(self) -> bool:
        """Whether images, not stored features, are needed for training."""
        return self.backbone == COMPACT_CNN or self.fine_tune_layers > 0 or self.original is not None

    @property
    def decides_by_loss(self) -> bool:
        """Whether gradient descent needs images set aside whose loss says when to stop or to slow down."""
        return self.original is None and (self.early_stopping > 0 or self.schedule == "plateau")

    @field_validator("backbone")
    @classmethod
    def _backbone_exists(cls, value: str) -> str:
        find_backbone(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "CandidateConfig":
        known_backbone = find_backbone(self.backbone)
        if self.alpha is not None and not known_backbone.has_alpha:
            raise ValueError(f"alpha is for MobileNet and MobileNetV2, not for {self.backbone}")
        if known_backbone.sizes != "any" and len(self.image_sizes) > 1:
            raise ValueError(f"{self.backbone} is built for one image size: give one in image_sizes")
        if known_backbone.sizes == "own" and self.image_sizes not in ([], [known_backbone.size]):
            raise ValueError(f"{self.backbone} takes images of {known_backbone.size} px alone: leave out image_sizes")
        alphas = known_backbone.alphas
        if self.weights == "imagenet" and self.alpha is not None and self.alpha not in alphas:
            known = ", ".join(f"{alpha:g}" for alpha in alphas)
            raise ValueError(f"there are ImageNet weights of {self.backbone} for alpha {known}, not for {self.alpha:g}")
        if self.backbone == COMPACT_CNN and self.weights != "none":
            raise ValueError("compact_cnn is trained from scratch: say weights: none")
        if not self.trains_network and self.augmentation != Augmentation():
            raise ValueError("augmentation needs a network that is trained: set fine_tune_layers, or leave it out")
        return self

    @model_validator(mode="after")
    def _features_consistent(self) -> "CandidateConfig":
        if AUTO in self.layers and self.layers != [AUTO]:
            raise ValueError(f"layers: `{AUTO}` stands alone: leave it or the other layers out")
        if self.search is not None and self.trains_network:
            raise ValueError("search is among features of a frozen network: leave it out where a network is trained")
        several = (self.image_sizes, self.layers, self.pooling)
        if self.search is not None and self.layers != [AUTO] and all(len(each) < 2 for each in several):
            raise ValueError(f"search needs sets to compare: say layers: [{AUTO}], or several layers or image_sizes")
        return self

    @model_validator(mode="after")
    def _training_consistent(self) -> "CandidateConfig":
        changed = {key for key, field in type(self).model_fields.items() if getattr(self, key) != field.default}
        if self.original is not None and (more := sorted(changed & OF_TRAINING)):
            raise ValueError(f"{more[0]} has no effect beside `original`, which says all of the training: leave it out")
        if not self.fine_tune_layers and (more := sorted(changed & OF_FINE_TUNING)):
            raise ValueError(f"{more[0]} is for fine-tuning: set fine_tune_layers, or leave it out")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be fewer than the {self.epochs} epochs: lower one or raise the other")
        for key in ("image_sizes", "layers", "pooling", "test_time_augmentation"):
            named = getattr(self, key)
            if len(set(named)) < len(named):
                raise ValueError(f"{key} names something twice: each counts once")
        return self


class SelectionConfig(Section):
    """How candidates are compared, on training data alone."""

    metric: Literal["auroc", "balanced_accuracy", "log_loss"] = "auroc"
    method: Literal["cross_validation", "validation"] = "cross_validation"
    folds: int = Field(default=5, ge=2, le=20)
    tolerance: float = Field(default=0.005, ge=0)  # a smaller difference is a tie; the faster one wins it


class EvaluationConfig(Section):
    """How the winner is measured on the test split."""

    resamples: int = Field(default=2000, ge=100, le=100_000)
    confidence: Fraction = 0.95
    positive_class: str | None = None  # of a two-class problem; default: the last one that is not `normal` or the like
    target_sensitivity: Fraction = 0.9  # the operating point of a two-class problem is chosen for it
    abstain: float = Field(default=0.1, ge=0, lt=1)  # share of held-out training images that may be left undecided


class PromotionConfig(Section):
    """What a model must reach to go into production."""

    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")  # name in the model registries
    floors: dict[Floored, Score] = Field(default={})
    margin: float = Field(default=0.01, ge=0)  # AUROC that a new model may be worse by, at the interval's end
    replace: bool = False  # also where the two cannot be compared (other classes, other test images)


class Experiment(Section):
    """The parameters of the pipelines."""

    dataset: DatasetConfig
    checks: ChecksConfig = ChecksConfig()
    candidates: list[CandidateConfig] = Field(min_length=1)
    selection: SelectionConfig = SelectionConfig()
    sweep: SweepConfig | None = None  # after the comparison; null: none
    evaluation: EvaluationConfig = EvaluationConfig()
    promotion: PromotionConfig
    card: Statement = Statement()
    deployment: DeploymentSettings = DeploymentSettings()  # not of the training pipeline
    recipe_style: Literal["both", "ours", "original"] = "both"  # original: candidates with such a section alone
    seed: int = Field(default=20, ge=0, lt=2**31)  # other seeds are made by adding to it

    @property
    def taking_part(self) -> list[CandidateConfig]:
        """The candidates of the recipe style that was asked for, which alone are trained and compared."""
        styles = {"both": (True, False), "ours": (False,), "original": (True,)}[self.recipe_style]
        return [candidate for candidate in self.candidates if (candidate.original is not None) in styles]

    @model_validator(mode="after")
    def _somebody_takes_part(self) -> "Experiment":
        if not self.taking_part:
            which = "no candidate has" if self.recipe_style == "original" else "every candidate has"
            raise ValueError(f"recipe_style is {self.recipe_style}, but {which} a section `original`")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Experiment":
        names = [candidate.name for candidate in self.candidates]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two candidates are named {min(twice)!r}")
        return self
