"""All stages together, on the real models."""

import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon.ground.errors import FaceTooSmall, NoFaceFound, TooManyPixels
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.preprocess import composite, to_image
from tests.app.pipeline.pictures import dots


def test_a_photo_becomes_a_cartoon_on_white(pipeline: Pipeline, photo: bytes) -> None:
    image = Image.open(io.BytesIO(pipeline.cartoonize(photo)[0]))
    assert (image.format, image.size, image.mode) == ("PNG", (256, 256), "RGB")
    cartoon = np.asarray(image).astype(int)
    assert (cartoon[:40, :20] == 255).all()  # the background is gone
    hair, face = cartoon[30:60, 100:160].mean(), cartoon[110:190, 100:160].mean()
    assert hair < 160 < 185 < face  # drawn: dark hair, lighter skin
    _, (portrait,) = pipeline.prepare(photo, Options(), Ticket())
    seen = (portrait.tensor.transpose(1, 2, 0) + 1) * 127.5
    assert np.abs(cartoon - seen).mean() > 15  # and not the photo itself


def test_colours_are_the_photos_or_as_drawn(pipeline: Pipeline, photo: bytes) -> None:
    """The astronaut is blond; the generator alone draws her hair reddish gray."""
    default, asked, drawn = (
        pipeline.draw(photo, Options(colours=colours), Ticket())[0].astype(int)
        for colours in (None, "photo", "drawn")
    )
    assert (default == asked).all()
    _, (portrait,) = pipeline.prepare(photo, Options(), Ticket())
    output = pipeline.styles.drawer(Options()).networks[-1].run(portrait.tensor[None])[0][0]
    assert (drawn == composite(to_image(output), portrait.matte)).all()
    hair = np.s_[15:60, 90:190]
    own, kept, lost = (rgb_to_ab(p[hair]) for p in (portrait.cut.crop.pixels, default, drawn))
    hues = [np.degrees(np.arctan2(b, a)) for a, b in (own, kept, lost)]
    assert abs(hues[0] - hues[1]) < 15
    assert abs(hues[0] - hues[2]) > 40
    assert np.hypot(*kept) > 1.3 * np.hypot(*lost)


def rgb_to_ab(part: NDArray[np.integer]) -> NDArray[np.floating]:
    """Mean chroma of a part of a picture, Lab's a and b."""
    lab = cv2.cvtColor(part.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab[:, :, 1:].mean(axis=(0, 1)))


def test_the_generator_sees_the_aligned_portrait(pipeline: Pipeline, photo: bytes) -> None:
    _, (prepared,) = pipeline.prepare(photo, Options(), Ticket())
    assert prepared.tensor.shape == (3, 256, 256)
    assert prepared.tensor.min() >= -1
    assert prepared.tensor.max() == 1
    outside = prepared.matte == 0
    assert (prepared.tensor[:, outside] == 1).all()
    # The portrait, looked at again, is already aligned.
    portrait = ((prepared.tensor.transpose(1, 2, 0) + 1) * 127.5).round().astype(np.uint8)
    (face,) = pipeline.cropper.detector.detect(np.ascontiguousarray(portrait))
    (left_x, left_y), (right_x, right_y) = face.eyes
    assert abs(np.degrees(np.arctan2(right_y - left_y, right_x - left_x))) < 2.5
    left, top, right, bottom = face.box
    assert (left + right) / 2 == pytest.approx(128, abs=4)
    assert bottom - top == pytest.approx(256 / 2.1, abs=6)


def test_the_same_photo_gives_the_same_bytes_on_any_thread(
    pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(pipeline.cartoonize, [photo] * 12))
    assert answers == [[expected]] * 12


def test_every_stage_is_timed_once(pipeline: Pipeline, photo: bytes) -> None:
    ticket = Ticket()
    pipeline.cartoonize(photo, ticket=ticket)
    stages = ["decode", "detect", "align", "matte", "compose", "generate", "encode"]
    assert list(ticket.seconds) == stages
    assert all(seconds > 0 for seconds in ticket.seconds.values())


def test_a_landscape_photo_has_no_face(pipeline: Pipeline) -> None:
    picture = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 400, 3))
    with pytest.raises(NoFaceFound):
        pipeline.cartoonize(cv2.imencode(".png", picture)[1].tobytes())


def test_limits_come_from_the_settings(photo: bytes) -> None:
    strict = open_pipeline(Settings(max_pixels=512 * 512 - 1))
    with pytest.raises(TooManyPixels):
        strict.cartoonize(photo)
    exact = open_pipeline(Settings(max_pixels=512 * 512, min_face_px=200))
    with pytest.raises(FaceTooSmall):
        exact.cartoonize(photo)


def test_a_face_in_the_corner_is_served(pipeline: Pipeline, photo: bytes) -> None:
    image = decode_image(photo, 10**6)[70:, 170:]  # cuts the hair off
    encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    cartoon = decode_image(pipeline.cartoonize(encoded)[0], 10**6)
    assert (cartoon[:40] == 255).all()  # above the photo there is nothing to draw


@pytest.mark.parametrize("style", ["comic", "photo2cartoon-lite"])
def test_a_photo_of_which_nothing_would_be_seen_is_refused(photo: bytes, style: str) -> None:
    both = open_pipeline(Settings(threads=1))
    with pytest.raises(NoFaceFound, match="nobody around it"):
        both.cartoonize(dots(photo), Options(style=style))
