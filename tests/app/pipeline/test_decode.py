"""What comes in is decoded upright and on white, or refused by name before a pixel is touched."""

import contextlib
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from photo2cartoon.ground.errors import Problem, TooManyPixels, UndecodableImage, UnsupportedFormat
from photo2cartoon.pipeline.decode import decode_image, decode_photo, sniff_format
from tests.app.pipeline.pictures import corners, png_header, quarters
from tests.places import ROOT

LIMIT = 50_000_000
HEIC = ROOT / "tests" / "data" / "corners.heic"


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "HEIC"])
def test_each_format_is_decoded_to_rgb(name: str) -> None:
    data = HEIC.read_bytes() if name == "HEIC" else encoded(corners(), name)
    assert sniff_format(data) == name.replace("HEIC", "HEIF")
    photo = decode_photo(data, LIMIT)
    assert (photo.file_size, photo.size, photo.scale) == ((64, 48), (64, 48), 1)
    pixels = photo.pixels
    np.testing.assert_array_equal(pixels, decode_image(data, LIMIT))
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


@pytest.mark.parametrize(
    ("name", "array", "expected"),
    [
        ("PNG", np.array([[0, 255, 32768, 65535]], np.uint16), [0, 0, 127, 255]),
        ("TIFF", np.array([[0, 255, 32768, 65535]], np.uint16), [0, 0, 127, 255]),
        ("TIFF", np.array([[0, 70_000, 140_000]], np.int32), [0, 127, 255]),
        ("TIFF", np.array([[0.0, 0.5, 1.0]], np.float32), [0, 127, 255]),
        ("TIFF", np.array([[0.0, 128.0, 255.0]], np.float32), [0, 128, 255]),
        ("TIFF", np.array([[np.nan, -1.0, 1.0]], np.float32), [0, 0, 255]),
    ],
    ids=["16-bit png", "16-bit tiff", "32-bit", "float 0..1", "float 0..255", "not a number"],
)
def test_deep_gray_is_scaled_and_never_clipped(
    name: str, array: NDArray[np.generic], expected: list[int]
) -> None:
    pixels = decode_image(encoded(Image.fromarray(array), name), LIMIT)
    assert pixels[0, :, 1].tolist() == expected


def swapped_profile() -> bytes:
    """SRGB with red and blue swapped, and another name: what it does can be told at a glance."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"~"), (b"bXYZ", b"rXYZ"), (b"~", b"bXYZ")):
        profile = profile.replace(old, new)
    return profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_applied(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    pixels = decode_image(encoded(image, icc_profile=swapped_profile()), LIMIT)
    assert np.abs(pixels[4, 4].astype(int) - (50, 100, 200)).max() <= 4


@pytest.mark.parametrize(
    "profile",
    [b"damaged", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
    ids=["damaged", "sRGB itself"],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_useless_profile_changes_nothing(profile: bytes, mode: str) -> None:
    image = corners().convert(mode)
    plain, with_profile = encoded(image), encoded(image, icc_profile=profile)
    np.testing.assert_array_equal(decode_image(with_profile, LIMIT), decode_image(plain, LIMIT))


@pytest.mark.parametrize(
    ("long_side", "min_long_side", "expected"),
    [(4000, 1280, 2000), (5200, 1280, 1300), (12000, 1280, 1500), (2000, 1280, 2000)],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_is_decoded_smaller(
    long_side: int, min_long_side: int, expected: int, progressive: bool
) -> None:
    data = encoded(corners(long_side, 600), "JPEG", progressive=progressive)
    photo = decode_photo(data, LIMIT, min_long_side)
    assert photo.file_size == (long_side, 600)
    assert photo.size[0] == expected
    assert photo.scale == long_side // expected
    assert quarters(photo.pixels) == quarters(np.asarray(corners()))
    assert decode_image(data, LIMIT).shape[1] == long_side


def test_only_a_jpeg_is_decoded_smaller() -> None:
    photo = decode_photo(encoded(corners(4000, 60)), LIMIT, 1280)
    assert (photo.pixels.shape, photo.scale) == ((60, 4000, 3), 1)


@pytest.mark.parametrize("long_side", [2561, 5203, 10247])
def test_the_scale_of_a_turned_jpeg_is_exact_where_its_sides_do_not_divide(long_side: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = decode_photo(encoded(corners(long_side, 601), "JPEG", exif=exif), LIMIT, 1280)
    assert photo.file_size == (long_side, 601)
    assert photo.scale == {2561: 2, 5203: 4, 10247: 8}[long_side]
    assert photo.size[1] == -(-long_side // photo.scale)


def test_a_jpeg_thinner_than_its_scale_is_decoded() -> None:
    assert decode_photo(encoded(corners(12_000, 4), "JPEG"), LIMIT, 1280).size[0] < 12_000


def test_of_an_animation_the_first_frame_counts() -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    for name in ("PNG", "WEBP", "GIF", "TIFF"):
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
        encoded(corners(), "PPM"),
        encoded(corners(), "JPEG2000"),
        encoded(corners(), "ICO"),
        b"%PDF-1.7",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    ],
    ids=["empty", "text", "two bytes", "svg", "wave", "ppm", "jp2", "ico", "pdf", "mp4"],
)
def test_other_formats_are_refused_by_magic_bytes(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        decode_image(data, LIMIT)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "HEIC"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_undecodable(name: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = HEIC.read_bytes() if name == "HEIC" else encoded(noise, name)
    with pytest.raises(UndecodableImage):
        decode_image(data[: int(len(data) * part)], LIMIT)


@pytest.mark.filterwarnings("ignore")  # what Pillow says of damaged TIFF and EXIF
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "HEIC"])
def test_damaged_files_never_raise_anything_but_a_problem(name: str) -> None:
    rng = np.random.default_rng(1)
    data = HEIC.read_bytes() if name == "HEIC" else encoded(corners(), name)
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(Problem):
            decode_image(bytes(damaged), 1_000_000)


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
