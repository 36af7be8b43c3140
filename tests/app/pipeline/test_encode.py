"""What goes out carries the pixels and nothing else."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.formats import OutputFormat
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.encode import encode_image
from tests.app.pipeline.pictures import corners, quarters

LIMIT = 10**6


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


def test_quality_decides_the_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for output_format in ("jpeg", "webp"):
        sizes = [len(encode_image(image, output_format, quality)) for quality in (10, 50, 95)]
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[2] / 2
    assert encode_image(image, "png", 10) == encode_image(image, "png")


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_alpha_is_kept(output_format: OutputFormat) -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[:8] = (255, 0, 0, 255)
    decoded = Image.open(io.BytesIO(encode_image(image, output_format)))
    assert decoded.mode == "RGBA"
    assert np.asarray(decoded)[2, 2, 3] == 255
    assert np.asarray(decoded)[2, 2, 0] > 240
    assert np.asarray(decoded)[12, 12, 3] == 0


def test_a_failing_encoder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(RuntimeError, match="png"):
        encode_image(np.zeros((4, 4, 3), np.uint8), "png")


@pytest.mark.parametrize(("output_format", "most"), [("webp", 16_383), ("jpeg", 65_500)])
def test_a_picture_that_the_format_cannot_hold_is_named(
    output_format: OutputFormat, most: int
) -> None:
    for shape in ((1, most + 1, 3), (most + 1, 1, 3)):
        with pytest.raises(InvalidOption, match=f"{most} px"):
            encode_image(np.zeros(shape, np.uint8), output_format)
    assert encode_image(np.zeros((1, most, 3), np.uint8), output_format)
