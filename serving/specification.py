"""How is the API described to machines?"""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ABOUT = (
    'Classifies medical images. Research use only. Not a medical device. Every error is `{"error": "one sentence."}`.'
)
_INFRASTRUCTURE = {
    "/livez": "200 while the process lives",
    "/readyz": "200 once predictions can be made",
    "/metrics": "Figures for Prometheus",
}


def specification(app: FastAPI, version: str) -> bytes:
    """Return the OpenAPI document of an application and of what BentoML adds, as JSON."""
    document: dict[str, Any] = get_openapi(title=app.title, version=version, description=_ABOUT, routes=app.routes)
    for path, text in _INFRASTRUCTURE.items():
        document["paths"][path] = {
            "get": {"summary": text, "tags": ["Infrastructure"], "responses": {"200": {"description": "OK"}}}
        }
    document["servers"] = [{"url": "."}]
    return json.dumps(document).encode()
