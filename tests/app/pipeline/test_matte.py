"""The matte holds the person; what is shown of it ends softly where the photo ends."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.alignment import Alignment, Crop, crop_face, estimate_alignment
from photo2cartoon.pipeline.colours import ArrayCalculus
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.drawer import StagedDrawer
from photo2cartoon.pipeline.matte import CELLS, fade_out, keep_attached, predict_matte
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.network import Network, OnnxNetwork
from photo2cartoon_models.manifest import ManifestError, load_model

Aligned = tuple[NDArray[np.uint8], Alignment, Crop]


@pytest.fixture(scope="module")
def aligned(pipeline: Pipeline, photo: bytes) -> Aligned:
    image = decode_image(photo, 10**6)
    (face,) = pipeline.cropper.detector.detect(image)
    alignment = estimate_alignment(face, (512, 512))
    return image, alignment, crop_face(image, alignment, 256)


def network_of(pipeline: Pipeline) -> Network:
    drawer = pipeline.styles.drawer(Options())
    assert isinstance(drawer, StagedDrawer)
    return drawer.matte_network


def test_the_person_is_in_and_the_background_out(pipeline: Pipeline, aligned: Aligned) -> None:
    matte = predict_matte(network_of(pipeline), *aligned)
    assert matte.shape == (256, 256)
    assert matte.dtype == np.float32
    assert matte.min() == 0
    assert matte.max() == 1
    assert matte[120:200, 90:166].min() > 0.95  # the face
    assert matte[20:100, :16].max() < 0.2  # the flag beside her
    assert 0.3 < matte.mean() < 0.7


def test_outside_the_photo_there_is_no_person(pipeline: Pipeline, aligned: Aligned) -> None:
    image, alignment, crop = aligned
    border = np.tile(np.arange(256, dtype=np.float32) - 127.5, (256, 1))  # the photo's left half
    cut = Crop(crop.pixels, border)  # lies outside
    matte = predict_matte(network_of(pipeline), image, alignment, cut)
    np.testing.assert_array_equal(matte, predict_matte(network_of(pipeline), *aligned))
    shown = fade_out(matte, cut)
    assert (shown[:, :80] == 0).all()
    assert shown[150, 140] > 0.95
    np.testing.assert_array_equal(shown[:, 128:], matte[:, 128:])


def test_a_mirror_image_has_the_mirrored_matte(pipeline: Pipeline, aligned: Aligned) -> None:
    """The network alone does not see both alike, so it is shown both."""
    image, alignment, crop = aligned
    mirrored = Crop(np.ascontiguousarray(crop.pixels[:, ::-1]), crop.border)
    network = network_of(pipeline)
    found = predict_matte(network, image, alignment, mirrored)
    expected = predict_matte(network, image, alignment, crop)[:, ::-1]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    once = replace(network.model, views="one")
    one = predict_matte(OnnxNetwork(once), image, alignment, crop)
    assert abs(one - expected[:, ::-1]).max() > 0.1


def keep(matte: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(keep_attached(ArrayCalculus(len(matte), CELLS), matte), np.float32)


def draw_head() -> NDArray[np.float32]:
    """A head with shoulders, `(256, 256)`."""
    matte = np.zeros((256, 256), np.float32)
    matte[40:220, 70:186] = 1
    matte[210:, 20:236] = 1
    return matte


def test_islands_and_veils_go_and_hair_stays() -> None:
    head = draw_head()
    head[60:140, 186:192] = 0.5  # the soft edge of hair
    head[100:112, 30:70] = 1  # a lock that leads outwards
    head[60:112, 30:40] = 1  # and up
    kept = keep(head)
    np.testing.assert_array_equal(kept[head == 1], 1)
    assert np.abs(kept - head).max() < 0.1
    scraps = head.copy()
    scraps[20:60, 220:250] = 1  # a lamp
    scraps[150:200, 205:] = 0.4  # a veil that touches nothing, and one that hangs on to a cheek
    scraps[120:200, 8:70] = np.maximum(scraps[120:200, 8:70], 0.4)
    kept = keep(scraps)
    assert (kept[20:60, 220:250] == 0).all()
    assert kept[150:190, 215:].max() == 0
    assert kept[135:190, 8:46].max() == 0
    np.testing.assert_array_equal(kept[head == 1], 1)
    np.testing.assert_array_equal(kept[60:112, 30:40], head[60:112, 30:40])


def test_a_weak_matte_of_a_face_is_not_taken_away() -> None:
    matte = np.zeros((256, 256), np.float32)
    matte[110:200, 96:160] = 0.3
    np.testing.assert_array_equal(keep(matte), matte)


@pytest.mark.parametrize("tilt", [-0.3, 0.0, 0.3])
def test_a_head_cut_at_the_top_ends_in_a_soft_cap(tilt: float) -> None:
    y, x = np.mgrid[:256, :256].astype(np.float32)
    border = y - 60 + tilt * (x - 128)
    matte = np.zeros((256, 256), np.float32)
    matte[:, 70:186] = 1  # beyond the border the head goes on upwards
    shown = fade_out(matte, Crop(np.zeros((256, 256, 3), np.uint8), border))
    np.testing.assert_array_equal(shown[border >= 0], matte[border >= 0])
    assert (shown[border < -24] == 0).all()
    assert np.abs(np.diff(shown[:, 128])).max() < 0.1  # no hard edge
    widths = [(shown[(border < -low) & (border > -low - 2)] > 0.1).sum() for low in (1, 8, 14)]
    assert widths[0] > widths[1] > widths[2] > 0


def test_a_head_that_hardly_touches_the_border_does_not_widen_again_beyond_it() -> None:
    """The mirror image above the photo is an hourglass: of it only a small dome is shown."""
    border = np.repeat(np.arange(256, dtype=np.float32)[:, None] - 60, 256, axis=1)
    above = np.abs(np.arange(256) - 60)[:, None]
    width = 20 + 8 * np.sqrt(above)  # px on either side of the middle
    head = np.asarray(np.abs(np.arange(256) - 128)[None] <= width, np.float32)
    shown = fade_out(head, Crop(np.zeros((256, 256, 3), np.uint8), border))
    np.testing.assert_array_equal(shown[60:180], head[60:180])
    assert shown[58, 118:138].min() > 0.8
    assert (shown[:57, :106] == 0).all()
    assert (shown[:57, 150:] == 0).all()
    assert (shown[:50] == 0).all()


def test_shoulders_cut_by_the_photo_go_on_to_the_bottom_of_the_square() -> None:
    border = np.repeat(245 - np.arange(256, dtype=np.float32)[:, None], 256, axis=1)
    head = draw_head()
    shown = fade_out(head, Crop(np.zeros((256, 256, 3), np.uint8), border))
    assert shown[-1, 40:216].min() > 0.9
    np.testing.assert_array_equal(fade_out(head, Crop(np.zeros((1, 1, 3), np.uint8), head)), head)


def head_network(folder: Path) -> Path:
    """A matte network of an operator: 384 px, NHWC, 0..255 in; two channels in 0..100 out.

    Channel 1 is bright where green is: enough to see what it was fed and what was read from it.
    """
    green = helper.make_node("Slice", ["input", "from", "to", "axis"], ["green"])
    weak = helper.make_node("Mul", ["green", "scale"], ["person"])
    other = helper.make_node("Sub", ["hundred", "person"], ["background"])
    join = helper.make_node("Concat", ["background", "person"], ["output"], axis=3)
    constants = {
        "from": np.array([1]),
        "to": np.array([2]),
        "axis": np.array([3]),
        "scale": np.array(100 / 255, np.float32),
        "hundred": np.array(100, np.float32),
    }
    shape: list[str | int | None] = ["batch", 384, 384]
    graph = helper.make_graph(
        [green, weak, other, join],
        "head",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [*shape, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [*shape, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    path = folder / "head.onnx"
    onnx.save(model, path)
    content = path.read_bytes()
    tensor = {"dtype": "float32", "layout": "NHWC", "meaning": "-"}
    contract = {
        "name": "head",
        "role": "matte",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "licence": "test",
        "source": "test",
        "made_by": "test",
        "inputs": [
            {
                **tensor,
                "name": "input",
                "shape": ["N", 384, 384, 3],
                "colour": "RGB",
                "range": [0, 255],
            }
        ],
        "outputs": [
            {
                **tensor,
                "name": "output",
                "shape": ["N", 384, 384, 2],
                "colour": "-",
                "range": [0, 100],
                "channel": 1,
            }
        ],
    }
    path.with_suffix(".json").write_text(json.dumps(contract))
    return path


def test_an_operators_network_is_fed_by_its_contract(tmp_path: Path, aligned: Aligned) -> None:
    image, alignment, crop = aligned
    network = OnnxNetwork(load_model(head_network(tmp_path)))
    matte = predict_matte(network, image, alignment, crop)
    expected = keep(crop.pixels[:, :, 1].astype(np.float32) / np.float32(255))
    assert matte.shape == (256, 256)
    assert np.abs(matte - expected).mean() < 0.02


def test_a_setting_names_it(tmp_path: Path, photo: bytes) -> None:
    path = head_network(tmp_path)
    pipeline = open_pipeline(Settings(matte_model=path))
    assert network_of(pipeline).model.name == "head"
    assert pipeline.cartoonize(photo) != open_pipeline(Settings()).cartoonize(photo)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ManifestError, match="not the file of the manifest"):
        open_pipeline(Settings(matte_model=path))
    path.with_suffix(".json").unlink()
    with pytest.raises(ManifestError, match="contract"):
        open_pipeline(Settings(matte_model=path))
