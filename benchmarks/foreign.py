"""Count what the production model calls foreign: `python benchmarks/foreign.py --config chest_ct --foreign FOLDER`."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from diascope.classifier import Classifier
    from diascope.dataset import Dataset

ROOT = Path(__file__).resolve().parent.parent
SEED = 20
CONFIDENCE = 0.95
COLUMNS = ("images", "n", "foreign", "uncertain", "ok", "share foreign (95 %)")


@dataclass(frozen=True)
class Kind:
    """How images of one kind were answered."""

    name: str
    n: int
    foreign: int
    uncertain: int

    def row(self) -> tuple[str, ...]:
        """The cells of its row; the interval is Wilson's."""
        from diascope.intervals import wilson

        share = self.foreign / self.n
        low, high = wilson(share, self.n, CONFIDENCE)
        counts = (self.n, self.foreign, self.uncertain, self.n - self.foreign - self.uncertain)
        return (self.name, *map(str, counts), f"{share:.3f} ({low:.3f} to {high:.3f})")


def main(argv: Sequence[str] | None = None) -> int:
    """Answer images of each kind and print one row for it as soon as it is there; gives the exit status."""
    options = _parse(argv)
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    from diascope.errors import InputError

    start = time.perf_counter()
    try:
        folders = {folder: files(folder, options.most) for folder in options.foreign}
        classifier, dataset, title = _production(options)
        print(title, end="\n\n")
        print_rows(kinds(classifier, dataset, folders, options.most))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{time.perf_counter() - start:.0f} s")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--config", default="demo", metavar="NAME|PATH", help="whose production model (default: demo)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value of it; repeatable")
    add("--foreign", nargs="+", type=Path, default=[], metavar="FOLDER", help="images of another kind")
    add("--most", type=int, default=1000, metavar="N", help="of the test split and of each folder, evenly chosen")
    options = parser.parse_args(argv)
    if options.most < 1:
        parser.error("--most takes a number above 0")
    return options


def _production(options: argparse.Namespace) -> tuple["Classifier", "Dataset", str]:
    """Return the model in production, its data, and both in words; raises InputError."""
    from benchmarks.machine import machine
    from commands.start import start_zenml
    from diascope.errors import InputError
    from diascope.experiment import find_configuration, load

    name = load(find_configuration(options.config, ROOT / "configs"), options.set).parameters.promotion.model
    start_zenml(debug=False)
    from pipelines.production import find_artifact, find_version

    version = find_version(name)
    classifier, dataset = (find_artifact(version, part).load() for part in ("classifier", "dataset"))
    if classifier.info.familiarity is None:
        raise InputError(f"Version {version.number} of {name!r} cannot tell foreign images: train it again.")
    training = classifier.info.training
    winner = training.candidate.get("name", "")
    said = f"{name} version {version.number}: {winner}, trained on {training.n:,} images"
    return classifier, dataset, f"{machine()}\n{said}"


def kinds(
    classifier: "Classifier", dataset: "Dataset", folders: Mapping[Path, Sequence[Path]], most: int
) -> Iterator[Kind]:
    """Yield how the test split, altered or not, the files of folders, and images of no data set are answered.

    Raises
    ------
    InputError: no file of a folder is an image.
    """
    import numpy as np

    from benchmarks.alterations import ALTERATIONS
    from benchmarks.strangers import STRANGERS

    yield _answered(classifier, "own test split", _own(dataset, most))
    for folder, found in folders.items():
        yield _answered(classifier, folder.resolve().name, _readable(found))
    for name, draw in STRANGERS.items():
        yield _answered(classifier, name, draw(np.random.default_rng(SEED)))
    for name in ALTERATIONS:
        yield _answered(classifier, f"own, {name}", _altered(_own(dataset, most), name))


def _answered(classifier: "Classifier", name: str, pictures: Iterable["np.ndarray | bytes"]) -> Kind:
    found = [answer.decision for answer in classifier.answers(pictures)]
    return Kind(name, len(found), found.count("out_of_distribution"), found.count("uncertain"))


def _own(dataset: "Dataset", most: int) -> Iterator[bytes]:
    """Test images from all over the split, the same ones every time."""
    n = sum(dataset.info.counts["test"].values())
    chosen = set(_evenly(n, most))
    encoded = (image for _, batch in dataset.images("test") for image in batch)
    return (image for number, image in enumerate(encoded) if number in chosen)


def _altered(encoded: Iterable[bytes], name: str) -> Iterator["np.ndarray"]:
    import numpy as np

    from benchmarks.alterations import ALTERATIONS
    from diascope.engine import ahead
    from diascope.images import decode

    def alter(numbered: tuple[int, bytes]) -> "np.ndarray":
        number, image = numbered
        return np.asarray(ALTERATIONS[name](decode(image), np.random.default_rng((SEED, number))))

    return ahead(alter, enumerate(encoded))


def files(folder: Path, most: int) -> list[Path]:
    """Return files that may be images, from all over a folder; raises InputError where there is none."""
    from diascope.errors import InputError
    from diascope.listing import list_files

    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder: give one with images in it.")
    found = list_files(folder).files
    if not found:
        raise InputError(f"{str(folder)!r} has no images in it.")
    return [folder.joinpath(*found[number]) for number in _evenly(len(found), most)]


def _readable(paths: Sequence[Path]) -> Iterator["np.ndarray"]:
    """Decode files; those that cannot be used are counted and told, and raise InputError where they are all."""
    import numpy as np

    from diascope.engine import ahead
    from diascope.errors import InputError
    from diascope.images import ImageError, decode

    def pixels(path: Path) -> "np.ndarray | None":
        try:
            return np.asarray(decode(path.read_bytes(), name=path.name))
        except ImageError:
            return None

    lost = 0
    for found in ahead(pixels, paths):
        if found is None:
            lost += 1
        else:
            yield found
    if lost == len(paths):
        raise InputError(f"None of the {lost} files like {str(paths[0])!r} is an image.")
    if lost:
        print(f"{lost} of {len(paths)} files like {str(paths[0])!r} cannot be used.", file=sys.stderr)


def _evenly(n: int, most: int) -> list[int]:
    """At most so many of n numbers, from the first on at equal distances."""
    return [i * n // min(n, most) for i in range(min(n, most))]


def print_rows(rows: Iterable[Kind]) -> None:
    """Print a table in Markdown, a row at a time."""
    widths = (58, 5, 7, 9, 5, 24)
    for cells in (COLUMNS, tuple("-" * width for width in widths)):
        _print_row(cells, widths)
    for row in rows:
        _print_row(row.row(), widths)


def _print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    print("|", " | ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
