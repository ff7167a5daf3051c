"""Report what was found in the data and what was done about it."""

from typing import Annotated, Any

from zenml import ArtifactConfig, step
from zenml.types import HTMLString

from diascope.checks import tally
from diascope.dataset import Dataset
from diascope.reports import data_page
from steps.caching import depends_on_library


@step(cache_policy=depends_on_library(__file__))
def check_data(
    dataset: Dataset,
) -> tuple[
    Annotated[HTMLString, ArtifactConfig(name="data_report")],
    Annotated[dict[str, Any], ArtifactConfig(name="data_findings")],
]:
    """Return the report as a page and for programs."""
    info = dataset.info
    findings = {"tally": tally(info.findings), **info.model_dump(mode="json")}
    return HTMLString(data_page(dataset)), findings
