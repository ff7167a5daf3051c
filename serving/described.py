"""What does the API description say?"""

from typing import Any

from pydantic import Field

from diascope.answers import Answer
from diascope.schema import Frozen
from serving.packaged import Name


class Prediction(Answer):
    """One image, classified."""

    model: Name
    milliseconds: float = Field(description="from the first byte read to the answer")


class FileAnswer(Answer):
    """One file of several, classified."""

    file: str = Field(description="name as sent")
    milliseconds: float


class FileProblem(Frozen):
    """One file of several that could not be classified."""

    file: str
    error: str = Field(description="one sentence")
    status: int = Field(description="what /predict would have answered")


class Batch(Frozen):
    """Several files, in the order in which they were sent."""

    answers: list[FileAnswer | FileProblem]
    model: Name
    milliseconds: float


class Problem(Frozen):
    """Why there is no answer."""

    error: str = Field(description="one sentence")


_WHY = {
    400: "Empty, not a readable form, or without the field",
    401: "The API key is missing or wrong",
    408: "The client stopped sending",
    413: "Too many bytes, pixels or files",
    415: "Not an image, or another Content-Type",
    422: "A damaged image",
    503: "At capacity: try again after the seconds in Retry-After",
}
_ANSWER = {
    "label": "tumour",
    "probability": 0.93,
    "probabilities": {"normal": 0.07, "tumour": 0.93},
    "decision": "ok",
    "reason": "The image resembles the training images and one class is clearly more probable than the others.",
    "threshold": 0.42,
    "distance": 0.41,
}
_MODEL = {"name": "brain-mri", "version": "3"}
_FILE = {"type": "string", "format": "binary"}


def _body(content: dict[str, Any], description: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "description": description, "content": content}}


def _form(properties: dict[str, Any], required: str) -> dict[str, Any]:
    return {"multipart/form-data": {"schema": {"type": "object", "properties": properties, "required": [required]}}}


def _responses(example: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": why} for status, why in _WHY.items()
    }
    return {200: {"content": {"application/json": {"example": example}}}, **refusals} if example else refusals


_KINDS = "PNG, JPEG, BMP, TIFF, WebP, GIF (first frame) or DICOM, recognised by content"
RAW_TYPES = (
    *(f"image/{kind}" for kind in ("png", "jpeg", "jpg", "bmp", "x-ms-bmp", "tiff", "webp", "gif")),
    *("application/dicom", "application/x-image", "application/octet-stream"),
)
PREDICT: dict[str, Any] = {
    "summary": "Classify one image",
    "tags": ["Prediction"],
    "response_model": Prediction,
    "responses": _responses({**_ANSWER, "model": _MODEL, "milliseconds": 6.2}),
    "openapi_extra": _body(_form({"image": _FILE}, "image"), _KINDS),
}
PREDICT_BATCH: dict[str, Any] = {
    "summary": "Classify several images; a bad file does not spoil the others",
    "tags": ["Prediction"],
    "response_model": Batch,
    "responses": _responses(
        {
            "answers": [
                {"file": "a.png", **_ANSWER, "milliseconds": 6.2},
                {"file": "b.png", "error": "b.png is a damaged or incomplete image (truncated).", "status": 422},
            ],
            "model": _MODEL,
            "milliseconds": 9.8,
        }
    ),
    "openapi_extra": _body(_form({"images": {"type": "array", "items": _FILE}}, "images"), _KINDS),
}
EXPLAIN: dict[str, Any] = {
    "summary": "Draw where the network looked, not where the lesion is",
    "tags": ["Prediction"],
    "responses": {
        **_responses(),
        200: {"content": {"image/png": {"schema": _FILE}}, "description": "PNG; its caution is in it and in X-Caution"},
        501: {"model": Problem, "description": "This model has no activation map"},
    },
    "openapi_extra": _body(
        _form(
            {
                "image": _FILE,
                "class_name": {"type": "string", "description": "Without it: the class that the image is given"},
                "part": {"type": "string", "enum": ["overlay", "map", "image"], "default": "overlay"},
            },
            "image",
        ),
        _KINDS,
    ),
}
INVOCATIONS: dict[str, Any] = {
    "summary": "Classify one image sent as it is (SageMaker's contract)",
    "tags": ["SageMaker"],
    "response_model": Prediction,
    "responses": _responses({**_ANSWER, "model": _MODEL, "milliseconds": 6.2}),
    "openapi_extra": _body({kind: {"schema": _FILE} for kind in RAW_TYPES}, _KINDS),
}
PING: dict[str, Any] = {"summary": "200 once predictions can be made (SageMaker's contract)", "tags": ["SageMaker"]}
MODEL: dict[str, Any] = {"summary": "The model card", "tags": ["Model"], "responses": {404: {"model": Problem}}}
CARD: dict[str, Any] = {
    "summary": "The model card as a page",
    "tags": ["Model"],
    "responses": {200: {"content": {"text/html": {}}}, 404: {"model": Problem}},
}
