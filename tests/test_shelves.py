"""How is a dataset read from where it does not lie on this machine's disk?"""

import errno
import io
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloud import aws_environment, moto
from test_dataset import brought, plant, put, take

from diascope import dataset
from diascope.contents import CONTENTS_FILE, SCHEMA
from diascope.dataset import Dataset
from diascope.errors import InputError
from materializers.folder import DataMaterializer
from materializers.shelf import StoreShelf

SPLITS = ("train", "validation", "test")


class Counted:
    """A folder as if it were far away: what was fetched, how much, and how many files lay on this disk at once."""

    place = "far://away"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []
        self.bytes = self.most_on_disk = 0
        self.disk: set[Path] = set()
        self.seconds = 0.0

    def names(self) -> list[str]:
        return os.listdir(self.folder)

    def fetch(self, name: str, target: Path) -> None:
        time.sleep(self.seconds)
        self.fetched.append(name)
        shutil.copyfile(self.folder / name, target)
        self.bytes += target.stat().st_size
        self.disk = {path for path in self.disk | {target} if path.exists()}
        self.most_on_disk = max(self.most_on_disk, sum(path.suffix == ".parquet" for path in self.disk))

    def open(self, name: str) -> BinaryIO:
        shelf = self

        class Counting(io.FileIO):
            def readinto(self, buffer: Any) -> int:
                n = super().readinto(buffer) or 0
                shelf.bytes += n
                return n

            def read(self, size: int | None = -1) -> bytes:
                data = super().read(size) or b""
                shelf.bytes += len(data)
                return data

        return Counting(self.folder / name)


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """90 images in some ten shards of a few row groups."""
    monkeypatch.setattr(dataset, "ROW_GROUP_BYTES", 1_000)
    monkeypatch.setattr(dataset, "SHARD_BYTES", 2_000)
    root = plant(tmp_path / "in", *brought(15))
    stored = take(root, tmp_path / "out")
    assert len(stored.shards) >= 8
    return stored


@pytest.fixture
def shelf(taken: Dataset) -> Counted:
    return Counted(taken.root)


def opened(shelf: Any, tmp_path: Path) -> Dataset:
    root = tmp_path / f"opened-{uuid4()}"
    root.mkdir()
    return Dataset.on(shelf, root)


def everything(images: Dataset, *splits: str, batch: int = 7) -> list[tuple[list[str], list[bytes]]]:
    return list(images.images(*splits, batch=batch))


def shard_bytes(images: Dataset) -> int:
    return sum(shard.bytes for shard in images.shards)


def test_opening_fetches_no_shard(taken: Dataset, shelf: Counted, tmp_path: Path) -> None:
    far = opened(shelf, tmp_path)
    assert sorted(shelf.fetched) == [CONTENTS_FILE, "dataset.json"]
    assert far.info == taken.info
    pd.testing.assert_frame_equal(far.index(), taken.index())
    assert len(shelf.fetched) == 2


@pytest.mark.parametrize("splits", [(), ("train",), ("test",), ("train", "validation")])
def test_images_come_in_the_order_they_have_on_disk(
    taken: Dataset, shelf: Counted, tmp_path: Path, splits: tuple[str, ...]
) -> None:
    far = opened(shelf, tmp_path)
    shelf.fetched.clear()
    assert everything(far, *splits) == everything(taken, *splits)
    held = [shard.name for shard in taken.shards if not splits or set(splits) & set(shard.splits or ())]
    assert shelf.fetched == held
    assert len(held) < len(taken.shards) or "test" not in splits
    assert everything(far, *splits) == everything(taken, *splits)  # and once more, as a step that reads twice


def test_never_more_than_two_shards_are_here(shelf: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    far = opened(shelf, tmp_path)
    shelf.disk.clear()
    shelf.most_on_disk = 0
    seen = [len(list(tmp_path.glob("diascope-shards-*/*"))) for _ in far.images(batch=3)]
    assert max(seen) <= 2
    assert shelf.most_on_disk == 2
    assert not list(tmp_path.glob("diascope-shards-*"))


def test_the_next_shard_is_fetched_while_one_is_read(shelf: Counted, tmp_path: Path) -> None:
    far = opened(shelf, tmp_path)
    shelf.seconds = 0.03
    n = len(far.shards)
    start = time.perf_counter()
    for _ in far._paths(far.shards):
        time.sleep(0.03)
    assert time.perf_counter() - start < 0.8 * n * 0.06


def test_a_stream_that_is_left_early_leaves_nothing(
    shelf: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    far = opened(shelf, tmp_path)
    threads = threading.active_count()
    stream = far.images(batch=1)
    next(stream)
    assert list(tmp_path.glob("diascope-shards-*/*"))
    stream.close()  # type: ignore[attr-defined]
    assert not list(tmp_path.glob("diascope-shards-*"))
    assert threading.active_count() == threads


def test_a_few_images_cost_their_row_groups_alone(taken: Dataset, tmp_path: Path) -> None:
    """The footer of a shard and one row group, not the shard: 40 row groups here, of which one is read."""
    rows = pq.read_table(taken.root / "data-00000.parquet").to_pylist() * 40
    rows = [row | {"sample_id": f"{i}", "image": os.urandom(5_000)} for i, row in enumerate(rows)]
    root = tmp_path / "one"
    root.mkdir()
    (root / "dataset.json").write_text(info_of(taken, rows))
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), root / "data-00000.parquet", row_group_size=len(rows) // 40)
    shelf = Counted(root)
    far = opened(shelf, tmp_path)
    shelf.fetched.clear()
    shelf.bytes = 0
    wanted = [str(len(rows) // 2), "0", str(len(rows) // 2 + 1)]
    assert far.read(wanted) == {name: rows[int(name)]["image"] for name in wanted}
    assert list(far.read(wanted)) == wanted
    assert shelf.fetched == []
    assert 0 < shelf.bytes / 2 < shard_bytes(far) / 3
    with pytest.raises(KeyError, match="gone"):
        far.read(["gone"])


def info_of(taken: Dataset, rows: list[dict[str, Any]]) -> str:
    counts = {split: dict.fromkeys(taken.info.class_names, 0) for split in SPLITS}
    for row in rows:
        counts[row["split"]][row["label"]] += 1
    return taken.info.model_copy(update={"counts": counts}).model_dump_json()


def test_a_dataset_of_an_older_version_is_read_the_same(taken: Dataset, shelf: Counted, tmp_path: Path) -> None:
    expected = taken.index(), everything(taken, "validation"), taken.read(["valid/no/003.png"])
    sums = taken.digests()
    (taken.root / CONTENTS_FILE).unlink()
    for older in (Dataset(taken.root), opened(shelf, tmp_path)):
        pd.testing.assert_frame_equal(older.index(), expected[0])
        assert everything(older, "validation") == expected[1]
        assert older.read(["valid/no/003.png"]) == expected[2]
        assert {name: sum for name, sum in older.digests().items() if name != CONTENTS_FILE}.items() <= sums.items()
    assert shelf.most_on_disk <= 3  # two shards, and the contents that were made of them


# What is missing or damaged


def broken(folder: Path, name: str, how: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 255
        path.write_bytes(data)


def test_a_shard_that_is_missing_is_noticed_when_the_dataset_is_opened(shelf: Counted, tmp_path: Path) -> None:
    broken(shelf.folder, "data-00002.parquet", "missing")
    with pytest.raises(InputError, match=r"'far://away' is incomplete: \d+ of 90 images are there; make it anew"):
        opened(shelf, tmp_path)


@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_a_shard_that_goes_bad_later_is_one_sentence(shelf: Counted, tmp_path: Path, how: str) -> None:
    far = opened(shelf, tmp_path)
    broken(shelf.folder, "data-00002.parquet", how)
    sentence = "'far://away' has no data-00002" if how == "missing" else "data-00002.parquet in 'far://away' is damaged"
    with pytest.raises(InputError, match=sentence):
        everything(far)
    index = far.index()
    name = index["sample_id"][sum(shard.rows for shard in far.shards[:2])]
    if how != "flipped":
        with pytest.raises(InputError, match="data-00002"):
            far.read([name])


def test_what_is_cut_on_this_disk_is_one_sentence_too(taken: Dataset) -> None:
    broken(taken.root, "data-00002.parquet", "cut")
    with pytest.raises(InputError, match=r"incomplete: \d+ of 90"):
        Dataset(taken.root)
    with pytest.raises(InputError, match=r"data-00002.parquet in '.*out' is damaged; make the dataset anew"):
        everything(taken)


@pytest.mark.parametrize("name", [CONTENTS_FILE, "dataset.json"])
def test_a_dataset_without_its_description_is_none(taken: Dataset, shelf: Counted, tmp_path: Path, name: str) -> None:
    put(taken.root, name, b"")
    if name == CONTENTS_FILE:
        with pytest.raises(InputError, match=f"{name} in .* is damaged"):
            opened(shelf, tmp_path)
    (taken.root / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"'far://away' is no dataset: it has no dataset.json"):
        opened(shelf, tmp_path)


def test_a_full_disk_is_one_sentence(shelf: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = opened(shelf, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shelf, "fetch", full)
    with pytest.raises(InputError, match=r"the disk is full: there is no room for data-00000"):
        everything(far)


def test_a_broken_line_is_not_called_damage(shelf: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = opened(shelf, tmp_path)

    def lost(*_: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(shelf, "fetch", lost)
    with pytest.raises(ConnectionResetError):
        everything(far)


# In a real store


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """ZenML's S3 artifact store on a stand-in."""
    pytest.importorskip("s3fs")
    import boto3
    from zenml.enums import StackComponentType
    from zenml.integrations.s3.artifact_stores import S3ArtifactStore
    from zenml.integrations.s3.flavors import S3ArtifactStoreConfig
    from zenml.io.filesystem_registry import default_filesystem_registry

    patch = pytest.MonkeyPatch()
    with moto(tmp_path_factory.mktemp("moto")) as url:
        for name, value in aws_environment(url).items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(
            Bucket="shelves", CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
        )
        now = pd.Timestamp.now().to_pydatetime()
        config = S3ArtifactStoreConfig.model_validate({"path": "s3://shelves", "client_kwargs": {"endpoint_url": url}})
        kind = StackComponentType.ARTIFACT_STORE
        yield S3ArtifactStore(
            name="s3", id=uuid4(), config=config, flavor="s3", type=kind, user=uuid4(), created=now, updated=now
        )
        default_filesystem_registry._filesystems.pop("s3://", None)
    patch.undo()


def test_a_dataset_in_s3_is_read_shard_by_shard(
    taken: Dataset, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    materializer = DataMaterializer("s3://shelves/dataset", s3)
    materializer.save(taken)
    far = materializer.load(Dataset)
    assert sorted(path.name for path in far.root.iterdir()) == [CONTENTS_FILE, "dataset.json"]
    pd.testing.assert_frame_equal(far.index(), taken.index())
    seen, stream = [], far.images("train", "test", batch=3)
    for batch in stream:
        seen.append(batch)
        assert len(list(tmp_path.glob("diascope-shards-*/*"))) <= 2
    assert seen == everything(taken, "train", "test", batch=3)
    wanted = ["valid/yes/003.png", "test/no/001.png"]
    assert far.read(wanted) == taken.read(wanted)
    assert materializer.compute_content_hash(far) == materializer.compute_content_hash(taken)
    assert materializer.extract_metadata(far) == materializer.extract_metadata(taken)

    # What was opened there can be stored elsewhere, in a store as on a disk.
    for place in ("s3://shelves/again", str(tmp_path / "again")):
        other = DataMaterializer(place, s3)
        other.save(far)
        assert everything(other.load(Dataset)) == everything(taken)
        assert other.compute_content_hash(other.load(Dataset)) == materializer.compute_content_hash(taken)

    s3.remove("s3://shelves/dataset/data-00001.parquet")
    with pytest.raises(InputError, match=r"'s3://shelves/dataset' has no data-00001.parquet"):
        everything(far)
    with pytest.raises(InputError, match=r"'s3://shelves/dataset' is incomplete"):
        DataMaterializer("s3://shelves/dataset", s3).load(Dataset)


def test_parts_of_a_file_in_s3_are_fetched_alone(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(300_000)
    with s3.open("s3://shelves/parts/some.bin", "wb") as file:
        file.write(data)
    asked = []
    real = s3.filesystem.cat_file

    def cat_file(path: str, **part: int) -> bytes:
        asked.append((part["start"], part["end"]))
        return real(path, **part)

    monkeypatch.setattr(s3.filesystem, "cat_file", cat_file)
    with StoreShelf("s3://shelves/parts", s3).open("some.bin") as file:
        assert file.seek(-100, io.SEEK_END) == 299_900
        assert file.read(500) == data[-100:]
        assert file.read(10) == b""
        file.seek(7)
        assert (file.read(5), file.tell()) == (data[7:12], 12)
    assert asked == [(299_900, 300_000), (7, 12)]
    with pytest.raises(FileNotFoundError):
        StoreShelf("s3://shelves/parts", s3).open("other.bin")
