"""Which images may candidates see, and which of them does each fit hold out?"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from diascope.config import SelectionConfig
from diascope.errors import InputError
from diascope.splits import folds, make_split

if TYPE_CHECKING:
    from diascope.dataset import Dataset

STOPPING_SHARE = 0.15  # of the images that are fitted; they only decide when gradient descent stops
Fold = tuple[np.ndarray, np.ndarray]  # rows that are fitted, rows that are held out


@dataclass(frozen=True)
class Development:
    """The images that candidates may see: train and validation, in storage order."""

    sample_ids: list[str]
    labels: np.ndarray  # (n,) int
    groups: np.ndarray  # (n,) str
    validation: np.ndarray  # (n,) bool
    class_names: list[str]
    agreement: np.ndarray = field(default_factory=lambda: np.ones(0))  # (n,) share of annotators; empty: all of them

    def __post_init__(self) -> None:
        if not len(self.agreement):
            object.__setattr__(self, "agreement", np.ones(len(self.labels)))

    @classmethod
    def of(cls, dataset: "Dataset", groups: dict[str, str]) -> "Development":
        """Read labels and splits from the dataset's index; `groups` maps sample ids to groups."""
        index = dataset.index()
        index = index[index["split"] != "test"]
        names = list(dataset.info.class_names)
        return cls(
            sample_ids=index["sample_id"].tolist(),
            labels=index["label"].map(names.index).to_numpy(np.int64),
            groups=index["sample_id"].map(groups).to_numpy(str),
            validation=(index["split"] == "validation").to_numpy(bool),
            class_names=names,
            agreement=index["agreement"].to_numpy(np.float64),
        )

    def part(self, rows: np.ndarray) -> "Development":
        """Return some of the images."""
        return replace(
            self,
            sample_ids=[self.sample_ids[row] for row in rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            validation=self.validation[rows],
            agreement=self.agreement[rows],
        )

    def folds(self, selection: SelectionConfig, seed: int, grouped: bool = True) -> list[Fold]:
        """Return the fits that the comparison needs: cross-validation, or train against validation."""
        if selection.method == "validation":
            return [(np.flatnonzero(~self.validation), np.flatnonzero(self.validation))]
        names = np.array(self.class_names)[self.labels]  # for messages
        return folds(names, self.groups if grouped else None, selection.folds, seed)

    def with_stopping_share(self, rows: np.ndarray, seed: int) -> Fold:
        """Part the rows of a fit into those that are fitted and those that only say when to stop."""
        labels, groups = self.labels[rows], self.groups[rows]
        try:
            held = make_split(labels, groups, STOPPING_SHARE, seed)
        except InputError:  # a class is all in one group here; what stops the descent is no measurement, so part it
            held = np.bincount(labels)[labels] > 1
            held[held] = make_split(labels[held], None, STOPPING_SHARE, seed)
        return rows[~held], rows[held]
