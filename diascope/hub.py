"""Which networks does KerasHub offer, and where are their files? Answered without importing it, which takes seconds."""

import ast
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from diascope.errors import InputError, nearest
from diascope.hub_architectures import SIZES

PREFIX = "hub:"
USUAL_SIZE = 224
CONFIG_FILE, CONVERTER_FILE = "config.json", "image_converter.json"

# Image sizes that a network takes: `any`, several at once; `one` that it is built for; only its `own`.
Sizes = Literal["any", "one", "own"]
FAMILIES: dict[str, Sizes] = {  # by the folder below keras_hub/src/models
    **dict.fromkeys(("cspnet", "densenet", "efficientnet", "hgnetv2", "mobilenet", "resnet", "vgg", "xception"), "any"),
    **dict.fromkeys(("dinov2", "dinov3", "mit"), "one"),
    **dict.fromkeys(("deit", "vit"), "own"),
}


REFUSED = {"swin_": "OpenVINO's conversion lacks an operation of theirs"}  # by how names begin


@dataclass(frozen=True)
class Preset:
    """What KerasHub's package says of a preset, or what is in the folder of one's own."""

    name: str
    size: int  # of its images, pixels
    sizes: Sizes = "any"
    parameters: int | None = None
    is_folder: bool = False


def is_hub(backbone: str) -> bool:
    """Whether a backbone is one of KerasHub's."""
    return backbone.startswith(PREFIX)


def find_preset(backbone: str) -> Preset:
    """Return what is known of `hub:NAME` or `hub:FOLDER`; a folder need not be there yet.

    Raises InputError where KerasHub is not installed, or has no such preset for images.
    """
    name = backbone.removeprefix(PREFIX)
    if find_spec("keras_hub") is None:
        raise InputError(f"{backbone} needs KerasHub: install the extra `hub` (make extras)")
    if is_folder(name):
        return _from_folder(os.path.expanduser(name))
    for beginning, why in REFUSED.items():
        if name.startswith(beginning):
            raise InputError(f"{backbone} cannot be used here: {why}")
    known = presets()
    if name not in known:
        raise InputError(f"KerasHub has no preset {name!r} for images; the nearest is {nearest(name, known)!r}")
    return known[name]


def is_folder(name: str) -> bool:
    """Whether a preset's name is that of a folder: a path with a slash, or s3://."""
    return "/" in name or os.sep in name or name in (".", "..", "~")


def folder_of(backbone: str) -> str | None:
    """The folder that a backbone names, as a path or s3:// address; None where it names none."""
    name = backbone.removeprefix(PREFIX)
    return os.path.expanduser(name) if is_hub(backbone) and is_folder(name) else None


def at_hand(preset: str) -> Path | None:
    """The folder of this name in DIASCOPE_WEIGHTS_DIR, where there is one with a configuration."""
    weights = os.environ.get("DIASCOPE_WEIGHTS_DIR")
    folder = Path(weights).expanduser() / preset if weights else None
    return folder if folder and (folder / CONFIG_FILE).is_file() else None


@cache
def presets() -> dict[str, Preset]:
    """Every preset that the installed KerasHub has for images, read from its source; none where it is not installed."""
    found = find_spec("keras_hub")
    models = Path(found.origin if found and found.origin else "").parent / "src" / "models"
    return {
        name: _described(name, said["metadata"], sizes)
        for family, sizes in FAMILIES.items()
        for path in sorted((models / family).glob("*_presets.py"))
        for name, said in _literals(path).items()
    }


def _literals(path: Path) -> dict[str, Any]:
    """The dictionaries that a file of presets defines."""
    values = [node.value for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    literal = [value for value in values if isinstance(value, ast.Dict) and None not in value.keys]
    return {name: said for value in literal for name, said in ast.literal_eval(value).items()}


def _described(name: str, metadata: dict[str, Any], sizes: Sizes) -> Preset:
    return Preset(name, _size(name, metadata["description"]), sizes, metadata.get("params"))


def _size(name: str, description: str) -> int:
    """The side of its images in pixels: what is known, else what the description says, else a part of the name."""
    if name in SIZES:
        return SIZES[name]
    words = description.replace(".", " ").split()
    pairs = [word.split("x") for word in words if word.count("x") == 1]
    sides = [*(a for a, b in pairs if a == b), *(part.removeprefix("r") for part in name.split("_"))]
    return next((int(side) for side in sides if side.isdecimal() and int(side) >= USUAL_SIZE), USUAL_SIZE)


def _from_folder(folder: str) -> Preset:
    """What the files of a folder say; nothing is fetched from S3."""
    try:
        said = json.loads((Path(folder) / CONVERTER_FILE).read_text(encoding="utf-8"))["config"]
        sides = said.get("image_size") or (said["height"], said["width"])
        return Preset(folder, max(int(side) for side in sides), is_folder=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        # What is wrong with it is said where it is needed.
        return Preset(folder, USUAL_SIZE, is_folder=True)
