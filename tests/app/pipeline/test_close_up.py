"""A face that fills its photo fills its picture; every other drawing stays as it is."""

import cv2
import numpy as np
import pytest

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.alignment import Alignment, crop_face, inscribe
from photo2cartoon.pipeline.close_up import frame_close_up
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.drawer import Cut, Drawing
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.pipeline import Pipeline


@pytest.mark.parametrize("tilt", [0.0, 20.0, -35.0])
def test_the_largest_upright_square_of_the_photo_is_shown(tilt: float) -> None:
    coarse = np.random.default_rng(0).integers(60, 200, (8, 7, 3), np.uint8)
    image = cv2.resize(coarse, (350, 400), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    radians = np.radians(tilt)
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    x, y = (turn[:, :2] @ [180, 210] - 300).round().astype(int).tolist()
    alignment = Alignment(turn, (0, 0), (x, y, x + 599, y + 599))
    cut = Cut(crop_face(image, alignment, 256), alignment)
    drawing = Drawing(cut.crop.pixels, np.ones((256, 256), np.float32))
    framed = frame_close_up(cut, drawing, (350, 400))
    expected = crop_face(image, inscribe(alignment, (350, 400)), 256).pixels.astype(float)
    assert framed.cartoon.shape == (256, 256, 3)
    assert np.abs(framed.cartoon - expected)[8:-8, 8:-8].mean() < 2
    np.testing.assert_allclose(framed.matte, 1, atol=1e-3)


def test_a_portrait_stays_and_a_close_up_fills_the_picture(
    pipeline: Pipeline, photo: bytes
) -> None:
    image, (cut,) = pipeline.cropper.crop(photo, Options(), Ticket())
    drawing = pipeline.styles.drawer(Options()).draw(image, cut, Ticket())
    assert frame_close_up(cut, drawing, (512, 512)) is drawing
    face = np.ascontiguousarray(decode_image(photo, 10**6)[60:180, 170:280])
    close_up = encode_image(face, "png")
    (framed,) = pipeline.draw(close_up, Options(background="transparent"), Ticket())
    assert framed.shape == (256, 256, 4)
    assert (framed[:, :, 3] > 200).mean() > 0.9
