"""What does it cost to read a dataset from a store shard by shard, against copying it first?"""

import json
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks import child
from benchmarks.growth import draw
from benchmarks.servers import serving, tool

SHARD = 8 * 1024**2
PLACE = "s3://bench/dataset"


def main() -> None:
    """Print seconds to the first and to the last image, and the most megabytes on the disk, of both ways."""
    asked = child.options()
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        command = [tool("moto_server"), "-H", "127.0.0.1", "-p", "{port}"]
        with serving(command, "/moto-api/", {}, root / "moto.log") as server:
            found = _measure(root, f"http://127.0.0.1:{server.port}", asked["n"], asked["side"])
    print(json.dumps(found))


def _measure(root: Path, endpoint: str, n: int, side: int) -> dict[str, Any]:
    from diascope import dataset
    from diascope.config import ChecksConfig, DatasetConfig
    from materializers.folder import DataMaterializer
    from materializers.shelf import StoreShelf

    draw(root / "in", n, side)
    with patch.object(dataset, "SHARD_BYTES", SHARD):
        taken = dataset.ingest(DatasetConfig(source="drawn"), ChecksConfig(), root / "in", root / "out", 1)
    store = _store(endpoint)
    materializer = DataMaterializer(PLACE, store)
    materializer.save(taken)

    def whole(folder: Path) -> dataset.Dataset:
        shelf = StoreShelf(PLACE, store)
        for name in shelf.names():
            shelf.fetch(name, folder / name)
        return dataset.Dataset(folder)

    size = sum(shard.bytes for shard in taken.shards)
    return {
        "megabytes": size / 1e6,
        "shards": len(taken.shards),
        "copied first": _read(root, "whole", whole),
        "shard by shard": _read(root, "shelf", lambda folder: dataset.Dataset.on(StoreShelf(PLACE, store), folder)),
        "64 images": _read(root, "few", lambda folder: dataset.Dataset.on(StoreShelf(PLACE, store), folder), few=64),
    }


def _read(root: Path, name: str, opened: Any, few: int = 0) -> dict[str, float]:
    from diascope.images import decode

    folder = root / name
    folder.mkdir()
    disk = _Disk(folder)
    with patch("tempfile.tempdir", str(folder)), disk:
        start = time.perf_counter()
        (folder / "own").mkdir()
        images = opened(folder / "own")
        first = 0.0
        if few:
            index = images.index()["sample_id"]
            images.read(index.iloc[np.linspace(0, len(index) - 1, few).astype(int)].tolist())
        else:
            for ids, encoded in images.images():
                first = first or time.perf_counter() - start
                for sample, data in zip(ids, encoded, strict=True):
                    decode(data, name=sample, max_pixels=10**9)
        seconds = time.perf_counter() - start
    return {"first": first or seconds, "seconds": seconds, "disk": disk.most / 1e6}


class _Disk:
    """The most bytes below a folder while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.most, self._folder, self._over = 0, folder, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, sum(_size(path) for path in self._folder.rglob("*")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # removed meanwhile
        return 0


def _store(endpoint: str) -> Any:
    from datetime import UTC, datetime
    from uuid import uuid4

    import boto3
    from zenml.enums import StackComponentType
    from zenml.integrations.s3.artifact_stores import S3ArtifactStore
    from zenml.integrations.s3.flavors import S3ArtifactStoreConfig

    known = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(known | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": endpoint})
    boto3.client("s3").create_bucket(Bucket="bench")
    said = {"path": "s3://bench", "client_kwargs": {"endpoint_url": endpoint}}
    config, now = S3ArtifactStoreConfig.model_validate(said), datetime.now(UTC)
    kind = StackComponentType.ARTIFACT_STORE
    return S3ArtifactStore(
        name="s3", id=uuid4(), config=config, flavor="s3", type=kind, user=uuid4(), created=now, updated=now
    )


if __name__ == "__main__":
    main()
