"""What do the people behind a model say of it that no program can find out?"""

from typing import Annotated

from pydantic import StringConstraints

from diascope.schema import Frozen

NOT_STATED = "not stated"
LONGEST = 2000  # characters; all of them together fit into what a model registry keeps of a version
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST)] | None


class Statement(Frozen):
    """Free text of the model card; what is left out is shown as "not stated"."""

    # Use
    intended_use: Text = None
    users: Text = None
    out_of_scope: Text = None
    limitations: Text = None
    # Where the images come from
    population: Text = None
    demographics: Text = None
    eligibility: Text = None
    sites: Text = None
    period: Text = None
    devices: Text = None
    design: Text = None
    de_identification: Text = None
    # Where the labels come from
    reference_standard: Text = None
    annotators: Text = None
    agreement: Text = None
    # Who answers for it
    ethics: Text = None
    registration: Text = None
    protocol: Text = None
    licence: Text = None
    availability: Text = None
    funding: Text = None
    citation: Text = None
    contact: Text = None

    def texts(self) -> dict[str, str]:
        """Every key with its text, or `not stated`."""
        return {key: getattr(self, key) or NOT_STATED for key in type(self).model_fields}
