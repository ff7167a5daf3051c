"""Which requests are sent? Whole ones, as bytes in files, so that making them costs no client anything."""

import json
import uuid
from pathlib import Path

from diascope.classifier import Classifier


def multipart(files: list[Path], folder: Path, path: str = "/predict") -> None:
    """Write one request per file as a browser sends it."""
    for number, file in enumerate(files):
        mark = uuid.uuid4().hex
        kind = {".png": "image/png"}.get(file.suffix.lower(), "image/jpeg")
        name = f'form-data; name="image"; filename="{number}{file.suffix}"'
        head = f"--{mark}\r\nContent-Disposition: {name}\r\nContent-Type: {kind}\r\n\r\n"
        body = head.encode() + file.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        _write(folder, number, path, f"multipart/form-data; boundary={mark}", body)


def tensors(files: list[Path], classifier: Classifier, folder: Path) -> None:
    """Write one request per file as MLflow's scoring server takes it: decoded pixels as JSON."""
    for number, path in enumerate(files):
        body = json.dumps({"inputs": classifier.pixels(path)[None].tolist()}).encode()
        _write(folder, number, "/invocations", "application/json", body)


def _write(folder: Path, number: int, path: str, kind: str, body: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    (folder / f"{number:03}.http").write_bytes(head.encode() + body)
