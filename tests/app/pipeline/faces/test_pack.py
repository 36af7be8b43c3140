"""A folder of InsightFace's models: what is taken, and one clear line for what cannot be."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from photo2cartoon.pipeline.faces.pack import PackError, read_pack
from tests.packs import write_detector, write_landmarks

POINTS = np.zeros((106, 2))


def write_other(path: Path, side: int, values: int, kind: int = TensorProto.FLOAT) -> None:
    """Write a network that no drawing needs: identity (112 px), 3D points (192 px), age (96 px)."""
    given = helper.make_tensor_value_info("data", kind, [1, 3, side, side])
    got = helper.make_tensor_value_info("fc1", kind, [1, values])
    onnx.save(helper.make_model(helper.make_graph([], path.stem, [given], [got])), path)


def test_the_two_models_of_a_pack(tmp_path: Path) -> None:
    detector = write_detector(tmp_path / "det_10g.onnx")
    write_landmarks(tmp_path / "2d106det.onnx", POINTS)
    write_other(tmp_path / "1k3d68.onnx", 192, 3309)
    write_other(tmp_path / "w600k_r50.onnx", 112, 512)
    write_other(tmp_path / "genderage.onnx", 96, 3)
    (tmp_path / "notes.txt").write_text("not a model")

    pack = read_pack(tmp_path)

    assert (pack.detector.name, pack.detector.role) == ("det_10g", "detector")
    assert pack.detector.sha256 == hashlib.sha256(detector.read_bytes()).hexdigest()
    assert pack.detector.inputs[0].shape == (1, 3, "H", "W")
    assert pack.landmarks is not None
    assert (pack.landmarks.name, pack.landmarks.role) == ("2d106det", "landmarks")
    assert list(pack.digests) == ["det_10g.onnx", "2d106det.onnx"]
    assert all(path.is_absolute() for path in (pack.detector.path, pack.landmarks.path))


def test_a_detector_alone_is_a_pack(tmp_path: Path) -> None:
    write_detector(tmp_path / "scrfd.onnx", side=640)
    (tmp_path / "manifest.json").write_text('{"tasks": {"detection": {"path": "scrfd.onnx"}}}')
    pack = read_pack(tmp_path)
    assert pack.landmarks is None
    assert pack.detector.inputs[0].image_size == 640


def make_nothing(folder: Path) -> None:
    folder.rmdir()


def make_a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("a file")


def make_no_detector(folder: Path) -> None:
    write_landmarks(folder / "2d106det.onnx", POINTS)


def make_plain_detector(folder: Path) -> None:
    write_detector(folder / "scrfd_500m.onnx", keypoints=False)


def make_two_detectors(folder: Path) -> None:
    write_detector(folder / "a.onnx")
    write_detector(folder / "b.onnx")


def make_no_model(folder: Path) -> None:
    (folder / "det.onnx").write_bytes(b"\x0a\xff\xff\xff\xffno model")


def make_empty_file(folder: Path) -> None:
    (folder / "det.onnx").write_bytes(b"")


def make_bytes(folder: Path) -> None:
    write_detector(folder / "det.onnx")
    model = onnx.load(folder / "det.onnx")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, folder / "det.onnx")


def write_manifest(folder: Path, text: str) -> None:
    write_detector(folder / "det.onnx")
    (folder / "manifest.json").write_text(text)


def make_other_preparation(folder: Path) -> None:
    detection = {"path": "det.onnx", "preprocessing": "embedded"}
    write_manifest(folder, json.dumps({"manifest_version": 2, "tasks": {"detection": detection}}))


def make_no_manifest(folder: Path) -> None:
    write_manifest(folder, "[]")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_nothing, "is not a folder"),
        (make_a_file, "is not a folder"),
        (Path, "no .onnx file in"),
        (make_no_detector, "no file has SCRFD's outputs"),
        (make_plain_detector, "scrfd_500m.onnx has no keypoints"),
        (make_two_detectors, "leave one: a.onnx, b.onnx"),
        (make_no_model, "cannot read"),
        (make_empty_file, "is not a network"),
        (make_bytes, "float32"),
        (make_other_preparation, "asks for input as embedded"),
        (make_no_manifest, "cannot read"),
    ],
)
def test_what_is_no_pack(tmp_path: Path, make: object, said: str) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    with pytest.raises(PackError, match=said) as caught:
        read_pack(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
