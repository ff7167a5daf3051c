"""What do all stored and configured descriptions have in common?"""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the experiment; unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Frozen(BaseModel):
    """Unknown keys are errors, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Versioned(BaseModel):
    """The one key that every version of a stored description has."""

    schema_version: int
