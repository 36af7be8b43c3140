"""The same generator under Paddle's names: PaddleGAN and minivision's own Paddle version.

298 tensors on either side map one to one (PaddlePaddle/PaddleGAN @ 094a2eb, generator
`resnet_ugatit_p2c`; minivision-ai/photo2cartoon-paddle @ 38b6e53). Three things differ: names,
the matrices of linear layers (Paddle keeps them as (in, out), torch as (out, in)), and the biases
of linear layers, which Paddle's version does not have. Most of the matrices are square, so that a
forgotten transpose would not show in any shape.
"""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.readers.weights_error import WeightsError

Array = NDArray[np.float32]

# Paddle's prefix -> minivision's. Numbers in Paddle's count all layers of a sequence.
BLOCKS = {
    "DownBlock.1.": "ConvBlock1.1.",
    "DownBlock.4.": "HourGlass1.",
    "DownBlock.5.": "HourGlass2.",
    "DownBlock.7.": "DownBlock1.1.",
    "DownBlock.11.": "DownBlock2.1.",
    "UpBlock.2.": "UpBlock1.2.",
    "UpBlock.3.": "UpBlock1.3.",
    "UpBlock.7.": "UpBlock2.2.",
    "UpBlock.8.": "UpBlock2.3.",
    "UpBlock.10.": "HourGlass3.",
    "UpBlock.11.": "HourGlass4.",
    "UpBlock.13.": "ConvBlock2.1.",
}
LINEAR = re.compile(r"(gap_fc|gmp_fc|FC\.\d|\.c_(gamma|beta)\.\d|\.s_(gamma|beta))\.(weight|bias)$")


def is_paddle(names: Mapping[str, object]) -> bool:
    return "DownBlock.1.weight" in names


def minivision_name(name: str) -> str:
    """Minivision's name of the tensor that Paddle calls `name`."""
    for theirs, ours in BLOCKS.items():
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
            break
    name = re.sub(r"HG\.0\.ConvBlock([1-4])\.", r"HG.0.ConvBlock\1_2.", name)  # the way down
    name = re.sub(r"HG\.0\.ConvBlockskip([1-4])\.", r"HG.0.ConvBlock\1_1.", name)
    return re.sub(r"\.conv_block([1-3])\.", r".ConvBlock\1.", name)


def paddle_name(name: str) -> str:
    """Paddle's name of the tensor that minivision calls `name`."""
    # First the inner names: "ConvBlock1" of a hourglass is not the "ConvBlock1" of the whole.
    name = re.sub(r"(HG\.(?:1|0\.ConvBlock\w+))\.ConvBlock([1-3])\.", r"\1.conv_block\2.", name)
    name = re.sub(r"HG\.0\.ConvBlock([1-4])_2\.", r"HG.0.ConvBlock\1.", name)
    name = re.sub(r"HG\.0\.ConvBlock([1-4])_1\.", r"HG.0.ConvBlockskip\1.", name)
    for theirs, ours in BLOCKS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _is_linear(name: str, kind: str) -> bool:
    found = LINEAR.search(name)
    return found is not None and found[4] == kind


def from_paddle(weights: Mapping[str, Array]) -> dict[str, Array]:
    """Paddle's tensors under minivision's names, linear layers transposed, their biases zero.

    Exact: a bias of zero is what a missing one means.
    """
    result = {}
    for name, value in weights.items():
        ours = minivision_name(name)
        if _is_linear(ours, "weight"):
            value = np.ascontiguousarray(value.T)
            result[ours.removesuffix("weight") + "bias"] = np.zeros(value.shape[:1], value.dtype)
        result[ours] = value
    return result


def to_paddle(weights: Mapping[str, Array]) -> dict[str, Array]:
    """The way back.

    Raises:
        WeightsError: a linear layer has a bias other than zero. Paddle's network has no place for
            it, and leaving it out changes the picture.
    """
    result = {}
    for name, value in weights.items():
        if _is_linear(name, "bias"):
            if value.any():
                raise WeightsError(f"{name} is not zero, and Paddle's network has no such bias")
            continue
        if _is_linear(name, "weight"):
            value = np.ascontiguousarray(value.T)
        result[paddle_name(name)] = value
    return result
