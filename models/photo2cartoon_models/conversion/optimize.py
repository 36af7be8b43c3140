"""The same generator in a form that ONNX Runtime runs faster on a CPU.

Every rewrite is exact algebra: with real numbers the pictures would be equal, in float32 they
differ by the order of sums. Which of them pay, and what was tried and did not, stands with numbers
in `docs/network.md`. The rewritten network draws pictures of one fixed side, and only pictures.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor, nn

from photo2cartoon_models.networks.generator import (
    EPS,
    LIN,
    ConvBlock,
    Generator,
    HourGlass,
    HourGlassBlock,
    SoftAdaLIN,
)


def add_doubled(skip: Tensor, low: Tensor) -> Tensor:
    """`skip` plus `low` doubled by nearest neighbour.

    Only the columns are doubled in memory; a row of `low` is added to two rows of `skip`.
    """
    _, channels, height, width = low.shape
    wide = F.interpolate(low, scale_factor=(1.0, 2.0))  # (B, C, H, 2W)
    pairs = skip.reshape(-1, channels, height, 2, 2 * width)
    return (pairs + wide[:, :, :, None]).reshape(-1, channels, 2 * height, 2 * width)


Parts = tuple[Tensor, Tensor, Tensor]  # half and two quarters of the channels, (B, ., H, W) each


class FastConvBlock(nn.Module):
    """The dense block on channels kept apart as its three convolutions make them.

    Nothing has to be put side by side, and the parts are small enough for the cache of a core.
    The first convolution becomes a sum of three, of which ONNX Runtime reads the two of eight
    channels without moving them into blocks first.
    """

    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        first, second, third = (
            part[3].get_parameter("weight").detach()
            for part in (block.ConvBlock1, block.ConvBlock2, block.ConvBlock3)
        )
        widths = [len(kernel) for kernel in (first, second, third)]
        self.first = nn.ParameterList(torch.split(first, widths, 1))  # (dim/2, ., 3, 3) each
        self.second, self.third = nn.Parameter(second), nn.Parameter(third)

    def forward(self, parts: Parts) -> Parts:
        a, b, c = parts
        of_a, of_b, of_c = self.first
        x1 = F.conv2d(activated(a), of_a)
        x1 = x1 + F.conv2d(activated(b), of_b)
        x1 = x1 + F.conv2d(activated(c), of_c)
        x2 = F.conv2d(activated(x1), self.second)
        x3 = F.conv2d(activated(x2), self.third)
        return a + x1, b + x2, c + x3


def activated(x: Tensor) -> Tensor:
    """What each convolution of the block sees: (B, C, H, W) to (B, C, H + 2, W + 2)."""
    return F.pad(F.relu(F.instance_norm(x, eps=EPS)), (1, 1, 1, 1), "reflect")


class FastHourGlassBlock(nn.Module):
    """The hourglass on channels kept apart, with `add_doubled` at its skips."""

    def __init__(self, block: HourGlassBlock) -> None:
        super().__init__()

        def fast(name: str) -> FastConvBlock:
            return FastConvBlock(block.get_submodule(name))  # type: ignore[arg-type]

        self.skips = nn.ModuleList(fast(f"ConvBlock{level}_1") for level in (1, 2, 3, 4))
        self.downs = nn.ModuleList(fast(f"ConvBlock{level}_2") for level in (1, 2, 3, 4))
        self.bottom = fast("ConvBlock5")  # S/16
        self.ups = nn.ModuleList(fast(f"ConvBlock{k}") for k in (6, 7, 8, 9))  # S/16 .. S/2

    def forward(self, x: Parts) -> Parts:
        skips = []
        for skip, down in zip(self.skips, self.downs, strict=True):  # S -> S/16
            skips.append(skip(x))
            x = down(tuple(F.avg_pool2d(part, 2) for part in x))
        x = self.bottom(x)
        for up in self.ups:  # S/16 -> S
            a, b, c = (add_doubled(*pair) for pair in zip(skips.pop(), up(x), strict=True))
            x = a, b, c
        return x


class Pointwise(nn.Module):
    """A 1 x 1 convolution as one over a line of pixels, which is a plain matrix product.

    ONNX Runtime moves the operands of two-dimensional convolutions into blocks of channels and
    back; for so little arithmetic per value the moves cost more than they bring.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().flatten(1)[:, :, None])  # (out, in, 1)
        self.bias = None if bias is None else nn.Parameter(bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv1d(x.flatten(2), self.weight, self.bias)  # (B, out, H W)
        return y.reshape(-1, y.shape[1], *x.shape[2:])


class FastHourGlass(nn.Module):
    """An hourglass whose three 1 x 1 convolutions at the end are one.

    x + Conv2(f) + Conv3(Conv1(f)) = x + W f + b with W = W2 + W3 W1, b = b2 + b3 + W3 b1.
    """

    def __init__(self, hourglass: HourGlass) -> None:
        super().__init__()
        block, last, mix, self.norm, self.relu = hourglass.HG
        self.residual = hourglass.residual
        self.block = FastHourGlassBlock(block)  # type: ignore[arg-type]
        self.last = FastConvBlock(last)  # type: ignore[arg-type]
        self.mix = Pointwise(mix.get_parameter("weight"), None)
        weight, bias = _fold_output(hourglass)
        dim = len(mix.get_parameter("weight"))
        widths = [dim // 2, dim // 4, dim // 4] if self.residual else [3]
        pairs = zip(torch.split(weight, widths), torch.split(bias, widths), strict=True)
        self.outs = nn.ModuleList(Pointwise(w, b) for w, b in pairs)

    def forward(self, x: Parts) -> Parts:
        """Parts to parts; without `residual` to one, the picture (B, 3, S, S)."""
        features = torch.cat(self.last(self.block(x)), 1)  # (B, dim, S, S)
        features = self.relu(self.norm(self.mix(features)))
        outs = (out(features) for out in self.outs)
        if not self.residual:
            return tuple(outs)
        return tuple(part + out for part, out in zip(x, outs, strict=True))


def _fold_output(hourglass: HourGlass) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of what follows the features; float64 inside."""
    dtype = hourglass.Conv1.weight.dtype
    w1, b1 = (p.detach().double().squeeze() for p in hourglass.Conv1.parameters())
    if not hourglass.residual:
        return w1.to(dtype), b1.to(dtype)
    w2, b2 = (p.detach().double().squeeze() for p in hourglass.Conv2.parameters())
    w3, b3 = (p.detach().double().squeeze() for p in hourglass.Conv3.parameters())
    return (w2 + w3 @ w1).to(dtype), (b2 + b3 + w3 @ b1).to(dtype)


def lin_affine(x: Tensor, rho: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """LIN and AdaLIN as one scale and one shift per channel, from one set of statistics.

    With mean m and variance v of each channel over n pixels, the mean and variance of the whole
    picture are M = mean(m), V = mean(v + (m - M)^2); no second look at the pixels is needed. Then

        (rho (x - m)/s + (1 - rho) (x - M)/S) gamma + beta
            = (x - m) gamma (rho/s + (1 - rho)/S) + gamma (1 - rho) (m - M)/S + beta

    with s, S from the unbiased variances. The statistics are centred before they are squared:
    the mean of squares minus the square of the mean loses all digits on flat pictures.

    Args:
        x: (B, C, H, W).
        rho: (1, C, 1, 1), share of the instance normalisation.
        gamma: (B or 1, C, 1, 1), scale.
        beta: (B or 1, C, 1, 1), shift.
    """
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    mean = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    centred = x - mean
    variance = (centred * centred).mean((2, 3), keepdim=True)
    offset = mean - mean.mean(1, keepdim=True)
    whole = (variance + offset * offset).mean(1, keepdim=True)  # (B, 1, 1, 1)
    count = channels * pixels
    inverse = (variance * (pixels / (pixels - 1)) + EPS).rsqrt()
    whole_inverse = (whole * (count / (count - 1)) + EPS).rsqrt()
    layer = gamma * (1 - rho) * whole_inverse
    return centred * (gamma * rho * inverse + layer) + (layer * offset + beta)


class FastUp(nn.Module):
    """Doubling, reflection pad, 3 x 3 convolution, LIN and ReLU without the doubled picture.

    A doubled row is its neighbour's twin, so that of three kernel rows two always fall on the same
    small row: a 2 x 2 convolution of the small picture for each of the four pixels of a square,
    4/9 of the multiplications. Reflection at the doubled border repeats the small border row.
    """

    def __init__(self, up: nn.Sequential) -> None:
        super().__init__()
        self.lin: LIN = up[3]  # type: ignore[assignment]
        weight = up[2].get_parameter("weight")
        kernel = weight.detach().double()  # (out, in, 3, 3)
        # Row 2r sees rows r-1, r, r of the small picture; row 2r+1 sees r, r, r+1.
        merge = torch.tensor(
            [[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64
        )  # (which of two, small row, kernel row)
        squares = torch.einsum("pik,qjl,ockl->opqcij", merge, merge, kernel)
        self.kernel = nn.Parameter(squares.flatten(0, 2).to(weight.dtype))  # (out 2 2, in, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, height, width = len(self.kernel) // 4, x.shape[2], x.shape[3]
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), "replicate"), self.kernel)  # (B, 4 out, H+1, W+1)
        y = y.reshape(-1, out, 2, 2, height + 1, width + 1)
        corners = [y[:, :, p, q, p : p + height, q : q + width] for p in (0, 1) for q in (0, 1)]
        y = F.pixel_shuffle(torch.stack(corners, 2).flatten(1, 2), 2)  # (B, out, 2H, 2W)
        return F.relu(lin_affine(y, self.lin.rho, self.lin.gamma, self.lin.beta))


class Steering(nn.Module):
    """All sixteen gammas and betas of the decoder at once.

    The four content vectors are one (each encoder block adds something of mean 0), so the layers
    that see it are one wide layer, those that see the style another, and the shares w and 1 - w
    are folded into their weights.
    """

    def __init__(self, norms: list[SoftAdaLIN]) -> None:
        super().__init__()
        kinds = [(norm, kind) for norm in norms for kind in ("gamma", "beta")]
        content = [norm.get_submodule(f"c_{kind}") for norm, kind in kinds]
        style = [norm.get_submodule(f"s_{kind}") for norm, kind in kinds]
        with torch.no_grad():
            first = [layers.get_submodule("0") for layers in content]
            second = [layers.get_submodule("2") for layers in content]
            share = torch.cat([norm.get_parameter(f"w_{kind}")[0] for norm, kind in kinds])
            self.first = nn.Parameter(_cat(first, "weight"))  # (16 C, C)
            self.first_bias = nn.Parameter(_cat(first, "bias"))  # (16 C,)
            mixed = _cat(second, "weight") * share[:, None]  # (16 C, C)
            each = mixed.reshape(len(kinds), -1, mixed.shape[1])  # (16, C out, C in)
            self.second = nn.Parameter(each.mT.contiguous())
            self.style = nn.Parameter(_cat(style, "weight") * (1 - share)[:, None])  # (16 C, C)
            bias = _cat(style, "bias") * (1 - share) + _cat(second, "bias") * share
            self.bias = nn.Parameter(bias)
        self.count = len(kinds)

    def forward(self, content: Tensor, style: Tensor) -> list[Tensor]:
        """(B, C) both; gamma and beta of each normalisation in turn, (B, C, 1, 1) each."""
        hidden = F.relu(F.linear(content, self.first, self.first_bias))  # (B, 16 C)
        hidden = hidden.reshape(-1, self.count, 1, content.shape[1])
        mine = (hidden @ self.second).flatten(1)  # (B, 16 C)
        both = F.linear(style, self.style, self.bias) + mine
        return list(both[:, :, None, None].chunk(self.count, 1))


def _cat(layers: list[nn.Module], name: str) -> Tensor:
    return torch.cat([layer.get_parameter(name) for layer in layers])


class FastGenerator(nn.Module):
    """The rewritten generator; shares the convolutions of the one it was made of."""

    def __init__(self, net: Generator) -> None:
        super().__init__()
        self.net = net
        self.hourglasses = nn.ModuleList(
            FastHourGlass(h)
            for h in (net.HourGlass1, net.HourGlass2, net.HourGlass3, net.HourGlass4)
        )
        self.decoders = (net.DecodeBlock1, net.DecodeBlock2, net.DecodeBlock3, net.DecodeBlock4)
        norms = [norm for decode in self.decoders for norm in (decode.norm1, decode.norm2)]
        self.steering = Steering(norms)
        self.rhos = [norm.norm.rho for norm in norms]
        self.up1, self.up2 = FastUp(net.UpBlock1), FastUp(net.UpBlock2)
        # conv1x1 of (x gap, x gmp) side by side is linear in x: the weights multiply its columns.
        wide = net.conv1x1.weight.detach().squeeze()  # (C, 2 C)
        by_mean, by_max = wide.chunk(2, 1)
        attend = by_mean * net.gap_fc.weight.detach() + by_max * net.gmp_fc.weight.detach()
        self.attend = Pointwise(attend, net.conv1x1.bias)

    def forward(self, photo: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 3, S, S), -1..1 both."""
        net, (glass1, glass2, glass3, glass4) = self.net, self.hourglasses
        x = torch.cat(glass2(glass1(self._split(net.ConvBlock1(photo)))), 1)  # (B, ngf, S, S)
        x = net.DownBlock2(net.DownBlock1(x))  # (B, C, S/4, S/4)
        content = x.mean((2, 3))
        x = net.EncodeBlock4(net.EncodeBlock3(net.EncodeBlock2(net.EncodeBlock1(x))))
        x = F.relu(self.attend(x))
        style = net.FC(x.mean((2, 3)) if net.light else x.flatten(1))
        x = self._decode(x, self.steering(content, style))
        (x,) = glass4(glass3(self._split(self.up2(self.up1(x)))))  # (B, 3, S, S)
        return net.ConvBlock2(x)

    @staticmethod
    def _split(x: Tensor) -> Parts:
        dim = x.shape[1]
        a, b, c = torch.split(x, [dim // 2, dim // 4, dim // 4], 1)
        return a, b, c

    def _decode(self, x: Tensor, steering: list[Tensor]) -> Tensor:
        affine = iter(zip(self.rhos, steering[::2], steering[1::2], strict=True))
        for decode in self.decoders:
            y = decode.conv1(F.pad(x, (1, 1, 1, 1), "reflect"))
            y = F.relu(lin_affine(y, *next(affine)))
            y = decode.conv2(F.pad(y, (1, 1, 1, 1), "reflect"))
            x = x + lin_affine(y, *next(affine))
        return x
