"""What is in the model folder that is served?"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bentoml import Model
from bentoml.exceptions import NotFound
from bentoml.models import BentoModel

from diascope.checksums import verify_checksums
from diascope.classifier import Classifier
from diascope.errors import InputError
from diascope.schema import Frozen


class Name(Frozen):
    """Which model answers."""

    name: str
    version: str


@dataclass(frozen=True)
class Packaged:
    """A classifier and its card."""

    root: Path

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier; raises InputError where a file of the model is missing or was changed."""
        verify_checksums(self.root)
        return Classifier.load(self.root)

    def verify(self) -> None:
        """Raise InputError where a file is missing, was changed or cannot be read."""
        _ = self.classifier, self.name

    @property
    def card(self) -> Path:
        """The card as JSON; the file may be missing."""
        return self.root / "card.json"

    @property
    def card_page(self) -> Path:
        """The card as a page; the file may be missing."""
        return self.root / "card.html"

    @cached_property
    def name(self) -> Name:
        """Name and version as the card gives them; without a card the classifier's own name; raises InputError."""
        if not self.card.is_file():
            return Name(name=self.classifier.info.name, version="not stated")
        try:
            given = json.loads(self.card.read_bytes())["model"]
            return Name(name=str(given["name"]), version=str(given["version"]))
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{self.card} is not a model card; store the model anew.") from error


class Stored(BentoModel):
    """A model of BentoML's store; nobody looks for it anywhere else."""

    def resolve(self, *arguments: Any, **options: Any) -> Model:
        """Return the model; raises NotFound."""
        if self.stored is None:
            raise NotFound(f"There is no model {self.tag} in BentoML's store: run `python run.py --deployment`.")
        return super().resolve(*arguments, **options)
