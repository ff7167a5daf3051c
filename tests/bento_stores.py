"""BentoML's stores in a folder of a test module's own; it keeps the ones that it has opened for as long as it lives."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def stores_in(folder: Path) -> Iterator[Path]:
    from bentoml._internal.bento import BentoStore
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    for name in ("bentos", "models", "envs", "tmp"):
        (folder / name).mkdir()
    own = {
        "bentoml_home": str(folder),
        "bento_store_dir": str(folder / "bentos"),
        "model_store_dir": str(folder / "models"),
        "tmp_bento_store_dir": str(folder / "tmp"),
        "bento_store": BentoStore(folder / "bentos"),
        "model_store": ModelStore(folder / "models"),
    }
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("BENTOML_HOME", str(folder))
        for name, value in own.items():
            provider = getattr(BentoMLContainer, name)
            provider.set(value)
            stack.callback(provider.reset)
        yield folder
