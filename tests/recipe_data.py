"""Drawn images in exactly the layouts, names and quirks of the data that the recipes are for."""

import io
import zipfile
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from PIL import Image

# What the published chest CT folders are called; those of the test split are shorter.
CHEST_CLASSES = {
    "adenocarcinoma": "adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib",
    "large.cell.carcinoma": "large.cell.carcinoma_left.hilum_T2_N2_M0_IIIa",
    "normal": "normal",
    "squamous.cell.carcinoma": "squamous.cell.carcinoma_left.hilum_T1_N2_M0_IIIa",
}
VOTES = "Number of Annotators who Selected SSA (Out of 7)"
KIDNEY_FOUR = "CT-KIDNEY-DATASET-Normal-Cyst-Tumor-Stone"
EARLY = (1980, 1, 1, 0, 0, 0)  # in archives, so that the same images make the same archive


def drawing(label: int, seed: int, mode: str = "RGB") -> Image.Image:
    """An image whose stripes run as the label says, over shapes of its own; sizes differ as those of slices do."""
    rng = np.random.default_rng(1000 * label + seed)
    height, width = rng.integers(40, 64, 2)
    rows, columns = np.mgrid[:height, :width]
    angle = label * np.pi / 4
    wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * rng.uniform(0.8, 1.0))
    pixels = 90 + 45 * wave + rng.normal(0, 10, wave.shape)
    for _ in range(3):
        y, x, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(6, 16)
        pixels += rng.uniform(-70, 70) * (np.hypot(rows - y, columns - x) < r)
    grey = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return grey if mode == "L" else grey.convert("RGB").convert(mode)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """A file with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def archive(folder: Path, target: Path) -> Path:
    """A zip of everything in a folder."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            zipped.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix(), EARLY), path.read_bytes())
    return target


def write_chest_cancer(folder: Path, train: int = 12, held_out: int = 6) -> Path:
    """`Data/train`, `valid` and `test`: copies called so, JPEG among the PNG, RGBA, and a test image from train."""
    seeds = count()
    for (split, n), (label, short) in product(
        {"train": train, "valid": held_out, "test": held_out}.items(), enumerate(CHEST_CLASSES)
    ):
        place = folder / "Data" / split / (short if split == "test" else CHEST_CLASSES[short])
        for i in range(n):
            mode = "RGBA" if i % 3 == 0 else "RGB"
            name = f"{i + 4}" if short == "normal" else f"{108 + i // 2:06}" + (f" ({i})" if i % 2 else "")
            write(place / f"{name}.png", encoded(drawing(label, next(seeds), mode)))
    normal = folder / "Data" / "train" / "normal"
    for name in ("4 - Copy.png", "4 - Copy (2).png", "4 - Copy (2) - Copy.png"):
        write(normal / name, (normal / "4.png").read_bytes())
    write(normal / "n8.jpg", encoded(drawing(2, 900), "JPEG"))
    leaked = folder / "Data" / "train" / CHEST_CLASSES["adenocarcinoma"] / "000108.png"
    write(folder / "Data" / "test" / "adenocarcinoma" / "000108 (10).png", leaked.read_bytes())
    return folder


def write_lung_tumor(folder: Path, target: Path, n: int = 24) -> Path:
    """A zip with `Chest-CT-Scan-data/adenocarcinoma` and `normal`, two of five normal files being copies."""
    root = folder / "Chest-CT-Scan-data"
    for i in range(n):
        write(root / "adenocarcinoma" / f"{i // 3:06} ({i}).png", encoded(drawing(0, i, "RGBA")))
        write(root / "normal" / f"{i + 2}.png", encoded(drawing(2, i)))
    for i in range(2 * n // 3):
        copied = (root / "normal" / f"{i + 2}.png").read_bytes()
        write(root / "normal" / f"{i + 2} - Copy.png", copied)
    return archive(folder, target)


def write_kidney_two(folder: Path, target: Path, n: int = 24) -> Path:
    """A zip with `kidney-ct-scan-image/Normal` and `Tumor`."""
    for label, name in enumerate(("Normal", "Tumor")):
        for i in range(1, n + 1):
            data = encoded(drawing(2 * label, i, "L"), "JPEG")
            write(folder / "kidney-ct-scan-image" / name / f"{name}- ({i}).jpg", data)
    return archive(folder, target)


def write_kidney_four(folder: Path, n: int = 24) -> Path:
    """Four class folders in a folder that repeats itself, beside a table that also names the classes."""
    rows = [",image_id,path,diag,target,Class"]
    for label, name in enumerate(("Cyst", "Normal", "Stone", "Tumor")):
        for i in range(1, n + 1):
            image = f"{name}- ({i})"
            write(folder / KIDNEY_FOUR / KIDNEY_FOUR / name / f"{image}.jpg", encoded(drawing(label, i), "JPEG"))
            rows.append(f"{len(rows) - 1},{image},/content/data/{name}/{image}.jpg,{name},{label},{name}")
    write(folder / "kidneyData.csv", "\n".join(rows).encode())
    return folder


def write_mhist(folder: Path, train: int = 36, test: int = 16) -> Path:
    """`annotations.csv` beside `images.zip` and the papers that come with them; two of three images are HP."""
    names = mhist_names()
    rows = ["Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition"]
    images = folder / "unpacked"
    for i in range(train + test):
        ssa = i % 3 == 0
        name = next(names)
        write(images / "images" / name, encoded(drawing(2 * ssa, i).resize((56, 56))))
        votes = 4 + i % 4 if ssa else i % 4
        rows.append(f"{name},{'SSA' if ssa else 'HP'},{votes},{'train' if i < train else 'test'}")
    archive(images, folder / "images.zip")
    for path in sorted(images.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    images.rmdir()
    write(folder / "annotations.csv", ("\n".join(rows) + "\n").encode())
    write(folder / "MD5SUMs.txt", b"0123  images.zip\n")
    write(folder / "Dataset Research Use Agreement.pdf", b"%PDF-1.4\n")
    return folder


def mhist_names() -> Iterator[str]:
    """MHIST_aaa.png, MHIST_aab.png, and so on."""
    return (f"MHIST_{''.join(letters)}.png" for letters in product(ascii_lowercase, repeat=3))


def write_breast_cancer(folder: Path, train: int = 18, held_out: int = 6) -> Path:
    """`train`, `valid` and `test`, each with folders `0` and `1`; the latter has half as many images."""
    seeds = count()
    for split, n in {"train": train, "valid": held_out, "test": held_out}.items():
        for label in (0, 1):
            for i in range(n // (label + 1) + 4 * label):
                write(folder / split / str(label) / f"{i}.jpg", encoded(drawing(2 * label, next(seeds), "L"), "JPEG"))
    return folder
