"""What does a request get that is not answered?"""

import json
from collections.abc import Mapping

from starlette.responses import Response

from diascope.images import ImageError, NotAnImage, TooManyPixels


class Refusal(Exception):
    """A request, or one image of it, that gets a status and one sentence instead of an answer."""

    def __init__(self, status: int, kind: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.kind = kind  # what it is counted as
        self.sentence = sentence
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer that tells the client."""
        return problem(self.status, self.sentence, self.headers)


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error in the one shape that all of them have."""
    return Response(json.dumps({"error": sentence}), status, headers, media_type="application/json")


def of_image(error: ImageError, name: str, max_pixels: int) -> Refusal:
    """Return what an image gets that cannot be used."""
    if isinstance(error, TooManyPixels):
        sentence = (
            f"{name} says that it has {error.width:,} x {error.height:,} pixels, more than the {max_pixels:,} "
            "that are accepted."
        )
        return Refusal(413, "too_many_pixels", sentence)
    if isinstance(error, NotAnImage):
        return Refusal(415, "not_an_image", str(error))
    return Refusal(422, "damaged", str(error))
