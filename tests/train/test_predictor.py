"""PaddleGAN's users hand their own weights to the predictor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from photo2cartoon import Photo2CartoonPredictor
from tests.places import PHOTO
from tests.train import files, nets


def test_published_weights_are_converted_once(tmp_path: Path) -> None:
    weights = files.flat_pdparams(
        tmp_path / "mine.pdparams", files.paddle(nets.generator(ngf=8)), 4
    )
    cartoon = Photo2CartoonPredictor(None, weight_path=weights).run(PHOTO)
    assert cartoon.shape == (256, 256, 3)
    made = tmp_path / "mine.onnx"
    before = made.stat().st_mtime_ns
    again = Photo2CartoonPredictor(None, weight_path=weights).run(PHOTO)
    np.testing.assert_array_equal(again, cartoon)
    assert made.stat().st_mtime_ns == before
    weights.write_bytes(b"other weights")  # newer than what was made of the old ones
    os.utime(weights, (made.stat().st_mtime + 10, made.stat().st_mtime + 10))
    with pytest.raises(ValueError, match="cannot convert"):
        Photo2CartoonPredictor(None, weight_path=weights)
