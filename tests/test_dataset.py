"""What is a dataset?"""

import errno
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diascope import dataset
from diascope.checks import tally
from diascope.config import ChecksConfig, DatasetConfig, Splits
from diascope.dataset import Dataset, ingest
from diascope.errors import InputError
from diascope.images import facts
from diascope.records import SPLITS, Record
from diascope.scan import scan

ROOT = Path(__file__).resolve().parent.parent


def png(seed: object, side: int = 24, blocks: int = 6) -> bytes:
    """A picture of random blocks: perceptual hashes of two seeds are far apart."""
    rng = np.random.default_rng(int.from_bytes(str(seed).encode(), "big"))
    pixels = rng.integers(0, 256, (blocks, blocks), dtype=np.uint8).repeat(side // blocks, 0).repeat(side // blocks, 1)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def plant(root: Path, *names: str) -> Path:
    for name in names:
        put(root, name, png(name))
    return root


def put(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def classes(n: int = 20) -> list[str]:
    return [f"{label}/{i:03}.png" for label in ("no", "yes") for i in range(n)]


def brought(n: int = 8) -> list[str]:
    places = [f"{split}/{label}" for split in ("train", "valid", "test") for label in ("no", "yes")]
    return [f"{place}/{i:03}.png" for place in places for i in range(n)]


def take(root: Path, out: Path, *, seed: int = 3, checks: ChecksConfig | None = None, **config: object) -> Dataset:
    settings = DatasetConfig.model_validate({"source": str(root), **config})
    return ingest(settings, checks or ChecksConfig(), root, out, seed)


def test_images_come_back_as_they_were(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *brought())
    taken = take(root, tmp_path / "out")
    index = taken.index()
    assert list(index.columns) == dataset.INDEX_COLUMNS
    assert set(index["sample_id"]) == set(brought())
    rows = index.set_index("sample_id")
    for ids, images in taken.images():
        for name, data in zip(ids, images, strict=True):
            assert data == (root / name).read_bytes()
            described = facts(data, name=name)
            row = rows.loc[name]
            assert (row["sha256"], row["phash"]) == (described.sha256, described.phash)
            assert (row["width"], row["height"], row["mode"]) == (24, 24, "L")
            assert row["label"] == name.split("/")[1]
            assert row["split"] == {"train": "train", "valid": "validation", "test": "test"}[name.split("/")[0]]
    assert index["sha256"].str.len().eq(64).all()
    assert str(index["phash"].dtype) == "uint64"


def test_any_reader_of_parquet_opens_it(tmp_path: Path) -> None:
    taken = take(plant(tmp_path / "in", *classes()), tmp_path / "out")
    table = pd.read_parquet(taken.root / "data-00000.parquet")
    assert len(table) == 40
    assert Image.open(io.BytesIO(table["image"][0])).size == (24, 24)
    info = json.loads((taken.root / "dataset.json").read_text())
    assert info["class_names"] == ["no", "yes"]
    assert info["schema_version"] == 1


def test_info_counts_what_is_there(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *brought())
    put(root, "train/no/broken.png", b"no image")
    put(root, "README.txt", b"words")
    info = take(root, tmp_path / "out").info
    assert info.counts == {split: {"no": 8, "yes": 8} for split in SPLITS}
    assert (info.n_found, info.layout, info.grouping, info.splits_made) == (49, "split_folders", "similarity", [])
    assert info.notices == ["1 file of text left out: 'README.txt'."]
    assert [finding.kind for finding in info.findings] == ["unreadable"]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "ROW_GROUP_BYTES", 1_000)
    monkeypatch.setattr(dataset, "SHARD_BYTES", 4_000)


def test_passwords_and_signatures_of_a_source_are_not_stored(tmp_path: Path) -> None:
    config = DatasetConfig(source="https://me:secret@example.org/scans.zip?signature=secret")
    taken = ingest(config, ChecksConfig(), plant(tmp_path / "in", *brought()), tmp_path / "out", 3)
    assert taken.info.source == "https://example.org/scans.zip"
    assert "secret" not in (tmp_path / "out" / "dataset.json").read_text()


@pytest.mark.usefixtures("small_pieces")
def test_shards_and_row_groups_are_streamed_in_storage_order(tmp_path: Path) -> None:
    taken = take(plant(tmp_path / "in", *brought()), tmp_path / "out")
    shards = sorted(taken.root.glob("data-*.parquet"))
    assert [shard.name for shard in shards] == [f"data-{i:05}.parquet" for i in range(len(shards))]
    assert len(shards) > 2
    assert all(1 < pq.ParquetFile(shard).num_row_groups < 30 for shard in shards[:-1])
    index = taken.index()
    order = list(zip(index["split"].map(SPLITS.index), index["sample_id"], strict=True))
    assert order == sorted(order)
    for splits in ([], ["test"], ["train", "test"]):
        batches = list(taken.images(*splits, batch=5))
        assert [len(ids) for ids, _ in batches[:-1]] == [5] * (len(batches) - 1)
        wanted = index[index["split"].isin(splits or SPLITS)]["sample_id"].tolist()
        assert [name for ids, _ in batches for name in ids] == wanted
    assert list(taken.images("nothing")) == []


@pytest.mark.usefixtures("small_pieces")
def test_a_few_images_are_read_by_name(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *brought())
    taken = take(root, tmp_path / "out")
    wanted = ["valid/yes/003.png", "test/no/001.png", "train/no/000.png"]
    read = taken.read(wanted)
    assert list(read) == wanted
    assert all(read[name] == (root / name).read_bytes() for name in wanted)
    with pytest.raises(KeyError, match="gone"):
        taken.read(["gone"])


def test_missing_splits_are_made_stratified_and_seeded(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *classes(40))
    first, again, other = (
        take(root, tmp_path / str(i), seed=seed, splits={"validation": 0.1, "test": 0.25})
        for i, seed in enumerate((3, 3, 4))
    )
    assert first.info.splits_made == ["test", "validation"]
    for label in ("no", "yes"):
        counts = [first.info.counts[split][label] for split in SPLITS]
        assert counts == pytest.approx([26, 4, 10], abs=4)
    pd.testing.assert_frame_equal(first.index(), again.index())
    assert first.info.fingerprint == again.info.fingerprint != other.info.fingerprint


def test_only_validation_is_made_where_only_it_is_missing(tmp_path: Path) -> None:
    names = [name for name in brought(20) if not name.startswith("valid")]
    taken = take(plant(tmp_path / "in", *names), tmp_path / "out")
    index = taken.index().set_index("sample_id")["split"]
    assert taken.info.splits_made == ["validation"]
    assert set(index[index == "test"].index) == {name for name in names if name.startswith("test")}
    assert taken.info.counts["validation"]["no"] == pytest.approx(3, abs=2)
    names = [name for name in brought(20) if name.startswith("train")]
    taken = take(plant(tmp_path / "train only", *names), tmp_path / "out2")
    assert taken.info.splits_made == ["test", "validation"]


def test_patients_stay_whole_in_made_splits(tmp_path: Path) -> None:
    names = [f"{label}/P{p:02}_{i}.png" for label in ("no", "yes") for p in range(20) for i in range(1 + p % 4)]
    taken = take(plant(tmp_path / "in", *names), tmp_path / "out", patient_pattern=r"(P\d+)_")
    index = taken.index()
    assert taken.info.grouping == "patient"
    assert (index["group"] == index["sample_id"].str.extract(r"(P\d+)_")[0]).all()
    assert (index.groupby("group")["split"].nunique() == 1).all()
    assert (pd.crosstab(index["split"], index["label"]) > 0).all(axis=None)


def test_images_that_look_alike_stay_together_where_patients_are_unknown(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for label in ("no", "yes"):
        for i in range(15):
            for copy in range(4):
                pixels = np.asarray(Image.open(io.BytesIO(png(f"{label}{i}", 32, 8)))).copy()
                pixels[0, 0] ^= copy
                out = io.BytesIO()
                Image.fromarray(pixels).save(out, "PNG")
                put(root, f"{label}/{i}_{copy}.png", out.getvalue())
    index = take(root, tmp_path / "out").index()
    index["origin"] = index["sample_id"].str.split("_").str[0]
    assert len(index) == 120
    assert (index.groupby("origin")["split"].nunique() == 1).all()
    assert (index.groupby("origin")["group"].nunique() == 1).all()
    assert index["group"].str.startswith("cluster:").all()
    assert index["split"].nunique() == 3


def test_a_class_that_looks_all_alike_is_still_split_with_a_notice(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *[f"no/{i}.png" for i in range(100)])
    pixels = np.asarray(Image.open(io.BytesIO(png("one")))).copy()
    for i in range(12):  # hashes differ by little, not by nothing
        shown = pixels.astype(int)
        shown[4 * (i % 6) : 4 * (i % 6) + 4, 4 * (i // 6) : 4 * (i // 6) + 4] += 40
        out = io.BytesIO()
        Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)).save(out, "PNG")
        put(root, f"yes/{i}.png", out.getvalue())
    taken = take(root, tmp_path / "out")
    assert all(taken.info.counts[split]["yes"] for split in SPLITS)
    assert any("looks all alike" in notice for notice in taken.info.notices)


def test_a_class_of_one_patient_cannot_be_split(tmp_path: Path) -> None:
    names = [f"no/P{i}_0.png" for i in range(20)] + [f"yes/P99_{i}.png" for i in range(20)]
    with pytest.raises(InputError, match=r"'yes'.*one patient"):
        take(plant(tmp_path / "in", *names), tmp_path / "out", patient_pattern=r"(P\d+)_")


def test_equal_pixels_of_two_patients_stay_together(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *[f"{label}/P{label}{p:02}_0.png" for label in ("no", "yes") for p in range(30)])
    for p in range(30):
        put(root, f"no/Q{p:02}_0.png", png(f"no/Pno{p:02}_0.png"))
    taken = take(root, tmp_path / "out", checks=ChecksConfig(duplicates="warn"), patient_pattern=r"([PQ].+)_")
    assert (taken.index().groupby("sha256")["split"].nunique() == 1).all()
    assert len(taken.index()) == 90


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *classes())
    with pytest.raises(InputError, match="leaves nothing for training"):
        take(root, tmp_path / "out", splits=Splits(validation=0.5, test=0.5).model_dump())


def test_a_test_split_alone_is_refused(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *[name for name in brought() if not name.startswith("train")])
    with pytest.raises(InputError, match="no training split"):
        take(root, tmp_path / "out")


def test_neither_order_nor_dates_on_disk_matter(tmp_path: Path) -> None:
    names = classes(25)
    a = take(plant(tmp_path / "a", *names), tmp_path / "out a").info
    b = take(plant(tmp_path / "b", *reversed(names)), tmp_path / "out b").info
    assert a.fingerprint == b.fingerprint
    assert a.counts == b.counts


def test_the_fingerprint_sees_labels_splits_and_pixels(tmp_path: Path) -> None:
    seen = {take(plant(tmp_path / "0", *brought()), tmp_path / "out0").info.fingerprint}
    root = plant(tmp_path / "1", *brought())
    put(root, "test/no/000.png", png("other"))
    seen.add(take(root, tmp_path / "out1").info.fingerprint)
    root = plant(tmp_path / "2", *brought())
    seen.add(take(root, tmp_path / "out2", class_map={"yes": "maybe"}).info.fingerprint)
    assert len(seen) == 3


def header_only(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_files_that_are_no_usable_images_are_reported_and_skipped(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *brought())
    put(root, "train/no/truncated.png", png("t")[:-40])
    put(root, "train/no/huge.png", header_only(30_000, 30_000))
    put(root, "train/no/words.png", b"these are words")
    put(root, "train/no/empty.png", b"")
    put(root, "train/no/pixel.png", png("p", 1, 1))
    (root / "train/no/gone.png").symlink_to(tmp_path / "nowhere")
    info = take(root, tmp_path / "out").info
    unusable = {finding.files[0]: finding.detail for finding in info.findings if finding.kind == "unreadable"}
    assert set(unusable) == {f"train/no/{name}.png" for name in ("truncated", "huge", "words", "empty", "gone")}
    assert "30,000" in unusable["train/no/huge.png"]
    assert [finding.files for finding in info.findings if finding.kind == "blank"] == [["train/no/pixel.png"]]
    assert sum(info.counts["train"].values()) == 16


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "film.png").open("wb") as file:
        file.truncate(900)
    (one,) = scan([Record(tmp_path / "film.png", "a/film.png", "a")], max_pixels=100)
    assert one.facts is None
    assert "900 bytes" in one.error


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    plant(tmp_path, *classes())
    os.mkfifo(tmp_path / "no" / "pipe.png")
    info = take(tmp_path, tmp_path.with_name("out")).info
    assert [(finding.files, finding.detail) for finding in info.findings] == [
        (["no/pipe.png"], "no/pipe.png is no file.")
    ]


def test_scanning_keeps_the_order_and_says_how_far_it_is(tmp_path: Path) -> None:
    names = classes(30)
    plant(tmp_path, *names)
    told: list[tuple[str, int, int | None]] = []
    records = [Record(tmp_path / name, name, name.split("/")[0]) for name in names]
    scanned = list(scan(records, 10_000, lambda *progress: told.append(progress)))
    assert [one.record.name for one in scanned] == names
    assert [done for _, done, _ in told] == list(range(1, 61))
    assert {total for *_, total in told} == {60}


def test_a_dataset_replaces_an_older_one_but_nothing_else(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *classes())
    take(root, tmp_path / "out")
    plant(root, "no/another.png")
    assert len(take(root, tmp_path / "out").index()) == 41
    put(tmp_path, "mine/letter.txt", b"dear")
    with pytest.raises(InputError, match=r"mine.*not empty"):
        take(root, tmp_path / "mine")
    assert (tmp_path / "mine/letter.txt").exists()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_nothing_half_written_is_left(tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(tmp_path / "in", *classes())
    writer, written = dataset._writer, []

    def failing(path: Path) -> pq.ParquetWriter:
        written.append(path)
        if len(written) == 2:
            raise error
        return writer(path)

    monkeypatch.setattr(dataset, "_writer", failing)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt) as stopped:
        take(root, tmp_path / "out")
    assert isinstance(error, KeyboardInterrupt) or "disk is full" in str(stopped.value)
    assert written[0].parent.name == ".out.partial"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    monkeypatch.setattr(dataset, "_writer", writer)
    put(tmp_path, ".out.partial/data-00000.parquet", b"of a run that was killed")
    assert len(take(root, tmp_path / "out").index()) == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_file_that_vanishes_before_it_is_stored_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(tmp_path / "in", *classes())
    monkeypatch.setattr(dataset, "scan", _scan_then(dataset.scan, root / "no/007.png"))
    with pytest.raises(InputError, match=r"no/007.png can no longer be read"):
        take(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _scan_then(real: object, gone: Path) -> object:
    def scan_and_remove(*arguments: object) -> Iterator[object]:
        yield from real(*arguments)  # type: ignore[operator]
        gone.unlink()

    return scan_and_remove


def test_agreement_is_stored_and_is_part_of_the_fingerprint_where_it_is_known(tmp_path: Path) -> None:
    root = plant(tmp_path / "in", *(f"{i:02}.png" for i in range(30)))
    plain = {"file": "labels.csv", "columns": {"label": "diagnosis"}}
    voted = {"file": "labels.csv", "columns": {"label": "diagnosis", "votes": "n"}, "votes_for": "yes", "annotators": 5}
    lines = [f"{i:02}.png,{'yes' if i % 2 else 'no'},{4 if i % 2 else 0}" for i in range(30)]
    (root / "labels.csv").write_text("\n".join(["file,diagnosis,n", *lines]))
    known = take(root, tmp_path / "known", annotations=voted)
    index = known.index()
    assert index.loc[index["label"] == "yes", "agreement"].tolist() == pytest.approx([0.8] * 15)
    assert index.loc[index["label"] == "no", "agreement"].tolist() == [1.0] * 15
    unknown = take(root, tmp_path / "unknown", annotations=plain)
    assert (unknown.index()["agreement"] == 1).all()
    assert unknown.info.fingerprint != known.info.fingerprint
    assert pq.read_table(known.root / "data-00000.parquet")["agreement"].to_pylist() == index["agreement"].tolist()


@pytest.mark.parametrize("with_contents", [True, False])
def test_a_dataset_that_was_stored_without_agreement_is_read(with_contents: bool, tmp_path: Path) -> None:
    taken = take(plant(tmp_path / "in", *classes()), tmp_path / "out")
    expected = taken.index()
    for path in taken.root.glob("data-*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["agreement"]), path)
    contents = taken.root / "_contents.parquet"
    if with_contents:
        table = pq.read_table(contents)
        listed = [dict(shard, bytes=(taken.root / shard["name"]).stat().st_size) for shard in _listed(contents)]
        table = table.drop_columns(["agreement"]).replace_schema_metadata({b"shards": json.dumps(listed).encode()})
        pq.write_table(table, contents)
    else:
        contents.unlink()
    again = Dataset(taken.root)
    pd.testing.assert_frame_equal(again.index(), expected)
    assert list(again.read(["no/003.png"])) == ["no/003.png"]


def _listed(contents: Path) -> list[dict[str, object]]:
    return json.loads(pq.read_schema(contents).metadata[b"shards"])


def test_what_is_no_whole_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset"):
        Dataset(tmp_path)
    taken = take(plant(tmp_path / "in", *classes()), tmp_path / "out")
    info = json.loads((taken.root / "dataset.json").read_text())
    (taken.root / "dataset.json").write_text(json.dumps({**info, "schema_version": 2, "new": 1}))
    with pytest.raises(InputError, match="has version 2; this program reads up to 1"):
        Dataset(taken.root)
    (taken.root / "dataset.json").write_text(json.dumps(info))
    (taken.root / "data-00000.parquet").unlink()
    with pytest.raises(InputError, match="incomplete: 0 of 40"):
        Dataset(taken.root)


MEASURE = """
import resource, sys
from pathlib import Path
from diascope.config import ChecksConfig, DatasetConfig
from diascope.dataset import ingest
root, out = map(Path, sys.argv[1:])
taken = ingest(DatasetConfig(source=str(root)), ChecksConfig(), root, out, 1)
assert sum(len(ids) for ids, _ in taken.images()) == taken.info.n_found
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_ten_times_the_images_need_no_more_memory(tmp_path: Path) -> None:
    peak = {}
    for n in (40, 400):
        root = tmp_path / str(n)
        for i in range(n):
            put(root, f"{'no' if i % 2 else 'yes'}/{i}.bmp", _noise(i))
        command = [sys.executable, "-c", MEASURE, str(root), str(tmp_path / f"out {n}")]
        peak[n] = float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert peak[400] < peak[40] + 30  # megabytes; the images are 79


def _noise(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(out, "BMP")
    return out.getvalue()


@pytest.fixture
def real_images() -> Path:
    folder = os.environ.get("DIASCOPE_TEST_DATA")
    if not folder:
        pytest.skip("DIASCOPE_TEST_DATA names no folder of real images")
    return Path(folder)


def test_chest_ct(real_images: Path, tmp_path: Path) -> None:
    taken = take(real_images / "chest-ct-4class", tmp_path / "out")
    counts = tally(taken.info.findings)
    assert (counts["leaks"], counts["leaks_validation"], counts["conflicts"]) == (46, 10, 1)
    assert (counts["unreadable"], counts["blank"]) == (0, 0)
    assert taken.info.n_found == 1000
    assert {split: sum(taken.info.counts[split].values()) for split in SPLITS} == {
        "train": 515,
        "validation": 62,
        "test": 269,
    }
    assert taken.index()["sha256"].is_unique
    assert taken.info.splits_made == []


def test_brain_mri(real_images: Path, tmp_path: Path) -> None:
    taken = take(real_images / "brain-mri-yesno", tmp_path / "out")
    counts = tally(taken.info.findings)
    assert (counts["unreadable"], counts["blank"], counts["duplicates"]) == (0, 0, 25)
    assert len(taken.index()) == 228
    assert set(taken.index()["mode"]) == {"RGB", "L", "RGBA", "P"}
    assert all(taken.info.counts[split][label] > 4 for split in SPLITS for label in ("yes", "no"))


def test_images_saved_wrongly(real_images: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all 253 images are blank: .*were they scaled to 0\.\.1 before saving\?"):
        take(real_images / "broken-brain-mri-yesno-values0to1", tmp_path / "out")
