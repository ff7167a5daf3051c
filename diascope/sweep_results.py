"""What does a sweep leave behind?"""

from typing import Any, Literal

from pydantic import Field

from diascope.schema import Frozen
from diascope.sweep_config import SweepConfig


class Trial(Frozen):
    """One setting that was tried, measured as candidates are: on the same folds, by the same scores."""

    number: int
    settings: dict[str, Any]  # what each axis had
    failure: str = ""  # why nothing came of it; empty where something did
    scores: dict[str, float] = Field(default={})
    chosen: dict[str, float] = Field(default={})
    milliseconds: float = 0  # one image through the network
    gigamacs: float = 0
    megabytes: float = 0
    seconds: float = 0  # of fitting and comparing
    waited: float = 0  # seconds for a network and features that no trial before had needed

    @property
    def failed(self) -> bool:
        """Whether there are no scores."""
        return bool(self.failure)


class Sweep(Frozen):
    """All trials of a sweep, and which of them was taken."""

    config: SweepConfig
    base: str  # the candidate whose settings were tried
    base_score: float  # by which it is compared: without what a search has added to it
    metric: str
    trials: list[Trial]
    best: int  # number of the trial that was taken
    tied: int  # trials within the tolerance of the best score, that one included
    resumed: int  # trials that an earlier run had made
    ended: Literal["trials", "minutes", "everything"]  # what was used up
    seconds: float  # of all trials, those of an earlier run included
    corrected: float | None  # the score of what was taken without what choosing it adds; None: nothing was chosen
    importances: dict[str, float]  # of each axis for the score; empty where there are too few trials to tell

    @property
    def winner(self) -> Trial:
        """The trial that was taken."""
        return next(trial for trial in self.trials if trial.number == self.best)

    @property
    def complete(self) -> list[Trial]:
        """Trials that have scores."""
        return [trial for trial in self.trials if not trial.failed]
