"""PaddleGAN's predictor, as its users know it."""

import io
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from photo2cartoon import Photo2CartoonPredictor, cartoonize
from photo2cartoon.ground.errors import NoFaceFound, UnsupportedFormat
from photo2cartoon.pipeline.reading.profiles import PRIMARIES, make_profile
from photo2cartoon_models.manifest import ManifestError, load_manifest
from tests.app.pipeline.pictures import dots
from tests.places import PHOTO


@pytest.fixture(scope="module")
def predictor() -> Photo2CartoonPredictor:
    return Photo2CartoonPredictor(output_path=None)


def test_it_writes_the_two_files_and_returns_rgb(tmp_path: Path) -> None:
    output = tmp_path / "made" / "here"
    cartoon = Photo2CartoonPredictor(output_path=str(output)).run(str(PHOTO))
    assert cartoon.shape == (256, 256, 3)
    assert cartoon.dtype == np.uint8
    assert sorted(path.name for path in output.iterdir()) == ["p2c_cartoon.png", "p2c_photo.png"]
    with Image.open(output / "p2c_cartoon.png") as image:
        np.testing.assert_array_equal(np.asarray(image), cartoon)
    with Image.open(output / "p2c_photo.png") as image:
        aligned = np.asarray(image)
    assert aligned.shape == (256, 256, 3)
    assert aligned[60, 10].tolist() != [255, 255, 255]  # the background is still there


def test_every_kind_of_input_gives_the_same_cartoon(
    predictor: Photo2CartoonPredictor, photo: bytes
) -> None:
    with Image.open(PHOTO) as image:
        image.load()
        array = np.asarray(image)
        inputs: list[Any] = [str(PHOTO), PHOTO, photo, array, image, array[:, ::-1][:, ::-1]]
        inputs += [bytearray(photo), memoryview(photo), io.BytesIO(photo)]
        inputs += [np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])]
        results = [predictor.run(each) for each in inputs]
        with PHOTO.open("rb") as file:
            assert file.read(100)  # it is read from the beginning all the same
            results.append(predictor.run(file))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_gray_arrays_are_the_gray_picture(predictor: Photo2CartoonPredictor) -> None:
    with Image.open(PHOTO) as image:
        gray = image.convert("L")
    expected = predictor.run(gray)
    array = np.asarray(gray)
    for each in (array, array[:, :, None], np.dstack([array] * 3)):
        np.testing.assert_array_equal(predictor.run(each), expected)


def test_transparency_of_an_array_is_laid_on_white(predictor: Photo2CartoonPredictor) -> None:
    with Image.open(PHOTO) as image:
        hidden = np.dstack([np.asarray(image), np.zeros(image.size[::-1], np.uint8)])
    with pytest.raises(NoFaceFound):
        predictor.run(hidden)


@pytest.mark.parametrize("kind", ["Display P3", "linear", "CMYK", "16-bit gray", "gray and alpha"])
def test_a_pillow_image_is_drawn_as_its_file(predictor: Photo2CartoonPredictor, kind: str) -> None:
    with Image.open(PHOTO) as image:
        photo = image.convert("RGB").resize((400, 400))
    codes = np.linspace(0, 1, 256)
    wide = make_profile(PRIMARIES[12], codes**2.2)
    buffer = io.BytesIO()
    if kind == "Display P3":
        photo.save(buffer, "PNG", icc_profile=wide)
    elif kind == "linear":
        photo.save(buffer, "PNG", icc_profile=make_profile(PRIMARIES[1], codes))
    elif kind == "CMYK":
        photo.convert("CMYK").save(buffer, "JPEG", quality=95)
    elif kind == "16-bit gray":
        Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(buffer, "PNG")
    else:
        photo.convert("LA").save(buffer, "PNG", icc_profile=wide)
    expected = predictor.run(buffer.getvalue())
    with Image.open(buffer) as opened:
        np.testing.assert_array_equal(predictor.run(opened), expected)
    plain = predictor.run(photo)
    assert kind not in ("Display P3", "linear") or (plain != expected).any()


def test_it_travels_to_another_process(
    predictor: Photo2CartoonPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor.run(PHOTO)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        np.testing.assert_array_equal(pool.submit(predictor.run, PHOTO).result(), expected)
    own = tmp_path / "mine.onnx"
    own.write_bytes(load_manifest()["photo2cartoon-lite"].path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2C_MIN_FACE_PX", "40")
    packed = pickle.dumps(Photo2CartoonPredictor("out", weight_path="mine.onnx"))
    assert len(packed) < 10_000  # no models
    monkeypatch.chdir("/")
    monkeypatch.delenv("P2C_MIN_FACE_PX")
    again = pickle.loads(packed)
    assert again.settings.min_face_px == 40
    assert again.settings.generator == own
    assert again.output_path == tmp_path / "out"
    drawn = cartoonize(PHOTO, style="photo2cartoon-lite", colours="drawn")
    np.testing.assert_array_equal(again.run(PHOTO), drawn)


def test_a_pillow_image_is_turned_upright_and_laid_on_white(
    predictor: Photo2CartoonPredictor,
) -> None:
    with Image.open(PHOTO) as image:
        expected = predictor.run(image)
        turned = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        buffer = io.BytesIO()
        turned.save(buffer, "PNG", exif=exif)
        with Image.open(buffer) as stored:
            np.testing.assert_array_equal(predictor.run(stored), expected)
        see_through = image.convert("RGBA")
        see_through.putalpha(0)
        with pytest.raises(NoFaceFound):
            predictor.run(see_through)


@pytest.mark.parametrize("style", ["comic", "photo2cartoon-lite"])
def test_a_drawing_in_which_nothing_is_seen_is_none(
    predictor: Photo2CartoonPredictor, photo: bytes, style: str
) -> None:
    for options in ({}, {"compose": "scene"}, {"background": "transparent"}):
        with pytest.raises(NoFaceFound, match="nobody around it"):
            predictor.run(dots(photo), style=style, **options)


def test_nothing_is_written_without_an_output_path(
    predictor: Photo2CartoonPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predictor.run(PHOTO)
    assert list(tmp_path.iterdir()) == []


def test_options_are_those_of_the_service(predictor: Photo2CartoonPredictor) -> None:
    assert predictor.run(PHOTO, background="transparent").shape == (256, 256, 4)
    assert predictor.run(PHOTO, compose="scene", faces="all").shape == (512, 512, 3)
    with pytest.raises(ValueError, match="needs compose"):
        predictor.run(PHOTO, faces="all")
    with pytest.raises(ValueError, match="background"):
        predictor.run(PHOTO, background="red")
    assert predictor.run(PHOTO, size=512).shape == (256, 256, 3)  # the photo has no more
    assert predictor.run(PHOTO, compose="whole").shape == (512, 512, 3)
    with pytest.raises(ValueError, match="size"):
        predictor.run(PHOTO, size=300)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"format": "png"}, "format and quality are for files"),
        ({"quality": 90}, "format and quality are for files"),
        ({"on_overload": "smaller"}, "on_overload is for services"),
    ],
)
def test_options_of_files_and_services_are_refused(
    predictor: Photo2CartoonPredictor, option: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        predictor.run(PHOTO, **option)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (3, TypeError),
        (None, TypeError),
        (np.zeros((0, 0, 3), np.uint8), ValueError),
        (np.zeros((0, 8), np.uint8), ValueError),
        (Image.new("RGB", (0, 0)), ValueError),
        (np.zeros((8, 8, 2), np.uint8), ValueError),
        (np.zeros(8, np.uint8), ValueError),
        (np.zeros((1, 8, 8, 3), np.uint8), ValueError),
        (np.zeros((8, 8), np.uint16), ValueError),
        (io.StringIO("text"), TypeError),
        (b"", UnsupportedFormat),
        (np.zeros((8, 8, 3), np.float32), ValueError),
        ("/no/such/photo.jpg", OSError),
        (np.zeros((64, 64, 3), np.uint8), NoFaceFound),
    ],
    ids=[
        "number",
        "none",
        "empty",
        "empty gray",
        "empty image",
        "two channels",
        "a row",
        "a batch",
        "16 bits",
        "text",
        "no bytes",
        "float",
        "missing",
        "no face",
    ],
)
def test_what_it_refuses(
    predictor: Photo2CartoonPredictor, image: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        predictor.run(image)  # type: ignore[arg-type]


def test_a_generator_by_its_name(predictor: Photo2CartoonPredictor) -> None:
    whole = Photo2CartoonPredictor(None, weight_path="photo2cartoon")
    assert whole.pipeline.models[-1] == load_manifest()["photo2cartoon"]
    apart = np.abs(whole.run(PHOTO).astype(float) - predictor.run(PHOTO)).mean()
    assert 2 < apart < 40  # grey levels: another drawing of the same person
    with pytest.raises(
        ManifestError, match="none of comic, photo2cartoon-lite, photo2cartoon either"
    ):
        Photo2CartoonPredictor(None, weight_path="selfie")


def test_a_generator_of_ones_own(tmp_path: Path) -> None:
    embedded = load_manifest()["photo2cartoon-lite"].path
    own = tmp_path / "mine.onnx"
    own.write_bytes(embedded.read_bytes())
    cartoon = Photo2CartoonPredictor(None, weight_path=own).run(PHOTO)  # as drawn, being unknown
    drawn = cartoonize(PHOTO, style="photo2cartoon-lite", colours="drawn")
    np.testing.assert_array_equal(cartoon, drawn)
    wrong = load_manifest()["selfie"].path
    with pytest.raises(ManifestError, match="the graph has"):
        Photo2CartoonPredictor(None, weight_path=wrong)
    with pytest.raises(ManifestError, match="cannot read"):
        Photo2CartoonPredictor(None, weight_path=tmp_path / "none.onnx")


def test_weights_that_cannot_be_converted_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pdparams"
    weights.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="cannot convert") as refusal:
        Photo2CartoonPredictor(None, weight_path=weights)
    assert "torch" in str(refusal.value) or "neither" in str(
        refusal.value
    )  # missing, or it said no
    assert list(tmp_path.iterdir()) == [weights]
