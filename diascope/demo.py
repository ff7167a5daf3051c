"""What do the built-in demo images look like? Drawn CT-like phantoms; no image of a patient is in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

PATIENT_PATTERN = r"_(p\d+)_s\d+"  # of the file names, `synthetic_p012_s3.png`
CLASSES = ("normal", "nodule", "spiculated")
PATIENTS = {"train": 42, "valid": 12, "test": 18}  # the same number of each class
SIDE = 128
# What is wrong with the data, so that its checks have something to find.
PLANTED = {
    "unreadable": ("train/nodule/synthetic_p005_s9.png",),
    "blank": ("train/normal/synthetic_p007_s9.png",),
    "leaks": ("train/spiculated/synthetic_p009_s1.png", "test/spiculated/synthetic_p060_s9.png"),
    "conflicts": ("train/nodule/synthetic_p011_s2.png", "train/spiculated/synthetic_p012_s9.png"),
}

_FINE = 3  # shapes are drawn this many times larger and averaged
_AIR, _FAT, _TISSUE, _LUNG, _BONE, _BLOOD = 8, 88, 128, 34, 215, 140


@dataclass(frozen=True)
class _Patient:
    """Anatomy that the slices of one patient share; lengths in pixels of the finished image."""

    centre: np.ndarray
    body: np.ndarray  # half axes
    tilt: float  # degrees
    lungs: np.ndarray  # half axes of the left and the right one
    gap: float  # half of the mediastinum's width
    heart: np.ndarray  # place and radius
    gain: float
    offset: float
    noise: float
    side: int  # of the lesion: 0 left, 1 right
    place: np.ndarray  # of the lesion, in half axes of its lung
    area: float  # of the lesion
    brightness: float  # of lesion and vessels


def write_demo(folder: Path, *, seed: int = 7) -> None:
    """Write `split/class/synthetic_pNNN_sN.png`, about 350 grey images of 128 x 128 pixels, four to six per patient.

    `nodule` is a round lesion, `spiculated` a star-shaped one, `normal` has a long vessel in its stead. All three
    have the same distribution of area and brightness: only the shape tells them apart. The same seed gives the same
    bytes. The defects in `PLANTED` are written as well.
    """
    for split, label, number in _patients():
        target = folder / split / label
        target.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(_slices(label, np.random.default_rng([seed, number])), start=1):
            (target / f"synthetic_p{number:03d}_s{index}.png").write_bytes(_png(pixels))
    _plant(folder)


def _patients() -> Iterator[tuple[str, str, int]]:
    number = 0
    for split, count in PATIENTS.items():
        for _ in range(count):
            number += 1
            yield split, CLASSES[(number - 1) % len(CLASSES)], number


def _plant(folder: Path) -> None:
    whole = (folder / PLANTED["conflicts"][0]).read_bytes()
    (folder / PLANTED["unreadable"][0]).write_bytes(whole[: len(whole) // 2])
    (folder / PLANTED["blank"][0]).write_bytes(_png(np.full((SIDE, SIDE), _AIR, np.uint8)))
    for kind in ("leaks", "conflicts"):
        original, copy = PLANTED[kind]
        with Image.open(folder / original) as image:
            pixels = np.asarray(image)
        (folder / copy).write_bytes(_png(pixels, compress_level=1))  # other bytes, the same pixels


def _png(pixels: np.ndarray, compress_level: int = 6) -> bytes:
    note = PngInfo()
    note.add_text("Description", "Synthetic phantom drawn by a program; not an image of a patient")
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=note, compress_level=compress_level)
    return buffer.getvalue()


def _patient(rng: np.random.Generator) -> _Patient:
    body = np.array([rng.uniform(51, 60), rng.uniform(37, 49)])
    gap = rng.uniform(4, 7)
    lung = np.array([(0.88 * body[0] - gap) / 2, 0.7 * body[1]])
    return _Patient(
        centre=SIDE / 2 + rng.uniform(-1, 1, 2) * (4, 10),
        body=body,
        tilt=rng.uniform(-15, 15),
        lungs=lung * rng.uniform(0.86, 1.0, (2, 2)),
        gap=gap,
        heart=np.array([rng.uniform(-2, 5), rng.uniform(-10, 8), rng.uniform(13, 18)]),
        gain=rng.uniform(0.85, 1.15),
        offset=rng.uniform(-8, 12),
        noise=rng.uniform(3, 6),
        side=int(rng.integers(2)),
        place=rng.uniform(-0.2, 0.2, 2),
        area=rng.uniform(360, 540),
        brightness=rng.uniform(125, 150),
    )


def _slices(label: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The slices of a new patient, uint8 (SIDE, SIDE): `rng` decides anatomy, number, and what differs between them."""
    patient = _patient(rng)
    count = int(rng.integers(4, 7))
    for depth in np.linspace(-1, 1, count):
        yield _slice(patient, label, float(depth), rng)


def _slice(patient: _Patient, label: str, depth: float, rng: np.random.Generator) -> np.ndarray:
    """One cross-section; `depth` runs from -1 (top of the lungs) to 1."""
    canvas = Image.new("L", (SIDE * _FINE, SIDE * _FINE), _AIR)
    draw = ImageDraw.Draw(canvas)
    _ellipse(draw, (0, 0), patient.body, patient, _FAT)
    _ellipse(draw, (0, 0), patient.body * 0.9, patient, _TISSUE)
    _ellipse(draw, patient.heart[:2] + np.array([0, 3 * depth]), np.full(2, patient.heart[2]), patient, _BLOOD)
    lungs = patient.lungs * (1 - 0.12 * depth**2) * rng.uniform(0.97, 1.03)
    centres = [(sign * (patient.gap + lungs[i][0]), -2.0) for i, sign in enumerate((-1, 1))]
    for centre, axes in zip(centres, lungs, strict=True):
        _ellipse(draw, centre, axes, patient, _LUNG)
    _ellipse(draw, (0, patient.body[1] * 0.66), np.array([6.0, 5.0]), patient, _BONE)
    for centre, axes in zip(centres, lungs, strict=True):
        for _ in range(3):
            area = rng.uniform(8, 16)
            start = np.array(centre) + rng.uniform(-0.6, 0.6, 2) * axes
            _polygon(draw, start + _vessel(rng, area), patient, patient.brightness)
    axes = lungs[patient.side]
    place = np.array(centres[patient.side]) + patient.place * axes + rng.normal(0, 1, 2)
    area = patient.area * (1 - 0.25 * abs(depth)) * rng.uniform(0.92, 1.08)
    _polygon(draw, place + _outline(label, rng, area), patient, patient.brightness)
    return _scan(canvas, patient, rng)


def _outline(label: str, rng: np.random.Generator, area: float) -> np.ndarray:
    """Points around the origin, (n, 2), that enclose `area` square pixels in the shape of the class."""
    if label == "normal":
        return _vessel(rng, area)
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    if label == "nodule":
        radius = 1 + 0.08 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.03 * np.cos(3 * angle + rng.uniform(0, 6))
    else:
        spikes = rng.integers(6, 9)
        phase = spikes * angle / 2 + rng.uniform(0, 6) + 0.25 * np.sin(angle + rng.uniform(0, 6))
        radius = 0.55 + np.abs(np.cos(phase)) ** 3 * rng.uniform(0.9, 1.2)
    return _of_area(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), area)


def _vessel(rng: np.random.Generator, area: float) -> np.ndarray:
    """Outline of a bent tube, about six times as long as it is wide."""
    bend = rng.uniform(0.5, 1.2) * rng.choice([-1, 1])
    heading = np.pi / 2 + rng.uniform(-0.5, 0.5) + bend * np.linspace(-1, 1, 12)
    ahead = np.column_stack([np.cos(heading), np.sin(heading)])
    line, aside = np.cumsum(ahead, axis=0), ahead[:, ::-1] * (-1, 1)
    return _of_area(np.vstack([line + aside, (line - aside)[::-1]]), area)


def _of_area(points: np.ndarray, area: float) -> np.ndarray:
    """The polygon centred on its points' mean and scaled to the area (shoelace formula)."""
    points = points - points.mean(axis=0)
    x, y = points.T
    now = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return points * np.sqrt(area / now)


def _ellipse(draw: ImageDraw.ImageDraw, centre: object, axes: np.ndarray, patient: _Patient, value: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    points = np.asarray(centre) + np.column_stack([np.cos(angle), np.sin(angle)]) * axes
    _polygon(draw, points, patient, value)


def _polygon(draw: ImageDraw.ImageDraw, points: np.ndarray, patient: _Patient, value: float) -> None:
    """Fill a polygon given in the patient's own axes."""
    cosine, sine = np.cos(np.radians(patient.tilt)), np.sin(np.radians(patient.tilt))
    turned = points @ np.array([[cosine, sine], [-sine, cosine]]) + patient.centre
    draw.polygon([(float(x), float(y)) for x, y in turned * _FINE], fill=round(value))


def _scan(canvas: Image.Image, patient: _Patient, rng: np.random.Generator) -> np.ndarray:
    """What the scanner makes of the drawing: blur, brightness, texture and noise."""
    blurred = canvas.resize((SIDE, SIDE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.6))
    texture = Image.fromarray(rng.normal(0, 5, (12, 12)).astype(np.float32)).resize((SIDE, SIDE))
    values = np.asarray(blurred) * patient.gain + patient.offset + np.asarray(texture)
    return np.clip(values + rng.normal(0, patient.noise, values.shape), 0, 255).astype(np.uint8)
