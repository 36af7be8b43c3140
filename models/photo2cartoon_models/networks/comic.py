"""The comic generator: draws any photo of any size, a person and the place around alike.

A residual U-Net (Ronneberger et al. 2015, arXiv 1505.04597) that works at half the photo's side:
the first convolution halves it and depth-to-space gives it back (Shi et al. 2016, arXiv
1609.05158). What the network draws is added to the photo, so that it spends nothing on what stays
as it is. There is no normalisation, as in EDSR (Lim et al. 2017, arXiv 1707.02921): normalising a
picture's features takes its overall colour away. The mean of the coarsest features, a vector for
the whole picture, scales and shifts them (squeeze and excitation, Hu et al. 2018, arXiv
1709.01507): how large a head is, and how bright the photo, decide how it is drawn.
"""

from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor, nn

STRIDE = 16  # sides are multiples of it: four halvings
SMALLEST_SIDE = 32  # px


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in; at first it adds nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(dim, dim, 3, padding=1)
        self.second = nn.Conv2d(dim, dim, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + added


class Whole(nn.Module):
    """Scale and shift every channel by what the picture as a whole is like."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(dim, dim)
        self.excite = nn.Linear(dim, 2 * dim)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.excite(F.relu(self.squeeze(x.mean((2, 3))))).chunk(2, 1)
        changed: Tensor = x * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
        return changed


class ComicGenerator(nn.Module):
    """Photo in, comic drawing out.

    Args:
        dims: channels at a half, a quarter, an eighth and a sixteenth of the photo's side.
        blocks: residual blocks there, on the way down.
    """

    def __init__(
        self,
        dims: tuple[int, int, int, int] = (24, 48, 96, 128),
        blocks: tuple[int, int, int, int] = (1, 1, 1, 2),
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, dims[0], 6, stride=2, padding=2)
        self.down = nn.ModuleList(
            nn.Sequential(*(Residual(dim) for _ in range(count)))
            for dim, count in zip(dims, blocks, strict=True)
        )
        steps = list(pairwise(dims))
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)
        self.whole = Whole(dims[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in steps)
        self.up = nn.ModuleList(Residual(dim) for dim in dims[:-1])
        self.out = nn.Conv2d(dims[0], 12, 3, padding=1)
        for layer in (self.stem, *self.halve, *self.narrow):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, photo: Tensor) -> Tensor:
        """Draw `photo`: float32 (N, 3, H, W), RGB, -1..1, on white or whole; the same comes back.

        In training what comes back is not held to -1..1, so that every pixel has a gradient.

        Raises:
            ValueError: H or W is no multiple of 16, or less than 32.
        """
        for side in photo.shape[2:]:
            if side % STRIDE or side < SMALLEST_SIDE:
                raise ValueError(
                    f"sides must be multiples of {STRIDE} from {SMALLEST_SIDE} px up, not {side}"
                )
        x = self.stem(photo)
        skips = []
        for level, halve in zip(self.down, [*self.halve, None], strict=True):
            x = level(x)
            if halve is not None:
                skips.append(x)
                x = halve(x)
        x = self.whole(x)
        for narrow, up, skip in zip(self.narrow[::-1], self.up[::-1], skips[::-1], strict=True):
            x = up(skip + F.interpolate(narrow(x), scale_factor=2.0))
        drawn = photo + F.pixel_shuffle(self.out(F.relu(x)), 2)
        return drawn if self.training else drawn.clamp(-1, 1)
