"""A cartoon in the photo's colours: hue, order of tones, lines, and nothing of the background."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from photo2cartoon.pipeline.colour_graph import add_recolour
from photo2cartoon.pipeline.colours import recolour
from photo2cartoon.pipeline.fuse import Part

SIZE = 256
Image = NDArray[np.uint8]


def lab(picture: NDArray[np.float32] | Image) -> NDArray[np.float32]:
    scaled = (picture.astype(np.float32) / 255).clip(0, 1)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32)


def disc(radius: float) -> NDArray[np.bool_]:
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    return np.asarray(x * x + y * y < radius * radius)


def person(colour: tuple[int, int, int], background: tuple[int, int, int] = (20, 160, 40)) -> Image:
    photo = np.full((SIZE, SIZE, 3), background, np.uint8)
    photo[disc(90)] = colour
    return photo


def drawing(fill: int = 200, line: int = 20) -> NDArray[np.float32]:
    """A gray disc with a dark ring in it, as a generator might draw the person."""
    picture = np.full((SIZE, SIZE, 3), 255, np.float32)
    picture[disc(90)] = fill
    picture[disc(60) & ~disc(56)] = line
    return picture


MATTE = np.asarray(disc(90), np.float32)


@pytest.mark.parametrize(
    "cloth", [(30, 140, 60), (230, 200, 40), (120, 60, 160), (190, 40, 40), (40, 70, 170)]
)
def test_cloth_keeps_its_hue(cloth: tuple[int, int, int]) -> None:
    drawn = recolour(person(cloth), drawing(), MATTE)
    wanted = lab(np.full((1, 1, 3), cloth, np.uint8))[0, 0, 1:]
    found = lab(drawn)[disc(40)][:, 1:].mean(axis=0)
    angle = np.degrees(np.arctan2(*wanted[::-1]) - np.arctan2(*found[::-1]))
    assert abs((angle + 180) % 360 - 180) < 15
    assert np.hypot(*found) > 0.4 * np.hypot(*wanted)


def test_a_stain_of_the_generator_goes() -> None:
    stained = drawing()
    stained[disc(30)] = (255, 60, 90)
    found = lab(recolour(person((128, 128, 128)), stained, MATTE))
    assert abs(found[disc(85)][:, 1:]).max() < 3


def test_skins_keep_their_order_though_all_were_drawn_alike() -> None:
    skins = [(60, 40, 30), (110, 75, 55), (170, 125, 95), (225, 185, 160)]
    tones = [lab(recolour(person(skin), drawing(215), MATTE))[disc(40)][:, 0] for skin in skins]
    middles = [float(np.median(tone)) for tone in tones]
    assert np.diff(middles).min() > 3
    assert middles[0] - lab(np.full((1, 1, 3), skins[0], np.uint8))[0, 0, 0] < 35


def test_lines_stay_dark_and_sharp() -> None:
    drawn = lab(recolour(person((200, 150, 120)), drawing(), MATTE))
    ring, inside = disc(59) & ~disc(57), disc(50)
    assert np.median(drawn[ring][:, 0]) < np.median(drawn[inside][:, 0]) - 40


def test_nothing_of_the_background_bleeds_in() -> None:
    skin = (200, 150, 120)
    near = [lab(recolour(person(skin, other), drawing(), MATTE)) for other in ((0, 255, 0), skin)]
    assert abs(near[0] - near[1])[disc(87)].max() < 3


def test_a_person_without_one_sure_pixel_is_still_a_picture() -> None:
    faint = np.full((SIZE, SIZE), 0.4, np.float32)
    drawn = recolour(person((200, 150, 120)), drawing(), faint)
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert drawn.max() <= 255


def test_the_picture_may_have_any_size() -> None:
    small = recolour(person((170, 125, 95)), drawing(), MATTE)
    photo, cartoon, matte = (
        np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1)
        for plane in (person((170, 125, 95)), drawing(), MATTE)
    )
    large = recolour(photo, cartoon, matte)
    again = cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    inside = disc(50)
    assert abs(again - small)[inside].mean() < 2


@pytest.mark.parametrize("size", [128, 256, 512])
def test_the_graph_draws_what_the_arrays_draw(size: int) -> None:
    rng = np.random.default_rng(size)
    soft = [cv2.resize(rng.random((9, 9, 3), np.float32), (size, size)) for _ in range(2)]
    photo, cartoon = soft[0], np.where(soft[1] > 0.4, soft[1], np.float32(0.05))
    matte = np.clip(soft[1][:, :, 0] * 2 - 0.4, 0, 1)
    part = Part("colours")
    name = add_recolour(part, size, "photo", "cartoon", "matte")
    info = onnx.helper.make_tensor_value_info
    planes = [(key, [1, channels, size, size]) for key, channels in
              (("photo", 3), ("cartoon", 3), ("matte", 1))]  # fmt: skip
    graph = onnx.helper.make_graph(
        part.nodes,
        "colours",
        [info(key, onnx.TensorProto.FLOAT, shape) for key, shape in planes],
        [info(name, onnx.TensorProto.FLOAT, [1, 3, size, size])],
        list(part.numbers.values()),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feeds = {
        "photo": photo.transpose(2, 0, 1)[None],
        "cartoon": cartoon.transpose(2, 0, 1)[None],
        "matte": matte[None, None],
    }
    (drawn,) = session.run(None, feeds)
    expected = recolour((photo * 255).astype(np.float32), cartoon * 255, matte)
    apart = abs(drawn[0].transpose(1, 2, 0) * 255 - expected)
    assert apart.mean() < 0.2
    assert np.quantile(apart, 0.999) < 2
    assert apart.max() < 8  # OpenCV interpolates its cube roots, which shows in the darkest pixels


def test_the_graph_refuses_a_size_that_it_cannot_shrink() -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        add_recolour(Part("colours"), 200, "photo", "cartoon", "matte")
