"""The matte holds the person and nothing outside the photo."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.alignment import Alignment, Crop, crop_face, estimate_alignment
from app.decode import decode_image
from app.matte import predict_matte
from app.pipeline import Pipeline

Aligned = tuple[NDArray[np.uint8], Alignment, Crop]


@pytest.fixture(scope="module")
def aligned(pipeline: Pipeline, photo: bytes) -> Aligned:
    image = decode_image(photo, 10**6)
    (face,) = pipeline.detector.detect(image)
    alignment = estimate_alignment(face, (512, 512))
    return image, alignment, crop_face(image, alignment, 256)


def test_the_person_is_in_and_the_background_out(pipeline: Pipeline, aligned: Aligned) -> None:
    matte = predict_matte(pipeline.matte, *aligned)
    assert matte.shape == (256, 256)
    assert matte.dtype == np.float32
    assert matte.min() == 0
    assert matte.max() == 1
    assert matte[120:200, 90:166].min() > 0.95  # the face
    assert matte[20:100, :16].max() < 0.2  # the flag beside her
    assert 0.3 < matte.mean() < 0.7


def test_outside_the_photo_there_is_no_person(pipeline: Pipeline, aligned: Aligned) -> None:
    image, alignment, crop = aligned
    inside = crop.inside.copy()
    inside[:, :128] = 0
    matte = predict_matte(pipeline.matte, image, alignment, Crop(crop.pixels, inside))
    assert (matte[:, :128] == 0).all()
    assert matte[150, 140] > 0.95
