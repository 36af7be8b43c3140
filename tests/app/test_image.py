"""What comes in is decoded upright and on white, or refused by name before a pixel is touched."""

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from app.errors import Problem, TooManyPixels, UndecodableImage, UnsupportedFormat
from app.image import OutputFormat, decode_image, encode_image

LIMIT = 50_000_000


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Red, green, blue, white in the four quarters, in reading order."""
    image = Image.new("RGB", (width, height))
    for k, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        image.paste(colour, (k % 2 * width // 2, k // 2 * height // 2, width, height))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def quarters(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    height, width = pixels.shape[:2]
    places = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return [tuple(np.round(pixels[place] / 255).astype(int) * 255) for place in places]


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_each_format_is_decoded_to_rgb(name: str) -> None:
    pixels = decode_image(encoded(corners(), name), LIMIT)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert quarters(pixels) == quarters(np.asarray(corners()))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_turned_upright(name: str, orientation: int) -> None:
    # Store the picture the way a camera would, so that the tag turns it back.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners().transpose(undo[orientation]) if orientation > 1 else corners()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = decode_image(encoded(stored, name, exif=exif), LIMIT)
    assert pixels.shape == (48, 64, 3)
    assert quarters(pixels) == quarters(np.asarray(corners()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_photo() -> None:
    data = encoded(corners(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode_image(data, LIMIT).shape == (48, 64, 3)


def _transparent() -> Image.Image:
    image = corners().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(_transparent(), (255, 255, 255), id="RGBA, hidden colours become white"),
        pytest.param(Image.new("LA", (8, 8), (0, 128)), (127, 127, 127), id="LA, half"),
        pytest.param(Image.new("L", (8, 8), 77), (77, 77, 77), id="L"),
        pytest.param(Image.new("1", (8, 8), 1), (255, 255, 255), id="1-bit"),
        pytest.param(corners().quantize(4).crop((0, 0, 8, 8)), (255, 0, 0), id="palette"),
        pytest.param(Image.new("I;16", (8, 8), 0x8080), (128, 128, 128), id="16-bit, scaled"),
    ],
)
def test_every_mode_ends_as_rgb_on_white(image: Image.Image, expected: tuple[int, ...]) -> None:
    pixels = decode_image(encoded(image), LIMIT)
    assert pixels.shape[2] == 3
    assert np.abs(pixels[2, 2].astype(int) - expected).max() <= 1


def test_palette_transparency_is_laid_on_white() -> None:
    data = encoded(Image.new("P", (8, 8), 0), transparency=0)
    assert (decode_image(data, LIMIT) == 255).all()


def test_cmyk_is_converted() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    red, green, blue = decode_image(data, LIMIT)[8, 8].astype(int)
    assert red > 200
    assert max(green, blue) < 80


def test_of_an_animation_the_first_frame_counts() -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    for name in ("PNG", "WEBP"):
        data = encoded(red, name, save_all=True, append_images=[blue], lossless=True)
        assert tuple(decode_image(data, LIMIT)[8, 8]) == (255, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is text",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"RIFF\0\0\0\0WAVEfmt ",
        encoded(corners(), "GIF"),
        encoded(corners(), "BMP"),
        encoded(corners(), "TIFF"),
    ],
    ids=["empty", "text", "two bytes", "svg", "wave", "gif", "bmp", "tiff"],
)
def test_other_formats_are_refused_by_magic_bytes(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        decode_image(data, LIMIT)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_undecodable(name: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, name)
    with pytest.raises(UndecodableImage):
        decode_image(data[: int(len(data) * part)], LIMIT)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_damaged_files_never_raise_anything_but_a_problem(name: str) -> None:
    rng = np.random.default_rng(1)
    data = encoded(corners(), name)
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(Problem):
            decode_image(bytes(damaged), 1_000_000)


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a picture of this size; its data is one short block."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 7) // 8 * 8 + 1))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize(
    ("width", "height"),
    [(20_000, 20_000), (10_000, 10_000), (2**31 - 1, 2**31 - 1), (7072, 7072)],
)
def test_too_many_pixels_are_refused_from_the_header(width: int, height: int) -> None:
    with pytest.raises(TooManyPixels):
        decode_image(png_header(width, height), LIMIT)


def test_the_pixel_limit_is_exact() -> None:
    assert decode_image(encoded(corners(40, 25)), 1000).shape == (25, 40, 3)
    with pytest.raises(TooManyPixels):
        decode_image(encoded(corners(40, 25)), 999)


def test_one_pixel_is_an_image() -> None:
    assert decode_image(encoded(Image.new("RGB", (1, 1), "red")), LIMIT).shape == (1, 1, 3)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_encoding_keeps_colours_and_carries_no_metadata(output_format: OutputFormat) -> None:
    data = encode_image(np.asarray(corners(256, 256)), output_format)
    image = Image.open(io.BytesIO(data))
    assert image.format == output_format.upper()
    assert image.size == (256, 256)
    assert not image.getexif()
    frame = {"loop", "background", "timestamp", "duration"}  # what Pillow says of any WebP
    assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"} | frame
    assert quarters(np.asarray(image.convert("RGB"))) == quarters(np.asarray(corners()))


def test_png_is_lossless() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(decode_image(encode_image(image, "png"), LIMIT), image)


def test_a_failing_encoder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(RuntimeError, match="png"):
        encode_image(np.zeros((4, 4, 3), np.uint8), "png")
