"""One decoder for everything: known pixels in, known pixels out; whatever cannot be read is one sentence."""

import contextlib
import os
import pickle
import struct
import tracemalloc
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from scipy.fft import dctn

from diascope.images import (
    ImageError,
    NotAnImage,
    TooManyPixels,
    contrast,
    decode,
    facts,
    perceptual_hash,
    pixel_hash,
    resize,
)

GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def grey_pixels(data: bytes) -> np.ndarray:
    rgb = pixels(data)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def photo(size: int = 96) -> Image.Image:
    y, x = np.mgrid[:size, :size] / size
    rgb = np.stack([x, y, (np.sin(9 * x) * np.cos(7 * y) + 1) / 2], axis=2)
    return Image.fromarray((rgb * 255).astype(np.uint8))


def png_header(width: int, height: int, compressed: bytes = zlib.compress(b"\0" * 100)) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")


def dicom(values: np.ndarray, photometric: str = "MONOCHROME2", stored: int | None = None, **tags: object) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = values.ndim == 3 and values.shape[-1] == 3
    bits = values.dtype.itemsize * 8
    file.Rows, file.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
    file.SamplesPerPixel = 3 if colour else 1
    file.PhotometricInterpretation = photometric
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.BitsAllocated, file.BitsStored = bits, stored or bits
    file.HighBit = file.BitsStored - 1
    if colour:
        file.PlanarConfiguration = 0
    elif values.ndim == 3:
        file.NumberOfFrames = len(values)
    for key, value in tags.items():
        setattr(file, key, value)
    file.PixelData = values.tobytes()
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_rgb_comes_back_as_it_was(kind: str) -> None:
    assert (pixels(encode(Image.fromarray(COLOUR), kind)) == COLOUR).all()


def test_lossless_webp_comes_back_as_it_was() -> None:
    assert (pixels(encode(Image.fromarray(COLOUR), "WEBP", lossless=True)) == COLOUR).all()


def test_jpeg_is_close_to_what_it_was() -> None:
    assert np.abs(pixels(encode(photo(), "JPEG", quality=95)).astype(int) - np.asarray(photo())).mean() < 2


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_is_three_equal_channels(kind: str) -> None:
    assert (grey_pixels(encode(Image.fromarray(GREY), kind)) == GREY).all()


def test_bilevel_is_black_and_white() -> None:
    bits = Image.fromarray(GREY).point(lambda value: 255 * (value > 99), mode="1")
    assert (grey_pixels(encode(bits, "PNG")) == np.where(GREY > 99, 255, 0)).all()


def test_alpha_is_composited_on_black() -> None:
    alpha = np.full_like(GREY, 128)
    alpha[0], alpha[1] = 0, 255
    expected = np.round(COLOUR * (alpha / 255)[..., None])
    rgba = pixels(encode(Image.fromarray(np.dstack([COLOUR, alpha])), "PNG"))
    assert np.abs(rgba - expected).max() <= 1
    assert (rgba[0] == 0).all()
    assert (rgba[1] == COLOUR[1]).all()
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    assert np.abs(grey_pixels(encode(la, "PNG")) - np.round(GREY * (alpha / 255))).max() <= 1


def test_opaque_alpha_has_the_pixels_and_hash_of_no_alpha() -> None:
    opaque = Image.fromarray(np.dstack([COLOUR, np.full_like(GREY, 255)]))
    plain = encode(Image.fromarray(COLOUR), "PNG")
    assert facts(encode(opaque, "PNG")).sha256 == facts(plain).sha256


def test_palette_with_and_without_transparency() -> None:
    palette = Image.fromarray(GREY // 64, mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 250, 240, 230])
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [250, 240, 230]])
    assert (pixels(encode(palette, "PNG")) == colours[GREY // 64]).all()
    colours[2] = 0
    assert (pixels(encode(palette, "PNG", transparency=2)) == colours[GREY // 64]).all()


def test_grey_with_a_transparent_value() -> None:
    expected = np.where(GREY == 77, 0, GREY)
    assert (grey_pixels(encode(Image.fromarray(GREY), "PNG", transparency=77)) == expected).all()


def test_cmyk() -> None:
    solid = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 95})):
        red, green, blue = pixels(encode(solid, kind, **options))[4, 4].astype(int)
        assert red > 245
        assert green < 10
        assert blue < 10


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_from_minimum_to_maximum(kind: str) -> None:
    deep = (1000 + 37 * np.arange(12 * 16, dtype=np.uint16)).reshape(12, 16)
    expected = np.round((deep - 1000.0) / (37 * 191) * 255)
    assert (grey_pixels(encode(Image.fromarray(deep), kind)) == expected).all()


def test_integers_and_floats_are_scaled_and_missing_values_are_black() -> None:
    signed = np.arange(-96, 96, dtype=np.int32).reshape(12, 16) * 1000
    expected = np.round(np.arange(192).reshape(12, 16) / 191 * 255)
    assert (grey_pixels(encode(Image.fromarray(signed), "TIFF")) == expected).all()
    floats = signed.astype(np.float32) / 7
    floats[3, 3], floats[4, 4] = np.nan, np.inf
    expected[3, 3], expected[4, 4] = 0, 255
    assert (grey_pixels(encode(Image.fromarray(floats), "TIFF")) == expected).all()


def test_constant_deep_image_is_black_not_an_error() -> None:
    assert (pixels(encode(Image.fromarray(np.full((4, 4), 4000, np.uint16)), "PNG")) == 0).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    corner = np.full((32, 48, 3), 30, np.uint8)
    corner[:16, :16] = 230
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(corner), kind, exif=exif)
    swap = orientation >= 5
    row, column = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    upright = pixels(data)[..., 0]
    assert upright.shape == ((48, 32) if swap else (32, 48))
    bright = {(0, 0): upright[2, 2], (0, 1): upright[2, -3], (1, 0): upright[-3, 2], (1, 1): upright[-3, -3]}
    assert [corner for corner, value in bright.items() if value > 150] == [(row, column)]
    described = facts(data)
    assert (described.height, described.width) == upright.shape


def test_animation_gives_its_first_frame() -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    assert (grey_pixels(encode(first, "GIF", save_all=True, append_images=[second])) == GREY).all()


def test_one_pixel() -> None:
    data = encode(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG")
    assert resize(decode(data), 32).shape == (32, 32, 3)
    assert (resize(decode(data), 32) == (9, 8, 7)).all()
    assert facts(data).contrast == 0


def test_dicom_whole_range_and_inversion() -> None:
    deep = GREY.astype(np.uint16) * 16
    expected = np.round(GREY / 191 * 255)
    assert (grey_pixels(dicom(deep, stored=12)) == expected).all()
    assert (grey_pixels(dicom(deep, "MONOCHROME1", stored=12)) == 255 - expected).all()


def test_dicom_signed_with_rescale_and_window() -> None:
    stored = np.linspace(-1000, 1000, 192).round().astype(np.int16).reshape(12, 16)
    data = dicom(stored, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="40", WindowWidth="400")
    hounsfield = stored * 2.0 - 100
    # DICOM PS3.3 C.11.2.1.2.1, with y from 0 to 255
    expected = np.clip(((hounsfield - 39.5) / 399 + 0.5) * 255, 0, 255)
    assert np.abs(grey_pixels(data) - expected).max() <= 0.5
    narrow = dicom(stored, RescaleSlope="1", RescaleIntercept="0", WindowCenter="9000", WindowWidth="10")
    assert (pixels(narrow) == 0).all()


def test_dicom_several_windows_means_the_first() -> None:
    stored = np.arange(192, dtype=np.uint16).reshape(12, 16)
    one = dicom(stored, WindowCenter="50", WindowWidth="60")
    several = dicom(stored, WindowCenter=["50", "150"], WindowWidth=["60", "10"])
    assert (pixels(one) == pixels(several)).all()


def test_dicom_window_functions() -> None:
    stored = np.arange(192, dtype=np.uint16).reshape(12, 16)
    window: dict[str, Any] = {"WindowCenter": "96", "WindowWidth": "50"}
    exact = grey_pixels(dicom(stored, VOILUTFunction="LINEAR_EXACT", **window))
    assert np.abs(exact - np.clip(((stored - 96.0) / 50 + 0.5) * 255, 0, 255)).max() <= 0.5
    sigmoid = grey_pixels(dicom(stored, VOILUTFunction="SIGMOID", **window))
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (stored - 96.0) / 50))).max() <= 0.5


def test_dicom_voi_table_comes_before_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = [0, 65535, 0, 32768]
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    data = dicom(GREY.astype(np.uint16) % 4, VOILUTSequence=[table], WindowCenter="1", WindowWidth="2")
    assert (grey_pixels(data) == np.array([0, 255, 0, 128])[GREY % 4]).all()


def test_dicom_colour_and_first_frame() -> None:
    assert (pixels(dicom(COLOUR, "RGB")) == COLOUR).all()
    frames = np.stack([GREY, 255 - GREY])
    assert (grey_pixels(dicom(frames)) == np.round(GREY / 191 * 255)).all()


def test_content_counts_not_the_name() -> None:
    assert decode(encode(Image.fromarray(COLOUR), "PNG"), name="scan.jpg").size == (16, 12)
    assert decode(dicom(GREY), name="scan.png").size == (16, 12)


@pytest.mark.parametrize("data", [b"", b"patient,label\n1,yes\n", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7\n", b"\0" * 400])
def test_what_is_no_image_is_named_in_one_sentence(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^yes/notes\.jpg .*\.$") as caught:
        decode(data, name="yes/notes.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"^a\.png .*\.$"):
        decode(data[: int(len(data) * share)], name="a.png")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_dicom_is_refused(share: float) -> None:
    data = dicom(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    with pytest.raises(ImageError, match=r"^a\.dcm "):
        decode(data[: int(len(data) * share)], name="a.dcm")


def test_dicom_without_an_image_is_refused() -> None:
    whole = dicom(GREY)
    start = whole.index(b"\x28\x00\x02\x00")  # group 0028, the image's description
    with pytest.raises(ImageError, match="without an image"):
        decode(whole[:start])


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom about the damage
def test_damaged_bytes_never_raise_anything_else() -> None:
    random = np.random.default_rng(1)
    whole = [encode(photo(32), kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")] + [dicom(GREY)]
    for data in whole * 12:
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 8):
            damaged[place] = random.integers(0, 256)
        with contextlib.suppress(ImageError):
            decode(bytes(damaged), max_pixels=1_000_000)


def test_a_huge_header_is_refused_before_its_pixels_are_decoded() -> None:
    with pytest.raises(ImageError, match="30,000 x 30,000 pixels, more than the 100,000,000"):
        decode(png_header(30_000, 30_000))
    huge = dicom(GREY, Rows=30_000, Columns=30_000)
    with pytest.raises(ImageError, match="30,000 x 30,000"):
        decode(huge)


def test_only_our_own_limit_counts() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="broken data stream"):  # Pillow would refuse its size
            decode(png_header(20_000, 20_000, b"broken"), max_pixels=10**9)
        data = encode(Image.fromarray(GREY), "PNG")
        assert decode(data, max_pixels=192).size == (16, 12)
        with pytest.raises(ImageError, match="max_pixels"):
            decode(data, max_pixels=191)


def test_resize_keeps_a_flat_image_and_averages_when_it_shrinks() -> None:
    assert (resize(Image.new("RGB", (31, 57), (3, 4, 5)), 224) == (3, 4, 5)).all()
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(Image.fromarray(stripes), 8)
    assert small.dtype == np.uint8
    assert np.abs(small[:, 1:-1].astype(int) - 127).max() <= 8  # without antialiasing it would be 0 or 255


def test_resize_stretches() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, :20] = 200
    small = resize(Image.fromarray(wide), 20)
    assert (small[:, :9] == 200).all()
    assert (small[:, 11:] == 0).all()


def test_pixel_hash_knows_pixels_and_shape_only() -> None:
    image = Image.fromarray(COLOUR)
    assert pixel_hash(decode(encode(image, "PNG"))) == pixel_hash(decode(encode(image, "BMP")))
    assert pixel_hash(image) != pixel_hash(image.rotate(180))
    black = [Image.new("RGB", size) for size in ((2, 8), (8, 2), (4, 4))]
    assert len({pixel_hash(image) for image in black}) == 3


def test_perceptual_hash_against_scipy() -> None:
    image = photo()
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    low = dctn(grey, type=2)[:8, :8]
    bits = (low > np.median(low)).ravel()
    assert perceptual_hash(image) == int("".join("01"[int(bit)] for bit in bits), 2)


def test_perceptual_hash_survives_what_keeps_the_picture() -> None:
    image = photo()
    twins = [image.resize((50, 70)), decode(encode(image, "JPEG", quality=60)), image.point(lambda v: v * 0.8)]
    for twin in twins:
        assert (perceptual_hash(image) ^ perceptual_hash(twin)).bit_count() <= 6
    assert (perceptual_hash(image) ^ perceptual_hash(image.rotate(90))).bit_count() > 12


def test_contrast_is_the_standard_deviation_of_grey() -> None:
    grey = np.asarray(photo().convert("L"), float)
    assert contrast(photo()) == pytest.approx(grey.std())
    assert contrast(Image.new("RGB", (9, 9), (7, 7, 7))) == 0


def test_facts_agree_with_the_single_functions() -> None:
    data = encode(photo().convert("RGBA"), "PNG")
    image = decode(data)
    described = facts(data, name="x")
    assert (described.width, described.height, described.mode) == (96, 96, "RGBA")
    assert described.sha256 == pixel_hash(image)
    assert described.phash == perceptual_hash(image) < 2**64
    assert described.contrast == contrast(image)
    assert facts(dicom(GREY, "MONOCHROME1")).mode == "MONOCHROME1"


def test_every_real_image_is_read() -> None:
    folder = os.environ.get("DIASCOPE_TEST_DATA")
    if not folder:
        pytest.skip("DIASCOPE_TEST_DATA names no folder of real images")
    paths = sorted(path for path in Path(folder, "brain-mri-yesno").rglob("*") if path.is_file())
    described = [facts(path.read_bytes(), name=path.name) for path in paths]
    assert {"RGB", "L", "RGBA", "P"} <= {one.mode for one in described}
    assert len({one.sha256 for one in described}) == 228
    broken = sorted(Path(folder, "broken-brain-mri-yesno-values0to1").rglob("*.*"))
    assert max(facts(path.read_bytes()).contrast for path in broken) < 1


def test_what_is_wrong_has_a_kind() -> None:
    with pytest.raises(NotAnImage):
        decode(b"just text")
    with pytest.raises(TooManyPixels) as caught:
        decode(encode(Image.new("L", (7, 5)), "PNG"), max_pixels=34)
    assert (caught.value.width, caught.value.height) == (7, 5)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (1500, 900)])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_deep_grey_is_scaled_value_by_value(shape: tuple[int, int], dtype: str) -> None:
    values = np.random.default_rng(1).integers(0, 2**16, shape).astype(dtype) * (70_001 if dtype == "int32" else 1) - 3
    low, span = values.min().astype(float), np.ptp(values.astype(float))
    wanted = np.round((values.astype(float) - low) / span * 255) if span else np.zeros(shape)
    found = decode(encode(Image.fromarray(values), "PNG" if dtype == "uint16" else "TIFF"))
    np.testing.assert_array_equal(np.asarray(found)[..., 1], wanted)


def test_a_deflated_dicom_file_is_refused_before_it_is_inflated() -> None:
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset.file_meta, dataset.Rows, dataset.Columns = meta, 1, 1
    dataset.BitsAllocated, dataset.PixelRepresentation = 8, 0
    dataset.PixelData = bytes(50_000_000)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    tracemalloc.start()
    with pytest.raises(ImageError, match="deflated DICOM"):
        decode(buffer.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
