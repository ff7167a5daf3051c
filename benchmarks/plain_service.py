"""How would BentoML's own way serve the classifier? `@bentoml.api`, with and without adaptive batching."""

import os
from pathlib import Path
from typing import Any

import bentoml

from diascope.classifier import Classifier
from diascope.engine import cpu_count


class Answering:
    """A classifier that answers files."""

    model = bentoml.models.BentoModel(os.environ.get("DIASCOPE_MODEL", "diascope:latest"))

    def __init__(self) -> None:
        self.classifier = Classifier.load(self.model.path)

    def answer(self, images: list[Path]) -> list[dict[str, Any]]:
        """Answer files, in order."""
        return [answer.model_dump() for answer in self.classifier.answers(images)]


@bentoml.service(name="plain", workers=1, threads=cpu_count())
class Plain(Answering):
    """One image per call."""

    model = Answering.model  # BentoML looks for models in the class itself

    @bentoml.api
    def predict(self, image: Path) -> dict[str, Any]:
        return self.answer([image])[0]


@bentoml.service(name="collecting", workers=1, threads=cpu_count())
class Batching(Answering):
    """BentoML collects calls and hands them over together."""

    model = Answering.model

    @bentoml.api(batchable=True)
    def predict(self, image: list[Path]) -> list[dict[str, Any]]:
        return self.answer(image)
