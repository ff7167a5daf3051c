"""How is a finished run read back?"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse


@dataclass(frozen=True)
class Finished:
    """A run as ZenML has stored it."""

    run: "PipelineRunResponse"

    @classmethod
    def read(cls, run: "PipelineRunResponse") -> "Finished":
        """Ask anew: what a pipeline returns is from before it ran."""
        from zenml.client import Client

        return cls(Client().get_pipeline_run(run.id))

    @cached_property
    def steps(self) -> "dict[str, StepRunResponse]":
        """The steps by name."""
        return self.run.steps

    @property
    def stack(self) -> str:
        """The stack's name; empty where the stack is gone."""
        return self.run.stack.name if self.run.stack else ""

    @property
    def seconds(self) -> float:
        """How long the whole run took."""
        return _between(self.run)

    @property
    def step_seconds(self) -> dict[str, float]:
        """How long each step took, in order; 0 where it came from the cache."""
        return {name: 0.0 if step.status.value == "cached" else _between(step) for name, step in self.steps.items()}

    def output(self, step: str, name: str) -> Any:
        """Load what a step has returned under a name; None where the run has no such step."""
        return self.steps[step].outputs[name][0].load() if step in self.steps else None

    def input(self, step: str, name: str) -> Any:
        """Load what a step was given under a name."""
        return self.steps[step].inputs[name][0].load()


def _between(timed: "PipelineRunResponse | StepRunResponse") -> float:
    return (timed.end_time - timed.start_time).total_seconds() if timed.end_time and timed.start_time else 0.0
