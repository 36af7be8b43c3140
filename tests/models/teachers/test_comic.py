"""The comic teacher, held to what its drawings promise, on drawn heads of every skin."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.cutout import carry_outwards, firm
from photo2cartoon_models.fields import Field
from photo2cartoon_models.teachers.comic import draw
from photo2cartoon_models.teachers.ink import strokes
from photo2cartoon_models.teachers.tone import calm_gloss, warm_shades

Image = NDArray[np.uint8]

SKINS = (  # RGB, from dark to fair
    (60, 38, 30),
    (92, 60, 46),
    (132, 92, 70),
    (172, 126, 100),
    (205, 160, 135),
    (240, 205, 185),
)
SHIRTS = {"green": (40, 140, 60), "yellow": (210, 190, 40), "purple": (120, 50, 150)}
SHIRTS["red"] = (190, 40, 40)
CHEEK = (slice(135, 150), slice(100, 115))
SHIRT = (slice(235, 250), slice(75, 180))


def head(
    skin: tuple[int, ...] = SKINS[3], shirt: tuple[int, ...] = (60, 80, 160), size: int = 256
) -> Image:
    """Draw a head and shoulders on white, `(size, size, 3)` uint8 RGB."""
    picture = np.full((512, 512, 3), 255, np.uint8)
    for centre, radii, colour in (
        ((256, 580), (200, 200), shirt),
        ((256, 196), (150, 170), (50, 35, 30)),
        ((256, 240), (120, 160), skin),
        ((208, 220), (20, 12), (245, 245, 245)),
        ((304, 220), (20, 12), (245, 245, 245)),
        ((208, 220), (9, 9), (40, 30, 30)),
        ((304, 220), (9, 9), (40, 30, 30)),
        ((256, 330), (36, 10), (170, 70, 70)),
    ):
        cv2.ellipse(picture, centre, radii, 0, 0, 360, colour, cv2.FILLED, cv2.LINE_AA)
    soft = cv2.GaussianBlur(picture, (0, 0), 1)
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def matte_of(picture: Image) -> Field:
    """1 where `picture` is not white."""
    return np.asarray(picture.min(axis=2) < 250, np.float32)


def lab(picture: Image) -> Field:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


@pytest.mark.parametrize("shape", [(33, 57), (64, 256), (257, 130), (9, 9), (1, 1)])
def test_any_size_comes_back_as_it_is(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)

    drawn, cut = draw(photo), draw(photo, np.ones(shape, np.float32))

    assert drawn.shape == cut.shape == photo.shape
    assert drawn.dtype == cut.dtype == np.uint8


def test_draws_the_same_twice_and_leaves_its_input_alone() -> None:
    photo = head()
    matte = matte_of(photo)
    copies = photo.copy(), matte.copy()

    assert (draw(photo, matte) == draw(photo, matte)).all()
    assert (photo == copies[0]).all()
    assert (matte == copies[1]).all()


def test_white_stays_white() -> None:
    assert draw(np.full((128, 128, 3), 255, np.uint8)).min() >= 254
    beside = cv2.dilate(matte_of(head()), np.ones((31, 31))) - cv2.dilate(
        matte_of(head()), np.ones((15, 15))
    )
    assert np.percentile(draw(head())[beside > 0], 1) >= 250


def test_with_a_matte_the_background_is_white() -> None:
    photo = head()
    scene = np.where(matte_of(photo)[:, :, None] > 0, photo, 90).astype(np.uint8)

    drawn = draw(scene, matte_of(photo))

    outside = cv2.erode(1 - matte_of(photo), np.ones((9, 9))) > 0
    assert (drawn[outside] == 255).all()


def test_without_a_person_nothing_is_drawn() -> None:
    assert (draw(head(), np.zeros((256, 256), np.float32)) == 255).all()


def test_a_gray_photo_stays_gray() -> None:
    gray = cv2.cvtColor(head(), cv2.COLOR_RGB2GRAY)

    drawn = draw(np.dstack([gray] * 3), matte_of(head()))

    assert np.ptp(drawn.astype(int), axis=2).max() <= 1


def test_lines_are_dark_on_every_skin() -> None:
    for skin in SKINS:
        photo = head(skin)
        drawn = draw(photo, matte_of(photo))
        border = matte_of(photo) - cv2.erode(matte_of(photo), np.ones((3, 3)))
        border[-8:] = 0
        darkest = cv2.erode(lab(drawn)[:, :, 0], np.ones((5, 5)))  # within 2 px
        assert np.percentile(darkest[border > 0], 95) < 20
        assert lab(drawn)[106:114, 100:108, 0].min() < 15  # an iris


def test_no_outline_where_the_picture_ends() -> None:
    photo = head()

    drawn = draw(photo, matte_of(photo))

    assert lab(drawn)[-1, 75:180, 0].min() > 30


def test_skins_keep_their_order_and_dark_ones_stay_dark() -> None:
    photos = [head(skin) for skin in SKINS]
    before = [float(np.median(lab(photo)[*CHEEK, 0])) for photo in photos]
    after = [float(np.median(lab(draw(photo, matte_of(photo)))[*CHEEK, 0])) for photo in photos]

    assert (np.diff(after) > 3).all()
    assert max(b - a for a, b in zip(before, after, strict=True)) < 20


@pytest.mark.parametrize("name", list(SHIRTS))
def test_shirts_keep_their_hue(name: str) -> None:
    photo = head(shirt=SHIRTS[name])

    was, is_ = (lab(picture)[*SHIRT].mean(axis=(0, 1)) for picture in (photo, draw(photo)))

    turn = np.arctan2(is_[2], is_[1]) - np.arctan2(was[2], was[1])
    assert abs(np.degrees(np.angle(np.exp(1j * turn)))) < 10
    assert np.hypot(*is_[1:]) > 0.75 * np.hypot(*was[1:])


def test_looks_the_same_at_half_the_size() -> None:
    large = cv2.resize(draw(head(size=512)), (256, 256), interpolation=cv2.INTER_AREA)

    assert np.abs(large.astype(int) - draw(head())).mean() < 4


def test_a_smaller_unit_draws_finer_lines() -> None:
    photo = np.full((256, 256, 3), 190, np.uint8)
    cv2.circle(photo, (128, 128), 60, (90, 90, 90), 6, cv2.LINE_AA)

    fine, bold = ((draw(photo, unit=unit) < 60).sum() for unit in (0.3, 1.0))

    assert 0 < fine < bold


def test_pores_and_stubble_leave_no_scribbles() -> None:
    noise = np.random.default_rng(3).normal(0, 7, (256, 256, 1))
    skin = (np.array(SKINS[3]) + noise).clip(0, 255).astype(np.uint8)

    drawn = lab(draw(skin, unit=1.0))[:, :, 0]

    assert np.ptp(drawn) < 12


def test_a_scribble_is_left_out_and_a_line_is_drawn() -> None:
    response = np.full((128, 128), 0.62, np.float32)
    response[30:32, 30:36] = 0.45  # 12 square units
    response[60:62, 20:100] = 0.45

    ink = strokes(response, 1.0)

    assert ink[25:40, 25:40].max() == 0
    assert ink[60:62, 20:100].min() > 0.5


def test_scraps_and_pinholes_of_the_matte_are_mended() -> None:
    matte = np.zeros((512, 512), np.float32)
    matte[100:, 100:400] = 1
    matte[20:60, 440:500] = 1  # a scrap of background
    matte[200:204, 400:440], matte[180:230, 440:480] = 1, 1  # one that hangs on a bridge
    matte[300:312, 200:212] = 0
    matte[:, :60] = 0.4

    person = firm(matte, 1.0)

    assert person[20:60, 440:500].max() == 0
    assert person[180:230, 440:480].max() == 0
    assert person[300:312, 200:212].min() > 0.9
    assert person[:, :60].max() == 0
    assert person[150:, 150:350].min() > 0.9


def test_colours_are_carried_outwards() -> None:
    colours = np.zeros((64, 96, 3), np.float32)
    colours[:, :48] = (0.2, 0.4, 0.6)
    person = np.zeros((64, 96), np.float32)
    person[:, :40] = 1

    np.testing.assert_allclose(
        carry_outwards(colours, person), np.full((64, 96, 3), (0.2, 0.4, 0.6)), atol=1e-5
    )


def test_violet_shade_amid_skin_turns_warm_and_other_colours_stay() -> None:
    chroma = np.full((256, 256, 2), (14, 18), np.float32)
    chroma[100:150, 100:150] = (6, -9)  # shade
    chroma[40:52, 40:52] = (4, -9)  # an iris
    chroma[:, 200:] = (-5, -60)  # a blue curtain
    chroma[200:, :60] = (0, 0)  # gray hair

    mended = warm_shades(chroma, 1.0)

    assert mended[115:135, 115:135, 1].min() > 0
    for still in (np.s_[44:48, 44:48], np.s_[:, 215:], np.s_[210:, :50]):
        np.testing.assert_allclose(mended[still], chroma[still], atol=1.5)


def test_gloss_on_dark_skin_is_calmed_and_eyes_stay_bright() -> None:
    light = np.full((256, 256), 45, np.float32)
    light[100:140, 100:140] = 58  # gloss on a forehead
    light[200:210, 60:72] = 80  # the white of an eye

    calm = calm_gloss(light, 1.0)

    assert calm[115:125, 115:125].max() < 54
    assert calm[203:207, 63:69].min() > 79
    assert abs(calm[10:40, 10:40] - 45).max() < 0.5


@pytest.mark.parametrize(
    ("photo", "matte", "unit", "says"),
    [
        (np.zeros((8, 8), np.uint8), None, None, "photo"),
        (np.zeros((0, 8, 3), np.uint8), None, None, "photo"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), np.float32), None, "matte"),
        (np.zeros((8, 8, 3), np.uint8), None, 0.0, "unit"),
    ],
)
def test_refuses_what_it_cannot_draw(
    photo: Image, matte: Field | None, unit: float | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        draw(photo, matte, unit=unit)
