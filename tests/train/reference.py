"""The network a second time, as naive as it can be: numpy, float64, one picture, no classes.

Written from the table of layers, to be compared with `networks.generator`: it shares nothing with
it but the names of the weights. Activations are (C, H, W).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


def reflect(x: Array, width: int) -> Array:
    return np.pad(x, ((0, 0), (width, width), (width, width)), "reflect")


def conv(x: Array, weight: Array, stride: int = 1, bias: Array | None = None) -> Array:
    """Cross-correlation without padding: one tap of the kernel after the other."""
    kernel = weight.shape[2]
    height, width = ((size - kernel) // stride + 1 for size in x.shape[1:])
    y = np.zeros((weight.shape[0], height, width))
    for i in range(kernel):
        for j in range(kernel):
            seen = x[:, i : i + stride * height : stride, j : j + stride * width : stride]
            y += np.einsum("oc,chw->ohw", weight[:, :, i, j], seen)
    return y if bias is None else y + bias[:, None, None]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def instance_norm(x: Array) -> Array:
    centred = x - x.mean((1, 2), keepdims=True)
    return centred / np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-5)


def lin(x: Array, rho: Array) -> Array:
    """rho * IN + (1 - rho) * LN, with variances over n - 1."""

    def normed(axes: tuple[int, ...]) -> Array:
        centred = x - x.mean(axes, keepdims=True)
        return centred / np.sqrt(x.var(axes, keepdims=True, ddof=1) + 1e-5)

    rho = rho.reshape(-1, 1, 1)
    return rho * normed((1, 2)) + (1 - rho) * normed((0, 1, 2))


def twice(x: Array) -> Array:
    return x.repeat(2, 1).repeat(2, 2)


def halved(x: Array) -> Array:
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def conv_block(w: Weights, name: str, x: Array) -> Array:
    x1 = conv(reflect(relu(instance_norm(x)), 1), w[f"{name}.ConvBlock1.3.weight"])
    x2 = conv(reflect(relu(instance_norm(x1)), 1), w[f"{name}.ConvBlock2.3.weight"])
    x3 = conv(reflect(relu(instance_norm(x2)), 1), w[f"{name}.ConvBlock3.3.weight"])
    return x + np.concatenate((x1, x2, x3))


def hourglass(w: Weights, name: str, x: Array) -> Array:
    skips, y = [], x
    for level in (1, 2, 3, 4):
        skips.append(conv_block(w, f"{name}.HG.0.ConvBlock{level}_1", y))
        y = conv_block(w, f"{name}.HG.0.ConvBlock{level}_2", halved(y))
    y = conv_block(w, f"{name}.HG.0.ConvBlock5", y)
    for block in (6, 7, 8, 9):
        y = skips.pop() + twice(conv_block(w, f"{name}.HG.0.ConvBlock{block}", y))
    y = conv_block(w, f"{name}.HG.1", y)
    features = relu(instance_norm(conv(y, w[f"{name}.HG.2.weight"])))
    picture = conv(features, w[f"{name}.Conv1.weight"], bias=w[f"{name}.Conv1.bias"])
    if f"{name}.Conv2.weight" not in w:
        return picture
    from_features = conv(features, w[f"{name}.Conv2.weight"], bias=w[f"{name}.Conv2.bias"])
    return (
        x + from_features + conv(picture, w[f"{name}.Conv3.weight"], bias=w[f"{name}.Conv3.bias"])
    )


def linear(w: Weights, name: str, x: Array) -> Array:
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def soft_adalin(w: Weights, name: str, x: Array, content: Array, style: Array) -> Array:
    scale_and_shift = []
    for kind in ("gamma", "beta"):
        mine = linear(w, f"{name}.c_{kind}.2", relu(linear(w, f"{name}.c_{kind}.0", content)))
        theirs = linear(w, f"{name}.s_{kind}", style)
        share = w[f"{name}.w_{kind}"][0]
        scale_and_shift.append(((1 - share) * theirs + share * mine)[:, None, None])
    gamma, beta = scale_and_shift
    return lin(x, w[f"{name}.norm.rho"]) * gamma + beta


def generator(w: Weights, x: Array) -> tuple[Array, Array, Array]:
    """(image (3, S, S), cam_logit (2,), heatmap (S/4, S/4)) of a picture (3, S, S)."""
    x = relu(instance_norm(conv(reflect(x, 3), w["ConvBlock1.1.weight"])))
    x = hourglass(w, "HourGlass2", hourglass(w, "HourGlass1", x))
    for name in ("DownBlock1", "DownBlock2"):
        x = relu(instance_norm(conv(reflect(x, 1), w[f"{name}.1.weight"], stride=2)))
    contents = []
    for k in (1, 2, 3, 4):
        y = conv(reflect(x, 1), w[f"EncodeBlock{k}.conv_block.1.weight"])
        y = conv(reflect(relu(instance_norm(y)), 1), w[f"EncodeBlock{k}.conv_block.5.weight"])
        x = x + instance_norm(y)
        contents.append(x.mean((1, 2)))

    gap, gmp = w["gap_fc.weight"][0], w["gmp_fc.weight"][0]
    by_mean, by_max = gap @ x.mean((1, 2)), gmp @ x.max((1, 2))
    logit = np.array([by_mean + w["gap_fc.bias"][0], by_max + w["gmp_fc.bias"][0]])
    x = np.concatenate((x * gap[:, None, None], x * gmp[:, None, None]))
    x = relu(conv(x, w["conv1x1.weight"], bias=w["conv1x1.bias"]))
    heatmap = x.sum(0)
    light = w["FC.0.weight"].shape[1] == x.shape[0]
    style = relu(linear(w, "FC.0", x.mean((1, 2)) if light else x.reshape(-1)))
    style = relu(linear(w, "FC.2", style))

    for k in (1, 2, 3, 4):
        content, name = contents.pop(), f"DecodeBlock{k}"
        y = conv(reflect(x, 1), w[f"{name}.conv1.weight"])
        y = relu(soft_adalin(w, f"{name}.norm1", y, content, style))
        y = conv(reflect(y, 1), w[f"{name}.conv2.weight"])
        x = x + soft_adalin(w, f"{name}.norm2", y, content, style)
    for name in ("UpBlock1", "UpBlock2"):
        y = lin(conv(reflect(twice(x), 1), w[f"{name}.2.weight"]), w[f"{name}.3.rho"])
        x = relu(y * w[f"{name}.3.gamma"][0] + w[f"{name}.3.beta"][0])
    x = hourglass(w, "HourGlass4", hourglass(w, "HourGlass3", x))
    return np.tanh(conv(reflect(x, 3), w["ConvBlock2.1.weight"])), logit, heatmap


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def spectral(w: Weights, name: str) -> Array:
    """The weight over its largest singular value, as its vectors u and v estimate it."""
    weight = w[f"{name}.weight_orig"]
    sigma = w[f"{name}.weight_u"] @ weight.reshape(len(weight), -1) @ w[f"{name}.weight_v"]
    return np.asarray(weight / sigma, np.float64)


def discriminator(w: Weights, x: Array) -> tuple[Array, Array, Array]:
    """(logit (h, w), cam_logit (2,), heatmap (h + 1, w + 1)) in evaluation mode."""
    names = [name[: -len(".bias")] for name in w if name.startswith("model.") and "bias" in name]
    for name in names:
        stride = 1 if name == names[-1] else 2
        x = leaky(conv(reflect(x, 1), spectral(w, name), stride, w[f"{name}.bias"]))
    logit = np.concatenate(
        (spectral(w, "gap_fc") @ x.mean((1, 2)), spectral(w, "gmp_fc") @ x.max((1, 2)))
    )
    raw = (w[f"{name}.weight_orig"][0][:, None, None] for name in ("gap_fc", "gmp_fc"))
    x = np.concatenate([x * weight for weight in raw])
    x = leaky(conv(x, w["conv1x1.weight"], bias=w["conv1x1.bias"]))
    return conv(reflect(x, 1), spectral(w, "conv"))[0], logit, x.sum(0)
