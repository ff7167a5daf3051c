"""How does a fit that was interrupted go on where it was?"""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from diascope.checkpoints import KEPT, Checkpoint, Checkpoints, State, digest, discard_old
from diascope.results import CurvePoint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIASCOPE_CACHE", str(tmp_path))
    return tmp_path


def state(epochs: int = 3) -> State:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([7, 8], np.uint32)]
    curve = [CurvePoint(x=i + 1, loss=0.5, held_out_loss=None if i else 0.25) for i in range(epochs)]
    return State(epochs, arrays, [np.array(9, np.int64)], arrays[:1], curve, best_epoch=1, reduced=[2])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "fit.npz")
    assert checkpoint.read() is None
    for epochs in (3, 4):
        checkpoint.write(state(epochs))
    found, expected = checkpoint.read(), state(4)
    assert found is not None
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["fit.npz"]
    for kind in ("variables", "optimizer", "best"):
        for one, other in zip(getattr(found, kind), getattr(expected, kind), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert (found.epochs, found.curve, found.best_epoch) == (4, expected.curve, 1)
    assert (found.reduced, found.finished) == ([2], False)


def test_a_checkpoint_is_whole_whenever_its_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "fit.npz")
    checkpoint.write(state(3))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(state(4))
    found = checkpoint.read()
    assert found is not None
    assert found.epochs == 3


def test_a_damaged_checkpoint_is_left_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = Checkpoint(tmp_path / "fit.npz")
    checkpoint.write(state())
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert checkpoint.read() is None
    assert "begins anew" in caplog.text


def test_fits_that_differ_in_anything_have_other_files() -> None:
    rows, others = np.arange(4), np.array([0, 1, 2, 4])
    names = {
        Checkpoints("a", {"rate": rate}).of(phase, some).path
        for rate in (1, 2)
        for phase in "hn"
        for some in (rows, others)
    }
    assert len(names) == 8
    assert Checkpoints("a", {"rate": 1}).of("h", rows).path in names
    assert digest([rows]) != digest([rows.astype(np.int32)])
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_what_nobody_took_up_is_removed_after_a_while(cache: Path) -> None:
    old, new = Checkpoints("old"), Checkpoints("new")
    for fits in (old, new):
        fits.of("fit").write(state())
    ago = (old.root.stat().st_mtime - KEPT - 60,) * 2
    for path in (*old.root.iterdir(), old.root):
        os.utime(path, ago)
    discard_old()
    assert [path.name for path in (cache / "fits").iterdir()] == [new.root.name]
    new.discard()
    assert not any((cache / "fits").iterdir())
