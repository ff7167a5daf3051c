"""Who may ask for predictions?"""

import hmac

from starlette.requests import Request

from serving.refusals import Refusal


def check_key(request: Request, key: str | None) -> None:
    """Let a request pass that carries the key, as `X-API-Key` or `Authorization: Bearer`; raises Refusal."""
    if key is None:
        return
    given = request.headers.get("x-api-key")
    if given is None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
    # Header lines are bytes that were read as Latin-1.
    if not hmac.compare_digest(given.encode("latin-1"), key.encode("utf-8", "surrogateescape")):
        sentence = "An API key is needed: send it as the header X-API-Key or Authorization: Bearer."
        raise Refusal(401, "api_key", sentence, {"WWW-Authenticate": "Bearer"})
