"""The comic generator: any size, little arithmetic, and an ONNX file with free sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from photo2cartoon_models.conversion.export import TOLERANCE, export_onnx, parity, run_onnx
from photo2cartoon_models.networks.comic import STRIDE, ComicGenerator
from tests.train.nets import noise

pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
LITE_MACS = 3.3e9  # of the light generator at 256 px


def small() -> ComicGenerator:
    """A network that draws something: at first the last layers of all its parts are zero."""
    torch.manual_seed(0)
    net = ComicGenerator((4, 6, 8, 10), (1, 1, 1, 1)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.uniform_(-0.1, 0.1)
    return net


def test_it_takes_less_arithmetic_than_the_light_generator() -> None:
    net, macs = ComicGenerator(), 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, torch.nn.Conv2d)
        macs += layer.weight.numel() * output.shape[2] * output.shape[3]

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net(noise(1, 256))
    assert 0 < macs <= LITE_MACS


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 176), (256, 64)])
def test_any_size_that_it_can_halve(height: int, width: int) -> None:
    photo = noise(2, 256)[:, :, :height, :width]
    with torch.no_grad():
        drawn = small()(photo)
    assert drawn.shape == photo.shape
    assert float(drawn.abs().max()) <= 1
    assert not torch.equal(drawn, photo)


@pytest.mark.parametrize(("height", "width"), [(16, 64), (64, 40), (33, 64)])
def test_sides_that_it_cannot_halve(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        small()(torch.zeros(1, 3, height, width))


def test_at_first_it_draws_the_photo() -> None:
    photo = noise(1, 64)
    with torch.no_grad():
        torch.testing.assert_close(ComicGenerator().eval()(photo), photo)


def test_the_overall_colour_comes_through() -> None:
    """Normalisation would give two plain pictures of different colours the same answer."""
    net = small()
    plain = torch.tensor([-0.5, 0.5])[:, None, None, None].expand(2, 3, 64, 64)
    with torch.no_grad():
        dark, light = net(plain).mean((1, 2, 3)).tolist()
    assert light - dark > 0.5


def test_its_onnx_file_draws_the_same_at_every_size() -> None:
    net = small()
    example = torch.zeros(2, 3, 64, 80)
    model = export_onnx(net, example, ("input", "output"), {}, stride=STRIDE)
    content = model.SerializeToString()
    assert max(parity(content, net, side) for side in (32, 96)) <= TOLERANCE
    photo = noise(1, 160)[:, :, :48]
    with torch.no_grad():
        expected = net(photo).numpy()
    np.testing.assert_allclose(run_onnx(content, photo.numpy()), expected, atol=TOLERANCE)
