"""Styles by name, sizes that the photo can fill, and whole photos, on the real models."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.enlarge import enlarge
from photo2cartoon.pipeline.fuse import NotFusable, fuse
from photo2cartoon.pipeline.opening import find_styles, open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.pipeline.styles import head_size, portrait_size
from photo2cartoon_models.manifest import ManifestError, load_manifest

MANIFEST = load_manifest()
COMIC, PLAIN = MANIFEST["comic"], MANIFEST[LITE]


def resized(photo: bytes, factor: float) -> bytes:
    """The same photo, `factor` times as large, as JPEG."""
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    image = image.resize([round(side * factor) for side in image.size], Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def draw(pipeline: Pipeline, photo: bytes, **options: object) -> NDArray[np.uint8]:
    settled = pipeline.styles.settle(Options.model_validate(options))
    (picture,) = pipeline.draw(photo, settled, Ticket())
    return picture


def test_the_styles_that_one_core_draws_fast_are_there(pipeline: Pipeline) -> None:
    assert list(pipeline.styles.drawers) == [LITE, "comic"]
    assert pipeline.styles.settle(Options()).style == pipeline.styles.default == LITE
    names = [network.model.name for network in pipeline.networks]
    assert sorted(names) == sorted(set(names))  # both styles share one matte network


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options(style="oil"), f"style must be one of: {LITE}, comic."),
        (Options(compose="whole"), "whole needs a style that draws whole photos: comic."),
    ],
)
def test_what_is_not_loaded_is_refused(pipeline: Pipeline, options: Options, says: str) -> None:
    with pytest.raises(InvalidOption) as problem:
        pipeline.styles.settle(options)
    assert says in problem.value.detail


@pytest.mark.parametrize(
    ("side", "asked", "comic", "lite"),
    [
        (200, None, 256, 256),
        (300, None, 512, 256),
        (3000, None, 512, 256),
        (3000, 1024, 1024, 1024),
        (600, 1024, 1024, 1024),
        (300, 1024, 512, 512),
        (100, 512, 256, 256),
        (3000, 256, 256, 256),
    ],
)
def test_a_face_is_not_blown_up_silently(
    side: float, asked: int | None, comic: int, lite: int
) -> None:
    assert portrait_size(COMIC, side, asked) == comic
    assert portrait_size(PLAIN, side, asked) == lite


def test_a_head_in_a_scene_has_its_own_size() -> None:
    assert [head_size(side) for side in (16, 256, 257, 700, 5000)] == [256, 256, 512, 1024, 1024]


@pytest.mark.parametrize("style", [LITE, "comic"])
def test_a_portrait_has_the_size_that_the_photo_can_fill(
    pipeline: Pipeline, photo: bytes, style: str
) -> None:
    """The square around the astronaut's face has 222 px."""
    assert draw(pipeline, photo, style=style, size=512).shape == (256, 256, 3)
    large = resized(photo, 2)
    assert draw(pipeline, large, style=style, size=512).shape == (512, 512, 3)
    assert draw(pipeline, large, style=style, size=1024).shape == (512, 512, 3)


def test_a_larger_portrait_shows_the_same_with_more_detail(
    pipeline: Pipeline, photo: bytes
) -> None:
    large = resized(photo, 2.2)
    for style in (LITE, "comic"):
        small, big = (
            draw(pipeline, large, style=style, size=size).astype(np.float32) for size in (256, 512)
        )
        shrunk = cv2.resize(big, (256, 256), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk - small).mean() < 8
        blown = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
        assert sharpness(big) > 1.2 * sharpness(blown)


def sharpness(picture: cv2.typing.MatLike) -> float:
    return float(np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean())


def test_a_file_decoded_small_is_decoded_again_for_a_large_portrait(
    pipeline: Pipeline, photo: bytes
) -> None:
    large, ticket = resized(photo, 8), Ticket()
    options = pipeline.styles.settle(Options(style="comic", size=1024))
    _, (cut,) = pipeline.cropper.crop(large, options, ticket)
    assert int(ticket.facts["scale"]) > 1
    assert cut.crop.pixels.shape == (1024, 1024, 3)
    assert cut.alignment.side >= 1024  # pixels of the file, none invented


@pytest.mark.parametrize("background", ["white", "#3366cc"])
def test_a_comic_is_cut_out_and_outlined(pipeline: Pipeline, photo: bytes, background: str) -> None:
    colour = Options(background=background).colour
    cartoon = draw(pipeline, photo, style="comic", background=background)
    assert (cartoon[:40, :20] == colour).all()
    seen = draw(pipeline, photo, style="comic", background="transparent")[:, :, 3] == 255
    edge = seen & (cv2.erode(seen.astype(np.uint8), np.ones((3, 3))) == 0)
    edge[-8:] = edge[:, :8] = edge[:, -8:] = False  # along the border there is no outline
    assert np.median(cartoon[edge].max(axis=1)) < 90  # ink all around
    assert np.percentile(cartoon[110:190, 100:160], 75) > 150  # and not all over


def test_a_transparent_comic_is_opaque_inside_its_outline(pipeline: Pipeline, photo: bytes) -> None:
    alpha = draw(pipeline, photo, style="comic", background="transparent")[:, :, 3]
    assert ((alpha == 0) | (alpha == 255)).mean() > 0.97
    assert 0.2 < (alpha == 255).mean() < 0.8


@pytest.mark.parametrize(
    "colour", [(40, 170, 60), (220, 200, 50), (130, 50, 160), (40, 70, 190), (190, 40, 40)]
)
def test_a_comic_leaves_clothes_their_hue(
    pipeline: Pipeline, photo: bytes, colour: tuple[int, int, int]
) -> None:
    """The astronaut's orange suit in other colours."""
    rgb = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
    hue, saturation, _ = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    suit = (hue < 20) & (saturation > 90) & (np.arange(512)[:, None] > 250)
    shade = 0.75 + 0.5 * cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[:, :, None] / 255
    dyed = np.where(suit[:, :, None], (np.array(colour) * shade).clip(0, 255), rgb)
    buffer = io.BytesIO()
    Image.fromarray(dyed.astype(np.uint8)).save(buffer, "PNG")
    drawn = draw(pipeline, buffer.getvalue(), style="comic", compose="whole")
    inside = cv2.erode(suit.astype(np.uint8), np.ones((9, 9))) > 0
    (a, b), (own_a, own_b) = (
        cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[inside][:, 1:].mean(0)
        for picture in (drawn, dyed)
    )
    angle = np.degrees(np.arctan2(b, a) - np.arctan2(own_b, own_a))
    assert abs((angle + 180) % 360 - 180) < 15
    assert np.hypot(a, b) > 0.7 * np.hypot(own_a, own_b)


@pytest.mark.parametrize("size", [(512, 512), (513, 301), (33, 700), (8, 8)])
def test_a_whole_photo_is_drawn_at_its_own_size(
    pipeline: Pipeline, photo: bytes, size: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("RGB").resize(size).save(buffer, "PNG")
    drawn = draw(pipeline, buffer.getvalue(), style="comic", compose="whole")
    assert drawn.shape == (max(32, size[1]), max(32, size[0]), 3)
    if size == (512, 512):
        original = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).astype(float)
        assert 4 < np.abs(drawn - original).mean() < 40  # drawn, and the same picture


def test_a_whole_photo_is_bounded_and_large_faces_are_drawn_smaller(
    pipeline: Pipeline, photo: bytes
) -> None:
    face = resized(photo, 5)  # 2,560 px, its face about 500 px wide
    height, width = pipeline.cropper.whole(face, Ticket()).shape[:2]
    assert 1000 < height == width < 2200
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 1000), "green").save(buffer, "PNG")
    assert pipeline.cropper.whole(buffer.getvalue(), Ticket()).shape == (410, 2048, 3)
    buffer = io.BytesIO()
    Image.new("RGB", (3000, 3000), "green").save(buffer, "PNG")
    height, width = pipeline.cropper.whole(buffer.getvalue(), Ticket()).shape[:2]
    assert height * width <= 2048 * 1024 * 1.01


def test_a_scene_draws_a_large_head_large(pipeline: Pipeline, photo: bytes) -> None:
    large = resized(photo, 3)
    sizes = {}
    for style in (LITE, "comic"):
        options = pipeline.styles.settle(Options(style=style, compose="scene"))
        _, (cut,) = pipeline.cropper.crop(large, options, Ticket())
        sizes[style] = len(cut.crop.pixels)
    assert sizes == {LITE: 256, "comic": 1024}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two generators of an operator's."""
    folder = tmp_path_factory.mktemp("styles")
    for name in ("ink", "watercolour"):
        copyfile(PLAIN.path, folder / f"{name}.onnx")
    (folder / "notes.txt").write_text("no style")
    return folder


@pytest.fixture
def with_own(own: Path) -> Iterator[Pipeline]:
    pipeline = open_pipeline(Settings(threads=1, generator=Path(LITE), styles=(own,)))
    yield pipeline
    pipeline.close()


def test_files_dropped_into_a_folder_are_styles(with_own: Pipeline, photo: bytes) -> None:
    assert list(with_own.styles.drawers) == [LITE, "ink", "watercolour"]
    same = draw(with_own, photo, style="ink"), draw(with_own, photo, colours="drawn")
    assert (same[0] == same[1]).all()


def test_a_folder_does_not_hide_the_style_that_it_is_called_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(LITE).mkdir()
    assert [model.name for model in find_styles(MANIFEST, [Path(LITE)])] == [LITE]


def test_a_folder_without_a_style_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="a folder without an ONNX file"):
        find_styles(MANIFEST, [tmp_path])


def test_two_styles_of_one_name_are_refused(own: Path, tmp_path: Path) -> None:
    copyfile(COMIC.path, tmp_path / "ink.onnx")
    with pytest.raises(ManifestError, match="two styles are called ink"):
        find_styles(MANIFEST, (own, tmp_path))
    twice = find_styles(MANIFEST, (Path("comic"), own, own / "ink.onnx", Path("comic")))
    assert [model.name for model in twice] == ["comic", "ink", "watercolour"]


def test_a_style_that_is_cut_out_is_not_fused() -> None:
    for generator in (COMIC, replace(PLAIN, portrait="cutout")):
        with pytest.raises(NotFusable, match="cut out"):
            fuse(MANIFEST["selfie"], generator)


def test_enlarging_keeps_edges_narrow_and_makes_no_halo() -> None:
    step = np.full((64, 64, 3), 40, np.float32)
    step[:, 32:] = 200
    soft = np.asarray(cv2.GaussianBlur(step, (0, 0), 0.7), np.float32)
    grown = enlarge(soft, 256)[128, :, 0]
    cubic = cv2.resize(soft, (256, 256), interpolation=cv2.INTER_CUBIC)[128, :, 0]
    widths = [int(((row > 60) & (row < 180)).sum()) for row in (grown, cubic)]
    assert widths[0] < widths[1]
    assert grown.min() >= cubic.min()
    assert grown.max() <= cubic.max()
    assert enlarge(step, 32).shape == (32, 32, 3)
    flat = np.full((8, 8, 3), 77, np.float32)
    np.testing.assert_allclose(enlarge(flat, 512), 77, atol=0.01)
