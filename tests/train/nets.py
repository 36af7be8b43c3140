"""Networks for tests: random weights that make every branch count, never trained."""

import torch
from torch import Tensor

from photo2cartoon_models.networks.discriminator import Discriminator
from photo2cartoon_models.networks.generator import Generator


def generator(seed: int = 0, ngf: int = 32, img_size: int = 256, light: bool = True) -> Generator:
    """A generator whose mixing weights are all over 0..1, in evaluation mode.

    At their initial 0 (w_gamma, w_beta, LIN's rho) half of the network would be switched off.
    """
    torch.manual_seed(seed)
    net = Generator(ngf, img_size, light)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("rho", "w_gamma", "w_beta")):
                parameter.uniform_(0, 1)
            elif name.endswith((".3.gamma", ".3.beta")):  # LIN's own
                parameter.uniform_(-1, 1)
    return net.eval()


def discriminator(n_layers: int, seed: int = 0, side: int = 128) -> Discriminator:
    """A discriminator that has run, so that its spectral norms are estimates of something."""
    torch.manual_seed(seed)
    net = Discriminator(n_layers, ndf=8)
    with torch.no_grad():
        for _ in range(3):
            net(noise(1, side))
    return net.eval()


def noise(batch: int, side: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """(batch, 3, side, side), uniform in -1..1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, side, side, generator=generator, dtype=dtype) * 2 - 1
