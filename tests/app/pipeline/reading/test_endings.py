"""A file that was cut off near its end is drawn as the whole one; one that lacks much is not."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import UndecodableImage
from photo2cartoon.pipeline.decode import decode_image, decode_photo
from tests.app.pipeline.pictures import chunk
from tests.places import PHOTO

LIMIT = 10**7


@pytest.fixture(scope="module")
def source() -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((320, 320))


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


KINDS = [
    pytest.param("JPEG", {}, id="JPEG"),
    pytest.param("JPEG", {"progressive": True}, id="progressive JPEG"),
    pytest.param("JPEG", {"quality": 95, "subsampling": 0}, id="JPEG 4:4:4"),
    pytest.param("JPEG", {"restart_marker_rows": 1}, id="JPEG with restarts"),
    pytest.param("PNG", {}, id="PNG"),
    pytest.param("WEBP", {"quality": 90}, id="WebP"),
    pytest.param("WEBP", {"lossless": True}, id="lossless WebP"),
    pytest.param("BMP", {}, id="BMP"),
]


@pytest.mark.parametrize("missing", [1, 2, 3, 16, 40])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_few_missing_bytes_cost_at_most_the_lower_edge(
    source: Image.Image, name: str, options: dict[str, object], missing: int
) -> None:
    whole = encoded(source, name, **options)
    differs = decode_image(whole[:-missing], LIMIT) != decode_image(whole, LIMIT)
    assert differs.mean() < 0.03
    if name != "BMP" and not options.get("progressive"):  # which begin elsewhere
        assert not differs[: 320 - 32].any()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_file_that_lacks_much_is_refused(
    source: Image.Image, name: str, options: dict[str, object], share: float
) -> None:
    whole = encoded(source, name, **options)
    cut = whole[: int(len(whole) * share)]
    if options.get("progressive") and share > 0.5:  # all of the picture is there, only not as fine
        with contextlib.suppress(UndecodableImage):
            difference = decode_image(cut, LIMIT).astype(int) - decode_image(whole, LIMIT)
            assert np.abs(difference).mean() < 6
        return
    with pytest.raises(UndecodableImage):
        decode_image(cut, LIMIT)


def test_a_jpeg_without_its_end_is_the_whole_one_at_every_scale(source: Image.Image) -> None:
    whole = encoded(source.resize((2600, 2600)), "JPEG")
    np.testing.assert_array_equal(decode_image(whole[:-2], LIMIT), decode_image(whole, LIMIT))
    small = decode_photo(whole[:-2], LIMIT, 1280)
    assert small.scale == 2
    np.testing.assert_array_equal(small.pixels, decode_photo(whole, LIMIT, 1280).pixels)


def test_gray_and_cmyk_jpegs_without_their_end_are_the_whole_ones(source: Image.Image) -> None:
    for mode in ("L", "CMYK"):
        whole = encoded(source.convert(mode), "JPEG")
        np.testing.assert_array_equal(decode_image(whole[:-2], LIMIT), decode_image(whole, LIMIT))


def test_a_webp_whose_metadata_were_cut_off_is_whole(source: Image.Image) -> None:
    plain = encoded(source, "WEBP", quality=80)
    whole = encoded(source, "WEBP", quality=80, xmp=b"<x:xmpmeta/>" * 50)
    np.testing.assert_array_equal(decode_image(whole[:-300], LIMIT), decode_image(plain, LIMIT))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "I;16"])
def test_a_png_of_every_mode_that_lacks_its_last_rows_is_filled(
    source: Image.Image, mode: str
) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257)
    else:
        image = source.convert(mode)
    whole = encoded(image, "PNG")
    cut = whole[: int(len(whole) * 0.97)]
    found, right = decode_image(cut, LIMIT), decode_image(whole, LIMIT)
    np.testing.assert_array_equal(found[:300], right[:300])
    assert (found[-1] == found[-2]).all()


def test_an_interlaced_png_that_lacks_rows_is_refused() -> None:
    """Its last bytes are every other row of the picture, not its lower edge."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    passes = (
        noise[top::down, left::right]
        for top, left, down, right in (
            (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
            (1, 0, 2, 1),
        )
    )  # fmt: skip
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 1))
    data = chunk(b"IDAT", zlib.compress(rows))
    whole = b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_image(whole, LIMIT)[:, :, 0], noise)
    with pytest.raises(UndecodableImage):
        decode_image(whole[:-150], LIMIT)
