"""What a photo is said to weigh is what it takes, and a header is all that is needed to tell."""

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import TooManyPixels, UndecodableImage, UnsupportedFormat
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.weight import BASE, EVERY_FACE_MOST, MIB, weigh

MAX_PIXELS = 50_000_000
SIZE = (2400, 1600)
BANDS = 4 * MIB  # some rows in every form, whatever the photo

PEAK = """
import json
from pathlib import Path
from photo2cartoon.ground.machine import give_back_memory
from photo2cartoon.ground.options import Options
from tests.app.pipeline.test_weight import KINDS, SIZE, make, empty_photo

def memory(line):
    with open("/proc/self/status") as status:
        return next(int(text.split()[1]) * 1024 for text in status if text.startswith(line))

def peak(work):
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
    before = memory("VmRSS")
    kept = work()
    return memory("VmHWM") - before
"""
MEASURE = f"""{PEAK}
from photo2cartoon.pipeline.decode import decode_photo, sniff_format
from photo2cartoon.pipeline.weight import weigh_decoding

for kind in KINDS:
    decode_photo(make(kind, (64, 48)), 10**8)  # everything is loaded
found = {{}}
for kind in KINDS:
    photo = make(kind)
    taken = peak(lambda: decode_photo(photo, 10**8))
    pixels = SIZE[0] * SIZE[1]
    weight, _ = weigh_decoding(photo, sniff_format(photo), pixels, Options())
    found[kind] = (taken, weight)
print(json.dumps(found))
"""

SEARCH = f"""{PEAK}
from photo2cartoon.ground.errors import NoFaceFound
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline

pipeline = open_pipeline(Settings(provider="cpu"))

def search(photo):
    try:
        pipeline.cartoonize(photo)
    except NoFaceFound:
        return

search(empty_photo(2400))  # everything is loaded, tiles too
print(json.dumps(peak(lambda: search(empty_photo(4000)))))
"""


def empty_photo(side: int) -> bytes:
    """A gray PNG in which there is no face."""
    buffer = io.BytesIO()
    Image.new("L", (side, side * 3 // 4), 90).save(buffer, "PNG")
    return buffer.getvalue()


def _colours(mode: str) -> Image.Image:
    soft = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    image = Image.fromarray(soft).resize(SIZE, Image.Resampling.BILINEAR)
    if mode == "RGBA":
        image.putalpha(image.convert("L"))
        return image
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("RGB", "JPEG", {}),
    "jpeg progressive": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "jpeg cmyk": ("CMYK", "JPEG", {"progressive": True}),
    "jpeg gray": ("L", "JPEG", {}),
    "png": ("RGB", "PNG", {"compress_level": 1}),
    "png rgba": ("RGBA", "PNG", {"compress_level": 1}),
    "png gray 16": ("I;16", "PNG", {"compress_level": 1}),
    "png palette": ("P", "PNG", {"compress_level": 1}),
    "webp": ("RGB", "WEBP", {"quality": 30, "method": 0}),
    "webp rgba": ("RGBA", "WEBP", {"lossless": True, "method": 0}),
    "avif": ("RGB", "AVIF", {"speed": 10, "subsampling": "4:4:4"}),
    "avif rgba": ("RGBA", "AVIF", {"speed": 10}),
    "tiff": ("RGB", "TIFF", {"compression": "tiff_deflate"}),
    "tiff float": ("F", "TIFF", {"compression": "tiff_deflate"}),
    "tiff int": ("I", "TIFF", {"compression": "tiff_deflate"}),
    "gif": ("P", "GIF", {}),
    "bmp": ("RGB", "BMP", {}),
}


def make(kind: str, size: tuple[int, int] = SIZE) -> bytes:
    """Make a file of one of `KINDS`."""
    mode, format_name, parameters = KINDS[kind]
    buffer = io.BytesIO()
    _colours(mode).resize(size).save(buffer, format_name, **parameters)
    return buffer.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_decoder_takes_more_than_its_photo_weighs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(KINDS)
    heavier = {kind: pair for kind, pair in found.items() if pair[0] > pair[1] + BANDS}
    assert heavier == {}
    lighter = {kind: pair for kind, pair in found.items() if pair[0] < pair[1] / 3}
    assert lighter == {}  # a weight far above what is taken would refuse photos for nothing


def test_looking_for_a_face_takes_no_more_than_the_photo_weighs() -> None:
    command = [sys.executable, "-c", SEARCH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    weight = weigh(empty_photo(4000), Options(size=256), MAX_PIXELS) - BASE
    # What the first search left on the heap decides by some 6 MB how much the second one adds.
    assert 0.7 * weight < json.loads(done.stdout) <= weight + 2 * BANDS


def test_what_is_drawn_and_answered_is_weighed_too() -> None:
    photo = make("jpeg", (6000, 4000))
    pixels = 6000 * 4000

    def of(**options: Any) -> int:
        return weigh(photo, Options(**options), MAX_PIXELS)

    assert of(size=1024) > of()
    assert of(compose="scene", format="webp") > of(compose="scene") > 16 * pixels
    assert of(compose="whole") > 400 * MIB
    assert weigh(photo, Options(size=1024), MAX_PIXELS, on_gpu=True) < of(size=1024)
    assert of() < of(faces="all") <= of() + EVERY_FACE_MOST + 16 * pixels


def test_coefficients_of_several_scans_are_kept_in_full_at_any_scale() -> None:
    whole = Options(compose="whole")
    plain, progressive = (make(kind, (6000, 4000)) for kind in ("jpeg", "jpeg progressive"))
    assert weigh(progressive, Options(), MAX_PIXELS) > weigh(plain, Options(), MAX_PIXELS)
    assert weigh(progressive, whole, MAX_PIXELS) >= weigh(plain, whole, MAX_PIXELS)


def test_headers_are_refused_when_photos_are_weighed() -> None:
    with pytest.raises(UnsupportedFormat):
        weigh(b"plain text, no picture", Options(), MAX_PIXELS)
    with pytest.raises(TooManyPixels):
        weigh(make("png"), Options(), 1_000_000)
    with pytest.raises(UndecodableImage):
        weigh(make("avif")[:200], Options(), MAX_PIXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_header_is_weighed_or_refused(kind: str) -> None:
    """Whatever is missing: a weight, or a problem that a caller can be told."""
    data = make(kind, (64, 48))
    for length in range(12, 200, 3):
        try:
            assert weigh(data[:length], Options(), MAX_PIXELS) >= BASE
        except (UnsupportedFormat, TooManyPixels, UndecodableImage):
            continue
