"""The generator against the naive reference, and the facts that people rely on."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from photo2cartoon_models.networks.generator import Generator, Translation, lin_norm
from tests.train import nets, reference

EXACT = 1e-9  # float64; the same sums in another order


def as_arrays(net: torch.nn.Module) -> dict[str, NDArray[np.float64]]:
    return {name: value.double().numpy() for name, value in net.state_dict().items()}


@torch.no_grad()
def both(
    net: Generator, photo: torch.Tensor
) -> tuple[Translation, list[tuple[NDArray[np.float64], ...]]]:
    weights = as_arrays(net)
    return net.double()(photo), [reference.generator(weights, one.numpy()) for one in photo]


@pytest.mark.parametrize(
    ("ngf", "side", "light"), [(32, 64, True), (8, 96, True), (8, 32, True), (8, 64, False)]
)
def test_equals_the_naive_reference(ngf: int, side: int, light: bool) -> None:
    net = nets.generator(ngf=ngf, img_size=side, light=light)
    found, expected = both(net, nets.noise(2, side, dtype=torch.float64))
    for one, (image, cam_logit, heatmap) in enumerate(expected):
        assert abs(found.image[one].numpy() - image).max() <= EXACT
        assert abs(found.cam_logit[one].numpy() - cam_logit).max() <= EXACT
        assert abs(found.heatmap[one, 0].numpy() - heatmap).max() <= EXACT
    assert np.std(expected[0][0]) > 0.1  # a flat picture would prove nothing


@torch.no_grad()
def test_oblong_pictures_work() -> None:
    net = nets.generator(ngf=8)
    photo = nets.noise(1, 80, dtype=torch.float64)[..., :48]
    found, ((image, _, _),) = both(net, photo)
    assert abs(found.image[0].numpy() - image).max() <= EXACT


@pytest.mark.parametrize(
    "part", ["conv_block.1", "norm1.c_gamma.0", "norm2.w_beta", "HG.0.ConvBlock3_2"]
)
def test_the_comparison_sees_every_part(part: str) -> None:
    """The reference is no use if a wrong weight would pass."""
    net = nets.generator(ngf=8)
    photo = nets.noise(1, 32, dtype=torch.float64)
    weights = as_arrays(net)
    name = next(name for name in weights if part in name)
    weights[name] = weights[name][..., ::-1]
    wrong, _, _ = reference.generator(weights, photo[0].numpy())
    with torch.no_grad():
        assert abs(net.double()(photo).image[0].numpy() - wrong).max() > 1e-3


@torch.no_grad()
def test_float32_is_close_to_float64() -> None:
    net = nets.generator()
    photo = nets.noise(1, 256)
    single = net(photo).image
    assert float((net.double()(photo.double()).image - single).abs().max()) <= 1e-4


@torch.no_grad()
def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    net = nets.generator(ngf=8).double()
    photos = nets.noise(3, 64, dtype=torch.float64)
    alone = torch.cat([net(photo[None]).image for photo in photos])
    assert float((net(photos).image - alone).abs().max()) <= EXACT


@torch.no_grad()
def test_offset_is_invisible_and_colour_order_is_not() -> None:
    """A wrong normalisation cannot be seen in the picture; swapped colours can."""
    net = nets.generator(ngf=8).double()
    photo = nets.noise(1, 64, dtype=torch.float64)
    image = net(photo).image
    assert float((net(photo + 0.3).image - image).abs().max()) < 1e-6
    assert float((net(photo * 127.5).image - image).abs().max()) < 1e-2
    assert float((net(photo.flip(1)).image - image).abs().max()) > 0.1


def test_key_names_and_sizes() -> None:
    state = nets.generator().state_dict()
    assert len(state) == 406 - 56  # without the dead ConvBlock4
    assert sum(value.numel() for value in state.values()) == 3_831_079 - 56 * 32 * 32
    with torch.device("meta"):  # 67 million weights that nobody has to fill
        full = Generator(light=False).state_dict()
    assert full["FC.0.weight"].shape == (128, 128 * 64 * 64)
    assert full.keys() == state.keys()


@pytest.mark.parametrize("side", [0, 16, 31, 250])
def test_impossible_sides_are_refused(side: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16 from 32"):
        Generator(ngf=8, img_size=side)
    with pytest.raises(ValueError, match="multiples of 16 from 32"):
        nets.generator(ngf=8)(torch.zeros(1, 3, 64, side))


def test_layer_normalisation_uses_the_unbiased_variance() -> None:
    x = torch.tensor([[[[0.0, 2.0]], [[4.0, 6.0]]]], dtype=torch.float64)  # (1, 2, 1, 2)
    rho = torch.tensor([1.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    found = lin_norm(x, rho)
    instance = np.array([-1, 1]) / np.sqrt(2 + 1e-5)  # n - 1 = 1
    layer = np.array([1, 3]) / np.sqrt(20 / 3 + 1e-5)  # n - 1 = 3
    assert abs(found.numpy().reshape(2, 2) - [instance, layer]).max() < 1e-12


def test_gradients_reach_every_weight() -> None:
    net = nets.generator(ngf=8).train()
    image, cam_logit, _ = net(nets.noise(1, 32))
    (image.mean() + cam_logit.sum()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
