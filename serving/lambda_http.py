"""How does an event of API Gateway or of a function URL become a request, and an answer what is sent back?"""

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.in_process import Answered, Asked

TEXT = ("text/", "application/json", "application/javascript")
UNKNOWN = "The event is neither a request of API Gateway or of a function URL nor a notification of S3."


class BadEvent(Exception):
    """An event that nothing can be done with; the message is one sentence for whoever sent it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Http(_Part):
    method: str


class _Context(_Part):
    http: _Http
    stage: str = "$default"


class _Body(_Part):
    headers: dict[str, str] | None = None
    body: str | None = None
    isBase64Encoded: bool = False


class _Version2(_Body):
    requestContext: _Context
    rawPath: str
    rawQueryString: str = ""

    def asked(self) -> Asked:
        stage = f"/{self.requestContext.stage}"  # an HTTP API has it in the path, but for `$default`
        path = self.rawPath.removeprefix(stage) if f"{self.rawPath}/".startswith(f"{stage}/") else self.rawPath
        return Asked(
            self.requestContext.http.method, path or "/", self.rawQueryString, self.headers or {}, _bytes(self)
        )


class _Version1(_Body):
    httpMethod: str
    path: str
    multiValueHeaders: dict[str, list[str]] | None = None
    queryStringParameters: dict[str, str] | None = None
    multiValueQueryStringParameters: dict[str, list[str]] | None = None

    def asked(self) -> Asked:
        headers = {name: ", ".join(values) for name, values in (self.multiValueHeaders or {}).items()}
        query = urlencode(self.multiValueQueryStringParameters or self.queryStringParameters or {}, doseq=True)
        return Asked(self.httpMethod, self.path or "/", query, headers or self.headers or {}, _bytes(self))


def asked(event: Any) -> Asked:
    """Return the request that an event (payload format 1.0 or 2.0) carries; raises BadEvent."""
    if not isinstance(event, dict):
        raise BadEvent(UNKNOWN)
    if "httpMethod" in event:
        form: type[_Version1 | _Version2] = _Version1
    elif "rawPath" in event or event.get("version") == "2.0":
        form = _Version2
    else:
        raise BadEvent(UNKNOWN)
    try:
        return form.model_validate(event).asked()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadEvent(f"The event's {place[:80]} cannot be used: {first['msg'].lower()}.") from None


def reply(answered: Answered) -> dict[str, Any]:
    """Return an answer as both payload formats take it; what is not text goes as base64."""
    kind = answered.headers.get("content-type", "")
    as_text = not answered.body or kind.startswith(TEXT)
    body = answered.body.decode() if as_text else base64.b64encode(answered.body).decode()
    headers = {name: value for name, value in answered.headers.items() if name != "content-length"}
    return {"statusCode": answered.status, "headers": headers, "body": body, "isBase64Encoded": not as_text}


def refused(sentence: str) -> dict[str, Any]:
    """Return what an event gets that cannot be used: 400, in the shape of all the service's errors."""
    body = json.dumps({"error": sentence}).encode()
    return reply(Answered(400, {"content-type": "application/json"}, body))


def _bytes(event: _Body) -> bytes:
    text = event.body or ""
    if not event.isBase64Encoded:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadEvent("The event's body is not base64, although isBase64Encoded says so.") from None
