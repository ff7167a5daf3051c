"""What is done with one image?"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
from PIL import Image

from diascope import images
from diascope.classifier import Classifier
from diascope.engine import Elastic
from diascope.explanation import Part as Drawing
from diascope.explanation import explain, picture
from diascope.images import ImageError, TooManyPixels
from serving import counts
from serving.bombs import check_cost
from serving.capacity import Capacity
from serving.counts import Counts
from serving.forms import Part
from serving.records import Recorder, record
from serving.refusals import Refusal, of_image

# An image takes up to 12 bytes per pixel while it is decoded: a worker decodes one large one at a time, whatever the
# number of its threads.
LARGE = 4_000_000
_one_large = threading.Lock()


@dataclass(frozen=True)
class Seen:
    """An image and what the network says of it."""

    image: Image.Image
    pixels: np.ndarray
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """A classifier, and everybody who wants to know what it answers."""

    classifier: Classifier
    engine: Elastic
    capacity: Capacity
    max_pixels: int
    counts: Counts
    recorder: Recorder

    def answer(self, part: Part) -> dict[str, Any]:
        """Classify an image, count and record it; raises Refusal."""
        seen = self.look(part)
        answer = self.classifier.answer(seen.outputs)
        self.counts.prediction(answer.label, answer.decision)
        self.recorder.add(record(part.data, seen.image.size, seen.pixels, answer))
        return answer.model_dump()

    def answer_or_problem(self, part: Part) -> dict[str, Any]:
        """Classify one file of several: what is wrong with it is said in its place."""
        start = time.perf_counter()
        try:
            answer = self.answer(part)
        except Refusal as refusal:
            counts.problem(refusal.kind)
            return {"file": part.file, "error": refusal.sentence, "status": refusal.status}
        return {"file": part.file, **answer, "milliseconds": since(start)}

    def explain(self, part: Part, class_name: str | None, drawing: str) -> bytes:
        """Draw where the network looked, as PNG; raises Refusal."""
        names = self.classifier.info.class_names
        if class_name is not None and class_name not in names:
            raise _unknown("class", class_name, "class_name", names)
        if drawing not in get_args(Drawing):
            raise _unknown("part", drawing, "part", get_args(Drawing))
        if drawing == "image":
            return picture(self._decoded(part))
        if self.classifier.info.activation_map is None:
            raise Refusal(501, "no_map", "This model has no activation map: its head is not linear.")
        seen = self.look(part)
        label = class_name or self.classifier.answer(seen.outputs).label
        return explain(seen.image, seen.outputs["activation_map"], names.index(label), part=cast(Drawing, drawing))

    def look(self, part: Part) -> Seen:
        """Decode an image and run the network; raises Refusal."""
        start = time.perf_counter()
        image = self._decoded(part)
        pixels = self.classifier.view(image)
        decoded = time.perf_counter()
        outputs = self.engine.infer(pixels, alone=self.capacity.alone)
        self.counts.seconds(decoded - start, time.perf_counter() - decoded)
        return Seen(image, pixels, outputs)

    def _decoded(self, part: Part) -> Image.Image:
        if not part.data:
            raise Refusal(400, "empty", f"{part.file} is empty.")
        check_cost(part.data, part.file, self.max_pixels)
        try:
            try:
                return images.decode(part.data, name=part.file, max_pixels=min(LARGE, self.max_pixels))
            except TooManyPixels:
                with _one_large:
                    return images.decode(part.data, name=part.file, max_pixels=self.max_pixels)
        except ImageError as error:
            raise of_image(error, part.file, self.max_pixels) from error


def _unknown(what: str, given: str, field: str, known: Sequence[str]) -> Refusal:
    return Refusal(400, "field", f"There is no {what} {given[:80]!r}: {field} is one of {', '.join(known)}.")


def since(start: float) -> float:
    """Milliseconds since a time of `time.perf_counter`."""
    return round(1000 * (time.perf_counter() - start), 2)
