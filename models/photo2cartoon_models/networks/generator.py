"""The photo2cartoon generator: U-GAT-IT with Soft-AdaLIN and four hourglass modules.

A portrait goes through two hourglasses (features of the face at five scales), two halvings, four
residual blocks and an attention that reweights channels (CAM). Four residual blocks whose
normalisation is steered by those features draw the cartoon; two doublings and two hourglasses
finish it. Written from a description of the layers, not from code; facts are those of

    U-GAT-IT        Kim et al., ICLR 2020, arXiv 1907.10830: CAM, AdaLIN, LIN
    hourglass       minivision-ai/photo2cartoon @ 6204e27 (MIT), README: Soft-AdaLIN, hourglasses

Attributes carry minivision's names (`ConvBlock1`, `HourGlass1`, ...), because they are the keys of
the published weights. All convolutions pad by reflection, so borders see the picture, not zeros.

In the shape comments B is the batch, S the side of the picture and C = 4 `ngf` (128).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor, nn

EPS = 1e-5  # added to every variance; torch's default and upstream's
SMALLEST_SIDE = 32  # px; at 16 the hourglass ends in 1 x 1, where no variance exists
STRIDE = 16  # sides are multiples of it: four halvings inside the hourglass


class Translation(NamedTuple):
    """What the generator says about a picture.

    Attributes:
        image: (B, 3, S, S), RGB, -1..1.
        cam_logit: (B, 2), unbounded: "this is a photo" by the mean and by the maximum.
        heatmap: (B, 1, S/4, S/4), >= 0: where the attention looks. Not normalised.
    """

    image: Tensor
    cam_logit: Tensor
    heatmap: Tensor


def conv3x3(dim_in: int, dim_out: int, stride: int = 1) -> list[nn.Module]:
    """Reflection pad 1 and a convolution without bias (a normalisation follows or precedes)."""
    return [nn.ReflectionPad2d(1), nn.Conv2d(dim_in, dim_out, 3, stride, bias=False)]


def lin_norm(x: Tensor, rho: Tensor) -> Tensor:
    """Mix instance and layer normalisation: rho * IN(x) + (1 - rho) * LN(x).

    Both divide by sqrt(variance + EPS), and both variances are unbiased (n - 1), unlike those of
    `InstanceNorm2d`. U-GAT-IT, equation 1; the bias correction is upstream's (`torch.var`).

    Args:
        x: (B, C, H, W).
        rho: (1, C, 1, 1), 0..1 (training clips it).
    """
    per_channel = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True) + EPS).sqrt()
    per_image = (x - x.mean((1, 2, 3), keepdim=True)) / (
        x.var((1, 2, 3), keepdim=True) + EPS
    ).sqrt()
    return rho * per_channel + (1 - rho) * per_image


class LIN(nn.Module):
    """Layer-instance normalisation with a scale and a shift of its own per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.gamma = nn.Parameter(torch.ones(1, dim, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return lin_norm(x, self.rho) * self.gamma + self.beta


class AdaLIN(nn.Module):
    """Layer-instance normalisation whose scale and shift are told from outside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.full((1, dim, 1, 1), 0.9))

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Gamma and beta: (B, C). Gamma is the scale itself, there is no 1 + gamma."""
        return lin_norm(x, self.rho) * gamma[:, :, None, None] + beta[:, :, None, None]


class SoftAdaLIN(nn.Module):
    """AdaLIN steered by a content vector (this person) and a style vector (what a cartoon is).

    gamma = (1 - w) * gamma_style + w * gamma_content, and beta likewise; w is learnt per channel,
    starts at 0 (all style) and is kept in 0..1 by training.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.w_gamma = nn.Parameter(torch.zeros(1, dim))
        self.w_beta = nn.Parameter(torch.zeros(1, dim))
        self.c_gamma = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.c_beta = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.s_gamma = nn.Linear(dim, dim)
        self.s_beta = nn.Linear(dim, dim)
        self.norm = AdaLIN(dim)

    def forward(self, x: Tensor, content: Tensor, style: Tensor) -> Tensor:
        """Content and style: (B, C)."""
        gamma = (1 - self.w_gamma) * self.s_gamma(style) + self.w_gamma * self.c_gamma(content)
        beta = (1 - self.w_beta) * self.s_beta(style) + self.w_beta * self.c_beta(content)
        return self.norm(x, gamma, beta)


class ConvBlock(nn.Module):
    """Three convolutions, each seeing the one before; their outputs side by side are the residue.

    Half of the channels come from the first, a quarter each from the others. Upstream's class
    also makes a 1 x 1 `ConvBlock4` for unequal widths, which this network never has; its
    published files carry those dead weights (`readers.weights` drops them).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ConvBlock1 = _preactivated(dim, dim // 2)
        self.ConvBlock2 = _preactivated(dim // 2, dim // 4)
        self.ConvBlock3 = _preactivated(dim // 4, dim // 4)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.ConvBlock1(x)  # (B, dim/2, H, W)
        x2 = self.ConvBlock2(x1)  # (B, dim/4, H, W)
        x3 = self.ConvBlock3(x2)  # (B, dim/4, H, W)
        return x + torch.cat((x1, x2, x3), 1)


def _preactivated(dim_in: int, dim_out: int) -> nn.Sequential:
    return nn.Sequential(nn.InstanceNorm2d(dim_in), nn.ReLU(), *conv3x3(dim_in, dim_out))


class HourGlassBlock(nn.Module):
    """Four halvings and four doublings with a skip at each scale.

    Every level has blocks of its own. Before 2020-05-04 upstream ran the first level's pair at all
    four levels, under the same keys; `readers.weights` refuses files trained that way.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ConvBlock1_1, self.ConvBlock1_2 = ConvBlock(dim), ConvBlock(dim)  # S:    skip, down
        self.ConvBlock2_1, self.ConvBlock2_2 = ConvBlock(dim), ConvBlock(dim)  # S/2:  skip, down
        self.ConvBlock3_1, self.ConvBlock3_2 = ConvBlock(dim), ConvBlock(dim)  # S/4:  skip, down
        self.ConvBlock4_1, self.ConvBlock4_2 = ConvBlock(dim), ConvBlock(dim)  # S/8:  skip, down
        self.ConvBlock5 = ConvBlock(dim)  # S/16
        self.ConvBlock6 = ConvBlock(dim)  # S/16: up
        self.ConvBlock7 = ConvBlock(dim)  # S/8:  up
        self.ConvBlock8 = ConvBlock(dim)  # S/4:  up
        self.ConvBlock9 = ConvBlock(dim)  # S/2:  up

    def forward(self, x: Tensor) -> Tensor:
        skip1, x = self.ConvBlock1_1(x), self.ConvBlock1_2(F.avg_pool2d(x, 2))  # S -> S/2
        skip2, x = self.ConvBlock2_1(x), self.ConvBlock2_2(F.avg_pool2d(x, 2))  # S/2 -> S/4
        skip3, x = self.ConvBlock3_1(x), self.ConvBlock3_2(F.avg_pool2d(x, 2))  # S/4 -> S/8
        skip4, x = self.ConvBlock4_1(x), self.ConvBlock4_2(F.avg_pool2d(x, 2))  # S/8 -> S/16
        x = self.ConvBlock6(self.ConvBlock5(x))
        x = skip4 + F.interpolate(x, scale_factor=2)  # nearest: S/16 -> S/8
        x = skip3 + F.interpolate(self.ConvBlock7(x), scale_factor=2)
        x = skip2 + F.interpolate(self.ConvBlock8(x), scale_factor=2)
        return skip1 + F.interpolate(self.ConvBlock9(x), scale_factor=2)


class HourGlass(nn.Module):
    """An hourglass, and a small picture (3 channels) that it must be able to tell.

    With `residual` the features, plus what the picture says, are added to the input. Without, the
    picture is the result.
    """

    def __init__(self, dim: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.HG = nn.Sequential(
            HourGlassBlock(dim),
            ConvBlock(dim),
            nn.Conv2d(dim, dim, 1, bias=False),
            nn.InstanceNorm2d(dim),
            nn.ReLU(),
        )
        self.Conv1 = nn.Conv2d(dim, 3, 1)
        if residual:
            self.Conv2 = nn.Conv2d(dim, dim, 1)
            self.Conv3 = nn.Conv2d(3, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.HG(x)  # (B, dim, S, S)
        picture = self.Conv1(features)  # (B, 3, S, S), unbounded
        if not self.residual:
            return picture
        return x + self.Conv2(features) + self.Conv3(picture)


class EncodeBlock(nn.Module):
    """A residual block with instance normalisation."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        first, second = conv3x3(dim, dim), conv3x3(dim, dim)
        self.conv_block = nn.Sequential(
            *first, nn.InstanceNorm2d(dim), nn.ReLU(), *second, nn.InstanceNorm2d(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class DecodeBlock(nn.Module):
    """A residual block with Soft-AdaLIN."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, bias=False)
        self.norm1 = SoftAdaLIN(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, bias=False)
        self.norm2 = SoftAdaLIN(dim)

    def forward(self, x: Tensor, content: Tensor, style: Tensor) -> Tensor:
        y = self.conv1(F.pad(x, (1, 1, 1, 1), "reflect"))
        y = F.relu(self.norm1(y, content, style))
        y = self.conv2(F.pad(y, (1, 1, 1, 1), "reflect"))
        return x + self.norm2(y, content, style)


class Generator(nn.Module):
    """Photo in, cartoon out.

    Args:
        ngf: channels at full size; everything else is a multiple of it.
        img_size: side of the pictures, px. Only the full variant depends on it.
        light: make the style vector from channel means. The full variant makes it from all of
            the S/4 x S/4 map, has 67 million more weights, and works at `img_size` only.
    """

    def __init__(self, ngf: int = 32, img_size: int = 256, light: bool = True) -> None:
        super().__init__()
        if ngf % 4:
            raise ValueError(f"ngf must be a multiple of 4, not {ngf}")
        check_side(img_size)
        self.ngf, self.img_size, self.light = ngf, img_size, light
        dim = 4 * ngf

        self.ConvBlock1 = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, ngf, 7, bias=False),
            nn.InstanceNorm2d(ngf),
            nn.ReLU(),
        )
        self.HourGlass1 = HourGlass(ngf, residual=True)
        self.HourGlass2 = HourGlass(ngf, residual=True)
        self.DownBlock1 = _down(ngf)
        self.DownBlock2 = _down(2 * ngf)
        self.EncodeBlock1, self.EncodeBlock2 = EncodeBlock(dim), EncodeBlock(dim)
        self.EncodeBlock3, self.EncodeBlock4 = EncodeBlock(dim), EncodeBlock(dim)

        self.gap_fc = nn.Linear(dim, 1)
        self.gmp_fc = nn.Linear(dim, 1)
        self.conv1x1 = nn.Conv2d(2 * dim, dim, 1)
        seen = dim if light else dim * (img_size // 4) ** 2
        self.FC = nn.Sequential(nn.Linear(seen, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())

        self.DecodeBlock1, self.DecodeBlock2 = DecodeBlock(dim), DecodeBlock(dim)
        self.DecodeBlock3, self.DecodeBlock4 = DecodeBlock(dim), DecodeBlock(dim)
        self.UpBlock1 = _up(dim)
        self.UpBlock2 = _up(2 * ngf)
        self.HourGlass3 = HourGlass(ngf, residual=True)
        self.HourGlass4 = HourGlass(ngf, residual=False)
        self.ConvBlock2 = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 3, 7, bias=False), nn.Tanh()
        )

    def forward(self, photo: Tensor) -> Translation:
        """Draw `photo`: (B, 3, S, S), RGB on white, -1..1, S a multiple of 16 from 32 up.

        The contrast and the offset of the input do not show in the output: the first convolution
        has no bias and an instance normalisation behind it. Its colour order does.

        Raises:
            ValueError: a side that the network cannot halve four times.
        """
        for side in photo.shape[2:]:
            check_side(side)
        x = self.ConvBlock1(photo)  # (B, ngf, S, S)
        x = self.HourGlass2(self.HourGlass1(x))
        x = self.DownBlock2(self.DownBlock1(x))  # (B, C, S/4, S/4)
        # Each block ends in an instance normalisation, whose mean is 0, so the four content
        # vectors are one and the same up to rounding. Kept apart for upstream's naming.
        contents = []
        for encode in (self.EncodeBlock1, self.EncodeBlock2, self.EncodeBlock3, self.EncodeBlock4):
            x = encode(x)
            contents.append(x.mean((2, 3)))  # (B, C)

        x, cam_logit = self._attend(x)
        heatmap = x.sum(1, keepdim=True)  # (B, 1, S/4, S/4)
        style = self.FC(x.mean((2, 3)) if self.light else x.flatten(1))  # (B, C)

        decoders = (self.DecodeBlock1, self.DecodeBlock2, self.DecodeBlock3, self.DecodeBlock4)
        for decode, content in zip(decoders, reversed(contents), strict=True):
            x = decode(x, content, style)
        x = self.UpBlock2(self.UpBlock1(x))  # (B, ngf, S, S)
        x = self.HourGlass4(self.HourGlass3(x))  # (B, 3, S, S)
        return Translation(self.ConvBlock2(x), cam_logit, heatmap)

    def _attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class activation map: weigh channels by what told photo from cartoon (U-GAT-IT, 2.1).

        Args:
            x: (B, C, S/4, S/4).

        Returns:
            The attended features, (B, C, S/4, S/4), and the two logits, (B, 2), mean's first.
        """
        by_mean = self.gap_fc(x.mean((2, 3)))  # (B, 1)
        by_max = self.gmp_fc(x.amax((2, 3)))  # (B, 1)
        weighted = (x * weight[:, :, None, None] for weight in cam_weights(self))
        x = F.relu(self.conv1x1(torch.cat(tuple(weighted), 1)))
        return x, torch.cat((by_mean, by_max), 1)


def cam_weights(net: Generator) -> tuple[Tensor, Tensor]:
    """The classifiers' weights, (1, C) each; their biases take no part in the attention."""
    return net.gap_fc.weight, net.gmp_fc.weight


def _down(dim: int) -> nn.Sequential:
    return nn.Sequential(*conv3x3(dim, 2 * dim, stride=2), nn.InstanceNorm2d(2 * dim), nn.ReLU())


def _up(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2), *conv3x3(dim, dim // 2), LIN(dim // 2), nn.ReLU()
    )


def check_side(side: int) -> None:
    """Raise ValueError for a side in px that the network cannot take."""
    if side < SMALLEST_SIDE or side % STRIDE:
        raise ValueError(
            f"sides must be multiples of {STRIDE} from {SMALLEST_SIDE} px up, not {side}"
        )
