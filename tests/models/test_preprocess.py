"""The formulas at the generator's ends, against upstream's written naively."""

import numpy as np
import pytest

from photo2cartoon_models.preprocess import composite, to_image, to_tensor


def test_composite_is_upstreams_formula_truncated() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (32, 32, 3)).astype(np.float32)
    alpha = rng.integers(0, 256, (32, 32)).astype(np.float32) / np.float32(255)

    ours = composite(image, alpha)

    weight = alpha.astype(np.float64)[:, :, None]
    theirs = (image.astype(np.float64) * weight + 255 * (1 - weight)).astype(np.uint8)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1  # float32 here, float64 there: a value on the edge may tip over
    assert (difference > 0).mean() < 1e-3


def test_composite_keeps_the_person_and_whitens_the_rest_exactly() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(composite(image, np.ones((16, 16), np.float32)), image)
    assert (composite(image, np.zeros((16, 16), np.float32)) == 255).all()
    red = composite(image, np.zeros((16, 16), np.float32), background=(255, 0, 0))
    assert (red == (255, 0, 0)).all()


def test_the_tensor_itself_is_right() -> None:
    # The generator hides a wrong range: it is invariant to contrast. So look at its input.
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = (255, 127, 0)
    tensor = to_tensor(image)
    assert tensor.shape == (3, 4, 6)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert tensor[:, 1, 2] == pytest.approx([1.0, 127 / 127.5 - 1, -1.0])
    assert tensor[:, 0, 0] == pytest.approx([-1.0, -1.0, -1.0])


def test_every_grey_level_survives_both_ways() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    there_and_back = to_image(to_tensor(image))
    assert there_and_back.shape == (16, 16, 3)
    np.testing.assert_allclose(there_and_back, image, atol=1e-4)


def test_output_beyond_the_range_does_not_wrap() -> None:
    wild = np.array([-1.5, 1.5, 0.0], np.float32).reshape(3, 1, 1)
    assert to_image(wild)[0, 0] == pytest.approx([0.0, 255.0, 127.5])
    assert composite(to_image(wild), np.ones((1, 1), np.float32))[0, 0].tolist() == [0, 255, 127]


def test_a_matte_in_bytes_or_floats_and_a_picture_of_any_size_give_the_same() -> None:
    rng = np.random.default_rng(1)
    rgba = rng.integers(0, 256, (301, 517, 4), np.uint8)  # more than one band, and a rest
    alpha = rgba[:, :, 3].astype(np.float32) / np.float32(255)
    laid = composite(rgba[:, :, :3], rgba[:, :, 3])
    weight = alpha[:, :, None]
    whole = (rgba[:, :, :3] * weight + np.float32(255) * (1 - weight)).astype(np.uint8)
    np.testing.assert_array_equal(laid, whole)
    np.testing.assert_array_equal(composite(rgba[:, :, :3], alpha), whole)
