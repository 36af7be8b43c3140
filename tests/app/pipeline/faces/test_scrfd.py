"""InsightFace's detector in the pipeline, on packs of networks of a few nodes.

What the real networks find is measured: `python -m benchmarks.detectors`.
"""

import logging
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from typer.testing import CliRunner

from photo2cartoon.cli import main as cli
from photo2cartoon.engine.etag import fingerprint
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector
from photo2cartoon.pipeline.faces.pack import INSTALL, PackError, describe
from photo2cartoon.pipeline.faces.scrfd import (
    ALARM,
    CONTOUR,
    LEFT_BROW,
    LEFT_EYE,
    RIGHT_BROW,
    RIGHT_EYE,
    ScrfdFinder,
    agree,
    read_points,
)
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.runtime.network import OnnxNetwork
from tests.packs import HALF_BOX, MARK, write_detector, write_landmarks
from tests.places import PHOTO

Image = NDArray[np.uint8]
Open = Callable[..., Pipeline]

CPU = "CPUExecutionProvider"
CELL = 32 * 512 / 640  # px of a 512 px photo: where the little detector's boxes can lie
HALF = HALF_BOX * CELL


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would be downloaded fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("something asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def image(photo: bytes) -> Image:
    """The astronaut, 512 px, her face around the corner of a cell, and a mark on her nose."""
    photo_image = decode_image(photo, 10**6)
    moved = cv2.warpAffine(photo_image, np.array([[1.0, 0, 5], [0, 1, 3]]), (512, 512))
    return mark(moved.astype(np.uint8), 236, 134)


def mark(image: Image, x: int, y: int) -> Image:
    """A copy with a spot that the little detector takes for a face, missed by its 128 px look."""
    marked = image.copy()
    marked[y : y + 4, x : x + 4] = MARK
    return marked


@pytest.fixture
def open_pack(tmp_path: Path) -> Open:
    """Open the pipeline on a pack with a detector, and with landmarks if given."""

    def open_it(points: NDArray[np.float64] | None = None) -> Pipeline:
        write_detector(tmp_path / "det.onnx")
        if points is not None:
            write_landmarks(tmp_path / "2d106det.onnx", points)
        return open_pipeline(Settings(detector="insightface", insightface_pack=tmp_path))

    return open_it


def test_the_same_face_as_the_embedded_detector(
    open_pack: Open, pipeline: Pipeline, image: Image
) -> None:
    (face,) = open_pack().cropper.detector.detect(image)
    (expected,) = pipeline.cropper.detector.detect(image)
    assert face.score > 0.9
    assert face.eyes == pytest.approx(expected.eyes, abs=2)
    assert face.box == pytest.approx(expected.box, abs=3)


def test_it_draws(open_pack: Open, image: Image) -> None:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    (picture,) = open_pack().cartoonize(data.tobytes())
    assert decode_image(picture, 10**6).shape == (256, 256, 3)


def test_what_is_no_face_is_refused_by_the_mesh(open_pack: Open, image: Image) -> None:
    detector = open_pack().cropper.detector
    painted = image.copy()
    cv2.ellipse(painted, (230, 128), (60, 75), 0, 0, 360, (127, 110, 100), -1)
    gray = np.full((512, 512, 3), 128, np.uint8)
    for picture in (mark(painted, 236, 134), mark(gray, 236, 134)):
        assert finder_of(detector).find(picture, every=True)  # proposed
        assert detector.detect(picture, every=True) == []


def finder_of(detector: FaceDetector) -> ScrfdFinder:
    finder = detector.finder
    assert isinstance(finder, ScrfdFinder)
    return finder


@pytest.fixture
def finder(tmp_path: Path) -> ScrfdFinder:
    path = write_detector(tmp_path / "det.onnx")
    return ScrfdFinder(describe(path, "detector"))


def test_a_detection_lies_where_it_is(finder: ScrfdFinder) -> None:
    (seen,) = finder.find(mark(np.full((512, 512, 3), 128, np.uint8), 236, 134), every=False)
    x, y = 9 * CELL, 5 * CELL
    assert seen.score == pytest.approx(0.8, abs=0.02)
    assert seen.box == pytest.approx([x - HALF, y - HALF, x + HALF, y + HALF], abs=0.5)
    assert seen.eyes[0] == pytest.approx([x - 0.58 * HALF, y - 0.45 * HALF], abs=0.5)
    assert seen.turn == 0


def test_close_ups_are_looked_for_at_128_px(finder: ScrfdFinder) -> None:
    gray = np.full((512, 512, 3), 128, np.uint8)
    sides = sorted(seen.side for seen in finder.find(mark(gray, 236, 132), every=False))
    assert sides == pytest.approx([2 * HALF, 10 * HALF], rel=0.02)


def test_shapes_that_hold_at_one_size_only_are_no_news(
    open_pack: Open, image: Image, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime would write nine lines a look to the log."""
    open_pack().cropper.detector.detect(image)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 129), (2000, 1), (3, 384), (2, 2000)])
def test_lines_and_points_hold_no_face(finder: ScrfdFinder, shape: tuple[int, int]) -> None:
    assert finder.find(np.full((*shape, 3), 128, np.uint8), every=True) == []


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_every_side_is_looked_at(finder: ScrfdFinder, turn: int) -> None:
    """A spot too faint for certainty is seen from all sides, at its place."""
    gray = np.full((384, 512, 3), 128, np.uint8)
    faint = mark(gray, 236, 134)
    faint[134:138, 236:240] = (238, 6, 238)
    found = [seen for seen in finder.find(faint, every=False) if seen.turn == turn]
    (seen,) = found
    centre = (seen.box[:2] + seen.box[2:]) / 2
    assert np.abs(centre - [238, 136]).max() <= CELL
    along = seen.eyes[1] - seen.eyes[0]
    roll = np.degrees(np.arctan2(along[1], along[0]))
    assert (roll - 90 * turn + 180) % 360 - 180 == pytest.approx(0, abs=5)


def test_of_much_the_same_scores_the_upright_one_is_tried_first(finder: ScrfdFinder) -> None:
    faint = mark(np.full((384, 512, 3), 128, np.uint8), 236, 134)
    faint[134:138, 236:240] = (238, 6, 238)
    found = finder.find(faint, every=False)
    assert found[0].turn == 0
    assert {seen.turn for seen in found} == {0, 1, 2, 3}


def test_any_thread_may_call_it(open_pack: Open, image: Image) -> None:
    detector = open_pack().cropper.detector
    pictures = [np.ascontiguousarray(image[:rows]) for rows in (512, 440, 380, 300)] * 4
    alone = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.detect, pictures))
    for one, other in zip(alone, together, strict=True):
        assert [face.eyes.tolist() for face in one] == [face.eyes.tolist() for face in other]


def test_its_networks_are_ours_in_all_but_their_files(
    open_pack: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2C_PROVIDER", "cpu")  # `auto` may run the mesh on OpenVINO
    with_points = open_pack(np.linspace(-0.5, 0.5, 212).reshape(106, 2))
    names = [network.model.name for network in with_points.cropper.detector.networks]
    assert names == ["det", "face_mesh", "2d106det"]
    for network in with_points.cropper.detector.networks:
        assert isinstance(network, OnnxNetwork)
        options = network.session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        assert sum(network.nodes.values()) > 0
    assert {model.path.parent for model in with_points.models} > {tmp_path}


def test_the_etag_follows_the_pack(open_pack: Open, pipeline: Pipeline) -> None:
    models = open_pack().models
    changed = [replace(models[0], sha256="0" * 64), *models[1:]]
    assert len({fingerprint(each, CPU) for each in (models, changed, pipeline.models)}) == 3


# Landmarks


def as_points(face: Face, wrong: str = "") -> NDArray[np.float64]:
    """2d106's points `(106, 2)` of a face, px, half a px off the mesh's; `wrong`: what is not."""
    points = np.empty((106, 2))
    points[:] = face.eyes.mean(axis=0)
    left, right = face.eyes
    points[LEFT_EYE] = np.linspace(left, left + (right - left) * 0.3, 10)
    points[RIGHT_EYE] = np.linspace(right, right - (right - left) * 0.3, 10)
    low, high = face.box[:2], face.box[2:]
    angles = np.linspace(0, np.pi, 33)  # the contour, ear over chin to ear
    points[CONTOUR, 0] = (low[0] + high[0]) / 2 - np.cos(angles) * (high[0] - low[0]) / 2
    points[CONTOUR, 1] = low[1] + np.sin(angles) * (high[1] - low[1])
    points[LEFT_BROW] = points[RIGHT_BROW] = [face.eyes[0, 0], low[1]]
    if wrong == "order":
        points = np.roll(points, 20, axis=0)
    if wrong == "inner corners":
        points[LEFT_EYE], points[RIGHT_EYE] = points[LEFT_EYE][-1], points[RIGHT_EYE][-1]
    if wrong == "chin":
        points[CONTOUR, 1] += 0.3 * (high[1] - low[1])
    return points + 0.5


def in_region(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """As the network gives them: -1..1 of the region that insightface cuts, 1.5 boxes wide."""
    return (points - [9 * CELL, 5 * CELL]) / (1.5 * HALF)


def test_landmarks_of_the_pack_are_used(open_pack: Open, pipeline: Pipeline, image: Image) -> None:
    (mesh,) = pipeline.cropper.detector.detect(image)
    (face,) = open_pack(in_region(as_points(mesh))).cropper.detector.detect(image)
    assert face.eyes == pytest.approx(mesh.eyes + 0.5, abs=0.7)
    assert len(face.outline) == 33 + 2 * 9
    assert face.box == pytest.approx(mesh.box + 0.5, abs=1)


@pytest.mark.parametrize("wrong", ["order", "inner corners", "chin"])
def test_landmarks_that_do_not_fit_are_not_used_and_said(
    open_pack: Open,
    pipeline: Pipeline,
    image: Image,
    wrong: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (mesh,) = pipeline.cropper.detector.detect(image)
    detector = open_pack(in_region(as_points(mesh, wrong))).cropper.detector
    with caplog.at_level(logging.WARNING):
        for _ in range(ALARM + 2):
            (face,) = detector.detect(image)
            assert face.eyes == pytest.approx(mesh.eyes, abs=2)
    assert [record.message for record in caplog.records] == ["landmarks_do_not_fit"]


@pytest.mark.parametrize("tilt", [0.0, 50.0, -120.0, 180.0])
def test_points_are_read_at_any_tilt(pipeline: Pipeline, image: Image, tilt: float) -> None:
    (mesh,) = pipeline.cropper.detector.detect(image)
    turn = cv2.getRotationMatrix2D((230.0, 128.0), tilt, 1.0)
    turned = Face(1.0, *(p @ turn[:, :2].T + turn[:, 2] for p in (mesh.eyes, mesh.outline)))
    points = as_points(mesh) @ turn[:, :2].T + turn[:, 2]
    face = read_points(points, turned)
    assert face.eyes == pytest.approx(turned.eyes, abs=1)
    assert agree(face, turned)
    assert agree(face, mesh) == (tilt == 0)


# What does not start


def test_a_detector_of_one_size_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_detector(tmp_path / "det.onnx", side=640)
    with caplog.at_level(logging.WARNING):
        finder = ScrfdFinder(describe(path, "detector"))
    assert [record.message for record in caplog.records] == ["fixed_detector_size"]
    (seen,) = finder.find(mark(np.full((512, 512, 3), 128, np.uint8), 236, 134), every=False)
    assert seen.side == pytest.approx(2 * HALF, rel=0.02)


def test_the_setting_asks_for_a_pack() -> None:
    with pytest.raises(ValidationError, match="needs P2C_INSIGHTFACE_PACK"):
        Settings(detector="insightface")


@pytest.mark.parametrize("package", ["insightface", "onnx"])
def test_a_missing_package_is_one_line(
    open_pack: Open, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackError) as caught:
        open_pack()
    assert package in str(caught.value)
    assert INSTALL in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_pack_ends_the_command_with_one_line(tmp_path: Path) -> None:
    environment = {"P2C_DETECTOR": "insightface", "P2C_INSIGHTFACE_PACK": "buffalo_l"}
    arguments = ["run", str(PHOTO), "-o", str(tmp_path / "out.png")]
    result = CliRunner().invoke(cli.commands, arguments, env=environment)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "buffalo_l is not a folder; nothing is downloaded" in result.stderr
