"""Which files does a browser get?"""

import hashlib
from pathlib import Path

import bentoml
from starlette.requests import Request
from starlette.responses import Response

from serving.gate import INLINE_STYLES
from serving.packaged import Packaged

HERE = Path(__file__).parent
WEB = HERE.parent / "web"
SWAGGER = Path(bentoml.__file__).parent / "_internal" / "server" / "static_content"
FILES = {
    "/": WEB / "index.html",
    "/page.css": WEB / "page.css",
    "/page.js": WEB / "page.js",
    "/docs": HERE / "docs.html",
    "/docs.js": HERE / "docs.js",
    "/swagger-ui.css": SWAGGER / "swagger-ui.css",
    "/swagger-ui-bundle.js": SWAGGER / "swagger-ui-bundle.js",
}
STYLED = {"/docs", "/card"}  # pages whose style stands in their markup

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}


class Page:
    """A file that is read once; a browser that has it already is told so."""

    def __init__(self, path: Path, *, inline_styles: bool = False) -> None:
        self.content = path.read_bytes()
        tag = hashlib.sha256(self.content).hexdigest()[:32]
        self._headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", "Content-Type": TYPES[path.suffix]}
        if inline_styles:
            self._headers["Content-Security-Policy"] = INLINE_STYLES

    def response(self, request: Request) -> Response:
        """Return the file, or 304 where the client has it."""
        if self._headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self._headers)
        return Response(self.content, headers=self._headers)


def pages(packaged: Packaged) -> dict[str, Page]:
    """Return what is served under which path; a model may come without a card."""
    files = {**FILES, "/model": packaged.card, "/card": packaged.card_page}
    return {path: Page(file, inline_styles=path in STYLED) for path, file in files.items() if file.is_file()}
