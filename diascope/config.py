"""What may an experiment say? Every key, its type and its default; anything else is refused."""

from os.path import expanduser
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from diascope.backbones import BACKBONES, COMPACT_CNN
from diascope.deployment_settings import DeploymentSettings
from diascope.errors import nearest
from diascope.schema import Section
from diascope.statement import Statement

DEMO = "demo"  # the source that is drawn on the spot
Policy = Literal["drop", "warn", "fail"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
PathText = Annotated[str, AfterValidator(expanduser)]  # shells leave the ~ in --set dataset.source=~/images
Score = Annotated[float, Field(ge=0, le=1)]
Floored = Literal["auroc", "balanced_accuracy", "accuracy", "sensitivity", "specificity"]
Penalty = Annotated[float, Field(ge=0)]


class AnnotationColumns(Section):
    """Column names of a CSV of annotations; `split` and `patient` may be absent from the file."""

    file: str = "file"
    label: str = "label"
    split: str | None = None
    patient: str | None = None


class Annotations(Section):
    """A CSV beside an image folder or archive, for data whose labels are not folder names."""

    file: str = Field(min_length=1)  # relative to the source
    images: str = "."  # folder or archive with the images, relative to the source
    columns: AnnotationColumns = AnnotationColumns()


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

    source: PathText = Field(min_length=1)  # a folder, an archive, https://, a Google Drive link, s3://, or `demo`
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None  # of the archive
    layout: Literal["auto", "class_folders", "split_folders", "csv"] = "auto"
    annotations: Annotations | None = None
    class_map: dict[str, str] = Field(default={})  # name in the data -> name of the class
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


class Augmentation(Section):
    """Random changes to training images; all off by default because flips can change the meaning of an image."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_degrees: float = Field(default=0, ge=0, le=180)
    zoom: float = Field(default=0, ge=0, lt=1)
    shift: float = Field(default=0, ge=0, lt=1)  # share of the image's side
    contrast: float = Field(default=0, ge=0, lt=1)


class CandidateConfig(Section):
    """One way to build the classifier, compared with the others."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    backbone: str
    alpha: float | None = Field(default=None, gt=0)  # width multiplier of MobileNet and MobileNetV2
    weights: PathText = "imagenet"  # imagenet, none, or a Keras weights file: a path or s3://
    image_sizes: list[Annotated[int, Field(ge=32, le=1024)]] = Field(default=[])  # pixels; empty: the backbone's own
    layers: list[str] = Field(default=["last"], min_length=1)  # `last`, or names of Keras layers whose output is pooled
    pooling: list[Literal["avg", "max", "std"]] = Field(default=["avg"], min_length=1)
    feature_norm: Literal["l2", "none"] = "l2"  # every layer's pooled vector is scaled to length 1
    head: Literal["blend", "logistic", "ridge", "mlp"] = "blend"  # blend: the mean of logistic and ridge regression
    hidden_units: int = Field(default=128, ge=1, le=16_384)  # of the mlp
    dropout: float = Field(default=0, ge=0, lt=1)
    weight_decay: Penalty | Literal["auto"] = "auto"  # L2; auto chooses by cross-validation (not mlp)
    learning_rate: float = Field(default=1e-3, gt=0)
    epochs: int = Field(default=200, ge=1)  # for `logistic` the largest number of L-BFGS iterations
    batch_size: int = Field(default=32, ge=1)
    class_weights: Literal["balanced", "none"] = "none"
    early_stopping: int = Field(default=10, ge=0)  # epochs without improvement; 0: never
    augmentation: Augmentation = Augmentation()
    fine_tune_layers: int = Field(default=0, ge=0)  # top layers trained after the head; BatchNorm stays frozen

    @property
    def trains_network(self) -> bool:
        """Whether images, not stored features, are needed for training."""
        return self.backbone == COMPACT_CNN or self.fine_tune_layers > 0

    @field_validator("backbone")
    @classmethod
    def _backbone_exists(cls, value: str) -> str:
        if value not in BACKBONES:
            raise ValueError(f"there is no backbone {value!r}; the nearest is {nearest(value, BACKBONES)!r}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "CandidateConfig":
        if self.alpha is not None and not BACKBONES[self.backbone].has_alpha:
            raise ValueError(f"alpha is for MobileNet and MobileNetV2, not for {self.backbone}")
        alphas = BACKBONES[self.backbone].alphas
        if self.weights == "imagenet" and self.alpha is not None and self.alpha not in alphas:
            known = ", ".join(f"{alpha:g}" for alpha in alphas)
            raise ValueError(f"there are ImageNet weights of {self.backbone} for alpha {known}, not for {self.alpha:g}")
        if self.backbone == COMPACT_CNN and self.weights != "none":
            raise ValueError("compact_cnn is trained from scratch: say weights: none")
        if not self.trains_network and self.augmentation != Augmentation():
            raise ValueError("augmentation needs a network that is trained: set fine_tune_layers, or leave it out")
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
    evaluation: EvaluationConfig = EvaluationConfig()
    promotion: PromotionConfig
    card: Statement = Statement()
    deployment: DeploymentSettings = DeploymentSettings()  # not of the training pipeline
    seed: int = Field(default=20, ge=0, lt=2**31)  # other seeds are made by adding to it

    @model_validator(mode="after")
    def _names_differ(self) -> "Experiment":
        names = [candidate.name for candidate in self.candidates]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two candidates are named {min(twice)!r}")
        return self
