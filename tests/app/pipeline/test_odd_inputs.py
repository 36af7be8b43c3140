"""The table of odd inputs: each is served or refused by name, and the pipeline lives on."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image

from photo2cartoon.ground.errors import (
    FaceTooSmall,
    NoFaceFound,
    Problem,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
)
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.pipeline.pictures import png_header
from tests.places import PHOTO

Make = Callable[[Image.Image], Image.Image]

TURN = Image.Transpose


@pytest.fixture(scope="module")
def source() -> Image.Image:
    """The astronaut from the chest up, 400 x 340 px."""
    with Image.open(PHOTO) as image:
        return image.convert("RGB").crop((40, 0, 440, 340))


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def cartoon_of(pipeline: Pipeline, data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return decode_image(pipeline.cartoonize(data)[0], 10**6).astype(np.int64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(pipeline: Pipeline, source: Image.Image, orientation: int) -> None:
    undo = {
        2: TURN.FLIP_LEFT_RIGHT,
        3: TURN.ROTATE_180,
        4: TURN.FLIP_TOP_BOTTOM,
        5: TURN.TRANSPOSE,
        6: TURN.ROTATE_90,
        7: TURN.TRANSVERSE,
        8: TURN.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = source.transpose(undo[orientation]) if orientation > 1 else source
    expected = cartoon_of(pipeline, encoded(source))
    np.testing.assert_array_equal(cartoon_of(pipeline, encoded(stored, exif=exif)), expected)


@pytest.mark.parametrize("turn", [TURN.ROTATE_90, TURN.ROTATE_180, TURN.ROTATE_270])
def test_turned_without_exif(pipeline: Pipeline, source: Image.Image, turn: TURN) -> None:
    expected = cartoon_of(pipeline, encoded(source))
    turned = cartoon_of(pipeline, encoded(source.transpose(turn)))
    assert np.abs(turned - expected).mean() < 12  # the same picture, not an upside-down one
    assert np.abs(turned[::-1] - expected).mean() > 40


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda image: image.convert("RGBA"), id="RGBA"),
        pytest.param(lambda image: image.convert("LA"), id="LA"),
        pytest.param(lambda image: image.convert("L"), id="gray"),
        pytest.param(lambda image: image.quantize(128), id="palette"),
    ],
)
def test_modes(pipeline: Pipeline, source: Image.Image, make: Make) -> None:
    expected = cartoon_of(pipeline, encoded(source))
    assert np.abs(cartoon_of(pipeline, encoded(make(source))) - expected).mean() < 25


def test_sixteen_bits(pipeline: Pipeline, source: Image.Image) -> None:
    gray = np.asarray(source.convert("L"))
    deep = Image.fromarray(gray.astype(np.uint16) * 257)
    expected = cartoon_of(pipeline, encoded(Image.fromarray(gray)))
    np.testing.assert_array_equal(cartoon_of(pipeline, encoded(deep)), expected)


def test_one_bit_is_read_but_nobody_stands_out_in_it(
    pipeline: Pipeline, source: Image.Image
) -> None:
    with pytest.raises(NoFaceFound, match="nobody around it stands out"):
        cartoon_of(pipeline, encoded(source.convert("1")))


def test_cmyk(pipeline: Pipeline, source: Image.Image) -> None:
    expected = cartoon_of(pipeline, encoded(source))
    data = encoded(source.convert("CMYK"), "JPEG", quality=95)
    assert np.abs(cartoon_of(pipeline, data) - expected).mean() < 15


def test_thirty_six_megapixels(pipeline: Pipeline, source: Image.Image) -> None:
    large = source.resize((6508, 5532))
    expected = cartoon_of(pipeline, encoded(source))
    served = cartoon_of(pipeline, encoded(large, "JPEG"))
    assert np.abs(served - expected).mean() < 15


def test_a_small_face_in_a_large_photo_is_decoded_as_fine_as_it_needs(
    pipeline: Pipeline, source: Image.Image
) -> None:
    scene = Image.new("RGB", (5200, 3900), (120, 130, 140))
    scene.paste(source.resize((800, 680), Image.Resampling.BICUBIC), (2600, 1500))
    large, alone = encoded(scene, "JPEG", quality=95), scene.crop((2600, 1500, 3400, 2180))
    image, (portrait,) = pipeline.prepare(large, Options(), Ticket())
    assert image.shape[1] == 5200  # seen at 1300, where the square has about 100 px
    assert portrait.cut.alignment.side > 256
    served, expected = cartoon_of(pipeline, large), cartoon_of(pipeline, encoded(alone))
    assert np.abs(served - expected).mean() < 25


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_hundred_megapixels_are_refused(pipeline: Pipeline, name: str) -> None:
    data = png_header(10_000, 10_000)
    if name == "jpeg":
        data = encoded(Image.new("L", (10_000, 10_000)), "JPEG")
    with pytest.raises(TooManyPixels):
        pipeline.cartoonize(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (encoded(Image.new("RGB", (1, 1))), NoFaceFound),
        (PHOTO.read_bytes()[:30_000], UndecodableImage),
        (b"text named .jpg", UnsupportedFormat),
        (b"", UnsupportedFormat),
        (png_header(20_000, 20_000), TooManyPixels),
        (encoded(Image.new("RGB", (3, 4000), "red")), NoFaceFound),
    ],
    ids=["1x1", "truncated", "text", "empty", "bomb", "a line"],
)
def test_refused_by_name(pipeline: Pipeline, data: bytes, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        pipeline.cartoonize(data)


def test_an_animation_is_its_first_frame(pipeline: Pipeline, source: Image.Image) -> None:
    blank = Image.new("RGB", source.size, "blue")
    data = encoded(source, "GIF", save_all=True, append_images=[blank])
    assert np.abs(cartoon_of(pipeline, data) - cartoon_of(pipeline, encoded(source))).mean() < 25


def test_two_faces(pipeline: Pipeline, source: Image.Image) -> None:
    both = Image.new("RGB", (700, 340), "gray")
    both.paste(source.resize((300, 255)), (0, 40))
    both.paste(source.transpose(TURN.FLIP_LEFT_RIGHT), (300, 0))
    data = encoded(both)
    (largest,) = pipeline.cartoonize(data)
    assert pipeline.cartoonize(data, Options(faces=1)) == [largest]
    assert len(pipeline.cartoonize(data, Options(faces="all"))) == 2
    assert pipeline.cartoonize(data, Options(faces=0)) != [largest]


def test_a_tiny_face_in_a_group_costs_nobody_the_picture(source: Image.Image) -> None:
    both = Image.new("RGB", (700, 340), "gray")
    both.paste(source.resize((200, 170)), (0, 40))
    both.paste(source, (300, 0))
    data = encoded(both)
    strict = open_pipeline(Settings(min_face_px=60))
    assert len(open_pipeline(Settings()).cartoonize(data, Options(faces="all"))) == 2
    assert len(strict.cartoonize(data, Options(faces="all"))) == 1
    for faces in ("all", 0):
        with pytest.raises(FaceTooSmall):
            open_pipeline(Settings(min_face_px=300)).cartoonize(data, Options(faces=faces))


@pytest.mark.parametrize("box", [(140, 0, 400, 340), (0, 90, 400, 340), (0, 0, 400, 150)])
def test_a_face_cut_by_the_border(
    pipeline: Pipeline, source: Image.Image, box: tuple[int, int, int, int]
) -> None:
    assert cartoon_of(pipeline, encoded(source.crop(box))).shape == (256, 256, 3)


def test_a_drawn_face(pipeline: Pipeline, source: Image.Image) -> None:
    (drawn,) = pipeline.cartoonize(encoded(source))
    again = cartoon_of(pipeline, drawn)
    first = decode_image(drawn, 10**6).astype(np.int64)
    assert np.abs(again - first).mean() < 60
