"""Train a recipe as its original does, and as we do: `python benchmarks/recipes.py --config NAME`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Train both ways, one after the other, and print one table."""
    sys.path.insert(0, str(ROOT))  # where this file is run as a script
    options = _parse(argv)
    from benchmarks.machine import machine
    from benchmarks.side_by_side import as_table, compare
    from diascope.errors import InputError
    from diascope.experiment import find_configuration, load

    said = [f"dataset.source={options.source.resolve()}"] if options.source else []
    said += options.set
    try:
        path = find_configuration(options.config, ROOT / "configs")
        experiment = load(path, said).parameters
        load(path, [*said, "sweep=null", "recipe_style=original"])  # is there an original? A sweep is of ours
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.config}: the original's training and ours\n{machine()}", end="\n\n", flush=True)
    with TemporaryDirectory() as scratch:
        print(as_table(compare(str(path), experiment, options.network, said, Path(scratch))))
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--config", required=True, metavar="NAME|PATH", help="a recipe: a name under configs/, or a file")
    add("--source", type=Path, metavar="PATH", help="where the images are, instead of dataset.source")
    add("--network", metavar="NAME[:ALPHA]", help="of both, where weights of the original's are not at hand")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value for both; repeatable")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
