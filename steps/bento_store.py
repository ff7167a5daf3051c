"""How do models and bentos get into BentoML's stores, and out of them?"""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from diascope.card import Card, markdown
from diascope.checksums import write_checksums
from diascope.classifier import Classifier
from diascope.deployment import SERVED, Bento, Release
from diascope.reports.card import card_page

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parent.parent
TIMES = {"bento.yaml", "model.yaml"}  # the files that say when something was made
CREATED = re.compile(r"(creation_time: ?'?)[^'\n]+")


class BentoError(RuntimeError):
    """BentoML could not build; the message ends with what it said."""


def store_model(release: Release, classifier: Classifier, card: Card) -> str:
    """Put classifier and card into the model store, in place of what is there under this tag; return the tag."""
    import bentoml

    _forget(release.stored_as, bentoml.models)
    labels = {"name": release.name, "version": str(release.version)}
    with bentoml.models.create(release.stored_as, labels=labels) as model:
        folder = Path(model.path)
        for name in SERVED:
            shutil.copyfile(classifier.root / name, folder / name)
        (folder / "card.json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
        (folder / "card.md").write_text(markdown(card), encoding="utf-8")
        (folder / "card.html").write_text(card_page(card), encoding="utf-8")
        write_checksums(folder)
    return release.stored_as


def build(release: Release) -> Bento:
    """Build the bento as bentofile.yaml says, in place of one of the same tag.

    Raises
    ------
    BentoError: it does not build, or took another model.
    """
    import bentoml

    _forget(release.tag, bentoml.bentos)
    _run_build(release)
    bento = bentoml.bentos.get(release.tag)
    models = [str(model.tag) for model in bento.info.all_models]
    if models != [release.stored_as]:
        raise BentoError(f"The bento holds {', '.join(models) or 'no model'} instead of {release.stored_as}.")
    model = bentoml.models.get(release.stored_as)
    return Bento(
        tag=str(bento.tag),
        model=str(model.tag),
        megabytes=(bento.file_size + model.file_size) / 1e6,
        digest=_digest(Path(bento.path), Path(model.path)),
    )


@contextmanager
def context(bento: Bento, created: str) -> Iterator[Path]:
    """Give a folder that an image can be built from: the bento with its model in it.

    Everything in it is from the time `created` (ISO 8601), so that Docker takes equal contents for the same image.
    `bentoml containerize` would do the same, but since 1.4.36 finds a Dockerfile template only below the folder that
    it is started in (BentoML issue 5566).
    """
    import bentoml

    with TemporaryDirectory() as scratch:
        folder = Path(bentoml.bentos.export_bento(bento.tag, f"{scratch}/bento", output_format="folder"))
        for path in (path for path in folder.rglob("*") if path.name in TIMES):
            path.write_text(CREATED.sub(rf"\g<1>{created}", path.read_text(encoding="utf-8")), encoding="utf-8")
        yield folder


def _run_build(release: Release) -> None:
    """Run `bentoml build` in a process of its own: BentoML reads files below its working folder alone."""
    name, _, version = release.tag.partition(":")
    command = [sys.executable, "-m", "bentoml", "build", ".", "--name", name, "--version", version]
    environment = os.environ | {"DIASCOPE_MODEL": release.stored_as}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    log.info("%s\n%s", done.stdout, done.stderr)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise BentoError(f"`bentoml build` failed: {lines[-1] if lines else 'it did not say why'}")


def _forget(tag: str, store: ModuleType) -> None:
    from bentoml.exceptions import NotFound

    with suppress(NotFound):
        store.delete(tag)


def _digest(*folders: Path) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in TIMES:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()
