"""The drawing lies where the head is, and nothing else of the photo changes."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import FaceTooSmall
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.alignment import Alignment, crop_face
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.warp import apply
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.pipeline.scene import BAND_PX, _weight, lay_back

SCENE = Options(compose="scene")


def test_only_the_head_changes(pipeline: Pipeline, photo: bytes) -> None:
    image = decode_image(photo, 10**6)
    (scene,) = pipeline.draw(photo, SCENE, Ticket())
    assert scene.shape == image.shape
    changed = np.abs(scene.astype(int) - image).max(axis=2) > 8
    assert changed[100:160, 195:255].mean() > 0.9  # the face
    assert not changed[300:].any()  # the suit
    assert not changed[:, :80].any()  # the flag
    assert not changed[:, 380:].any()  # the shuttle


def test_the_drawing_fades_at_every_edge_of_its_square() -> None:
    weight = _weight(np.ones((256, 256), np.float32))
    for edge in (weight[0], weight[-1], weight[:, 0], weight[:, -1]):
        assert edge.max() < 0.05
    assert (weight[45:190, 45:-45] == 1).all()
    assert np.abs(np.diff(weight, axis=0)).max() < 0.05  # no step
    assert np.abs(np.diff(weight, axis=1)).max() < 0.05


def test_a_head_that_ends_within_its_square_does_not_fade() -> None:
    matte = np.zeros((256, 256), np.float32)
    matte[2:200, 4:-4] = 1
    matte[200:, 60:-60] = 1  # the neck leaves the square
    weight = _weight(matte)
    np.testing.assert_array_equal(weight[:195], matte[:195])
    assert weight[-1].max() < 0.05


@pytest.mark.parametrize("side", [64, 256, 700])
@pytest.mark.parametrize("tilt", [0.0, 25.0, 180.0])
def test_what_was_cut_out_comes_back_to_its_place(side: int, tilt: float) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:900, 0:1000]
    image = np.stack([x / 4, y / 4, (x + y) / 8], axis=-1).astype(np.uint8)
    radians = np.radians(tilt)
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    centre = apply(turn, np.array([[500.0, 450.0]]))[0]
    low = np.round(centre - side / 2).astype(int)
    alignment = Alignment(turn, (0, 0), (low[0], low[1], low[0] + side - 1, low[1] + side - 1))
    crop = crop_face(image, alignment, 256).pixels.astype(np.float32)
    noise = rng.integers(0, 256, image.shape, np.uint8)

    back = lay_back(noise, crop, np.ones((256, 256), np.float32), alignment)

    to_photo = alignment.to_photo(256)
    inner = np.stack(np.meshgrid([90, 128, 166], [80, 128, 160]), axis=-1).reshape(-1, 2)
    for px, py in apply(to_photo, inner).round().astype(int):
        assert np.abs(back[py, px].astype(int) - image[py, px]).max() <= 4


def test_a_head_at_the_border_and_one_outside(pipeline: Pipeline) -> None:
    image = np.full((100, 100, 3), 50, np.uint8)
    cartoon = np.full((256, 256, 3), 200, np.float32)
    ones = np.ones((256, 256), np.float32)
    partly = lay_back(image, cartoon, ones, Alignment(np.eye(2, 3), (0, 0), (60, 60, 159, 159)))
    assert partly[95, 95, 0] > 190
    assert (partly[:55, :55] == 50).all()
    outside = lay_back(image, cartoon, ones, Alignment(np.eye(2, 3), (0, 0), (500, 0, 599, 99)))
    np.testing.assert_array_equal(outside, image)


def test_every_head_of_a_group_is_drawn(pipeline: Pipeline, photo: bytes) -> None:
    from photo2cartoon.pipeline.encode import encode_image  # noqa: PLC0415

    one = decode_image(photo, 10**6)[:300, 60:400]
    group = np.concatenate([one, one[:, ::-1]], axis=1)
    data = encode_image(np.ascontiguousarray(group), "png")
    options = Options(compose="scene", faces="all")
    (scene,) = pipeline.draw(data, options, Ticket())
    changed = np.abs(scene.astype(int) - group).max(axis=2) > 8
    assert changed[100:150, 140:190].mean() > 0.8
    assert changed[100:150, 680 - 190 : 680 - 140].mean() > 0.8
    portraits = pipeline.cartoonize(data, Options(faces="all"))
    assert len(portraits) == 2
    assert pipeline.cartoonize(data, Options(faces=1)) == portraits[1:]


def test_small_heads_are_drawn_in_a_scene_and_no_portrait_is_made_of_them(
    pipeline: Pipeline, photo: bytes
) -> None:
    """The astronaut's landmark box, 106 px high, shrunk to 24 px."""
    with Image.open(io.BytesIO(photo)) as image:
        small = image.convert("RGB").resize((116, 116), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    with pytest.raises(FaceTooSmall):
        pipeline.draw(buffer.getvalue(), Options(), Ticket())
    (scene,) = pipeline.draw(buffer.getvalue(), Options(compose="scene", faces="all"), Ticket())
    changed = np.abs(scene.astype(int) - np.asarray(small)).max(axis=2) > 8
    assert changed[24:36, 45:58].mean() > 0.5
    assert not changed[70:].any()


def test_a_head_as_large_as_its_photo_takes_little_memory_besides_the_copy() -> None:
    """In one piece, as float32 in four layers, it took 60 bytes a pixel."""
    image = np.full((1500, 1500, 3), 50, np.uint8)
    cartoon = np.full((256, 256, 3), 200, np.float32)
    alignment = Alignment(np.eye(2, 3), (0, 0), (0, 0, 1499, 1499))
    tracemalloc.start()
    try:
        lay_back(image, cartoon, np.ones((256, 256), np.float32), alignment)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < image.nbytes + 80 * BAND_PX
