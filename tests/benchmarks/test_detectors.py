"""The comparison of the detectors runs, and tells a moved face from the same one."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.detectors import compare, main
from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.faces.detector import Face
from tests.packs import MARK, write_detector


def test_both_detectors_over_a_folder(
    tmp_path: Path,
    photo: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    photos, pack = tmp_path / "photos", tmp_path / "pack"
    photos.mkdir()
    pack.mkdir()
    write_detector(pack / "det.onnx")
    move = np.array([[1.0, 0, 5], [0, 1, 3]])
    image = cv2.warpAffine(decode_image(photo, 10**6), move, (512, 512)).astype(np.uint8)
    image[134:138, 236:240] = MARK
    (photos / "with a mark.png").write_bytes(encode_image(image, "png"))
    (photos / "without.jpg").write_bytes(photo)
    main(photos, pack)
    said = capsys.readouterr().out
    assert "100.00%" in said
    assert "50.00%" in said
    assert "the same face 1 times, another one 0 times" in said
    assert "roll, degrees" in said


def test_differences_are_shares_of_the_square() -> None:
    eyes = np.array([[40.0, 50.0], [60.0, 50.0]])
    outline = np.array([[30.0, 40.0], [70.0, 80.0]])
    face = Face(1.0, eyes, outline)  # its square has a side of 84 px
    shift = np.array([8.4, 0.0])
    moved = Face(1.0, eyes + shift, outline + shift)
    row = compare(face, moved, (200, 200))
    assert row["centre, %"] == pytest.approx(10, abs=1)
    assert row["side, %"] == pytest.approx(0, abs=2.5)
    assert row["roll, degrees"] == 0
    tilted = Face(1.0, np.array([[40.0, 50.0], [60.0, 52.0]]), outline)
    assert compare(face, tilted, (200, 200))["roll, degrees"] == pytest.approx(5.71, abs=0.01)
