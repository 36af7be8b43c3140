"""A photo that serving reads, training and evaluation read too: every suffix, the same pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from photo2cartoon.pipeline.decode import decode_image
from photo2cartoon_models.evaluation import pictures
from photo2cartoon_models.files import PHOTO_SUFFIXES, find_photos
from photo2cartoon_models.training import data
from tests.places import ROOT
from tests.train import toy

HEIC = ROOT / "tests" / "data" / "corners.heic"


@pytest.mark.parametrize("suffix", sorted(PHOTO_SUFFIXES))
def test_every_suffix_is_read_everywhere(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix in (".heic", ".heif", ".hif"):  # nothing here writes them
        shutil.copy(HEIC, path)
    else:
        written = {".pjp": "JPEG", ".pjpeg": "JPEG", ".dib": "BMP"}.get(suffix)
        Image.fromarray(toy.portrait(0)).save(path, written)
    assert find_photos(tmp_path) == [path]
    served = decode_image(path.read_bytes(), 10**8).astype(int)
    assert served.std() > 10
    for read in (data.read_picture, pictures.read_picture):
        assert abs(served - read(path)).max() <= 4  # decoders round differently


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.heic"
    path.write_bytes(HEIC.read_bytes()[:200])
    with pytest.raises(data.DataError, match=r"x\.heic: not a picture"):
        data.read_picture(path)
    with pytest.raises(pictures.EvaluationError, match=r"cannot read .*x\.heic"):
        pictures.read_picture(path)
