"""What the tests of the page share: a browser, a service, and photos of several kinds."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.ops.chromium import Browser
from tests.places import PHOTO


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, with a camera that sees the example photo."""
    folder = tmp_path_factory.mktemp("chromium")
    camera = folder / "camera.mjpeg"
    camera.write_bytes(PHOTO.read_bytes() * 3)
    with Browser(folder, camera) as browser:
        yield browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by what is wrong with them; `two` shows two people."""
    folder = tmp_path_factory.mktemp("pictures")
    photo = Image.open(PHOTO)
    two = Image.new("RGB", (2 * photo.width, photo.height))
    for place in range(2):
        two.paste(photo, (place * photo.width, 0))

    def encode(image: Image.Image, kind: str) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        return buffer.getvalue()

    files = {
        "two.jpg": encode(two, "JPEG"),
        "unsupported_format.txt": b"no picture at all",
        "undecodable_image.jpg": PHOTO.read_bytes()[:20_000],
        "no_face.png": encode(Image.new("RGB", (320, 240), "green"), "PNG"),
        "face_too_small.jpg": encode(photo.resize((128, 128)), "JPEG"),
        "too_many_pixels.png": encode(Image.new("L", (1200, 1200)), "PNG"),
        "body_too_large.jpg": PHOTO.read_bytes() + bytes(200_000),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {Path(name).stem: folder / name for name in files}
