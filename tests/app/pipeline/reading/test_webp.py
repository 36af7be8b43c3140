"""WebP is decoded to Pillow's pixels, and other threads run meanwhile."""

import io
import struct
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from photo2cartoon.ground.errors import UndecodableImage
from photo2cartoon.pipeline import decode
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.reading.webp import read_webp
from tests.places import PHOTO

LIMIT = 50_000_000


def clear(image: Image.Image) -> Image.Image:
    """The picture, ever more transparent downwards."""
    image = image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def webp(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def kinds() -> Iterator[tuple[str, bytes]]:
    """Files of every kind that Pillow writes, by name."""
    photo = Image.open(PHOTO).convert("RGB").resize((301, 207))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    for name, image in (("opaque", photo), ("clear", clear(photo)), ("gray", photo.convert("L"))):
        yield f"lossy {name}", webp(image, quality=80)
        yield f"lossless {name}", webp(image, lossless=True)
        yield f"turned {name}", webp(image, exif=turned, icc_profile=profile)
        yield f"cut {name}", webp(image, quality=80)[:-20]
    animated = webp(clear(photo), save_all=True, append_images=[photo.rotate(90)])
    yield "animated", animated


@pytest.mark.parametrize(("name", "data"), [*kinds()], ids=[name for name, _ in kinds()])
def test_the_pixels_are_pillows(name: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = decode_image(data, LIMIT)
    monkeypatch.setattr(decode, "read_webp", lambda _, header: header)
    np.testing.assert_array_equal(pixels, decode_image(data, LIMIT))


def test_what_opencv_does_not_read_pillow_names() -> None:
    picture = webp(Image.open(PHOTO), lossless=True)[20:]  # what stands in the one chunk
    half = picture[: len(picture) // 4 * 2]
    chunk = b"VP8L" + struct.pack("<I", len(half)) + half
    data = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    with Image.open(io.BytesIO(data)) as header:
        assert read_webp(data, header) is header
    with pytest.raises(UndecodableImage):
        decode_image(data, LIMIT)


def test_other_threads_run_meanwhile() -> None:
    """With Python's lock held all the time, this thread would not turn a single round."""
    data = webp(Image.open(PHOTO).resize((2000, 2000)), quality=80)
    inside, rounds, every = [], 0, sys.getswitchinterval()

    def decode_it() -> None:
        with Image.open(io.BytesIO(data)) as header:
            inside.append(True)
            read_webp(data, header)
            inside.clear()

    thread = threading.Thread(target=decode_it)
    sys.setswitchinterval(1000)  # nobody is made to give up the lock
    try:
        thread.start()
        while thread.is_alive():
            time.sleep(0)
            rounds += bool(inside)
    finally:
        sys.setswitchinterval(every)
    assert rounds
