"""How do groups of images live in any artifact store?"""

import os
from collections import Counter
from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.materializers.built_in_materializer import BuiltInContainerMaterializer
from zenml.metadata.metadata_types import MetadataType

from materializers.folder import write_page


class GroupsMaterializer(BuiltInContainerMaterializer):
    """A dictionary, sample id -> group, as JSON, with a page that tells how many groups there are and how large."""

    SKIP_REGISTRATION: ClassVar[bool] = True
    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (dict,)

    def save_visualizations(self, data: dict[str, str]) -> dict[str, VisualizationType]:
        """Show the page."""
        from diascope.reports import groups_page

        uri = os.path.join(self.uri, "groups.html").replace("\\", "/")
        write_page(uri, groups_page(data))
        return {uri: VisualizationType.HTML}

    def extract_metadata(self, data: dict[str, str]) -> dict[str, MetadataType]:
        """Return how many there are."""
        sizes = Counter(data.values())
        return {"images": len(data), "groups": len(sizes), "largest": max(sizes.values(), default=0)}
