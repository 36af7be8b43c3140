"""Paddle's names and layout, there and back."""

import numpy as np
import pytest
import torch

from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.readers.paddle_names import (
    from_paddle,
    minivision_name,
    paddle_name,
    to_paddle,
)
from photo2cartoon_models.readers.weights_error import WeightsError
from tests.train import nets, reference

# One of each kind, written down by hand from both networks, without the ".weight" at the end.
PAIRS = [
    ("ConvBlock1.1", "DownBlock.1"),
    ("HourGlass1.HG.0.ConvBlock3_1.ConvBlock2.3", "DownBlock.4.HG.0.ConvBlockskip3.conv_block2.3"),
    ("HourGlass2.HG.0.ConvBlock4_2.ConvBlock1.3", "DownBlock.5.HG.0.ConvBlock4.conv_block1.3"),
    ("HourGlass3.HG.0.ConvBlock9.ConvBlock3.3", "UpBlock.10.HG.0.ConvBlock9.conv_block3.3"),
    ("HourGlass4.HG.1.ConvBlock2.3", "UpBlock.11.HG.1.conv_block2.3"),
    ("HourGlass4.HG.2", "UpBlock.11.HG.2"),
    ("HourGlass1.Conv3", "DownBlock.4.Conv3"),
    ("DownBlock1.1", "DownBlock.7"),
    ("DownBlock2.1", "DownBlock.11"),
    ("UpBlock1.2", "UpBlock.2"),
    ("UpBlock1.3", "UpBlock.3"),
    ("UpBlock2.2", "UpBlock.7"),
    ("UpBlock2.3", "UpBlock.8"),
    ("ConvBlock2.1", "UpBlock.13"),
    ("EncodeBlock4.conv_block.5", "EncodeBlock4.conv_block.5"),
    ("DecodeBlock2.norm1.c_beta.2", "DecodeBlock2.norm1.c_beta.2"),
    ("conv1x1", "conv1x1"),
    ("gap_fc", "gap_fc"),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_names(ours: str, theirs: str) -> None:
    assert paddle_name(f"{ours}.weight") == f"{theirs}.weight"
    assert minivision_name(f"{theirs}.weight") == f"{ours}.weight"


def paddle_weights() -> dict[str, np.ndarray]:
    weights = {n: v.numpy() for n, v in nets.generator(ngf=8).state_dict().items()}
    for name, value in weights.items():
        if name.endswith(".bias") and weights[name.replace("bias", "weight")].ndim == 2:
            value[:] = 0
    return to_paddle(weights)


def test_round_trip_is_exact_to_the_bit() -> None:
    theirs = paddle_weights()
    assert len(theirs) == 298
    back = to_paddle(from_paddle(theirs))
    assert back.keys() == theirs.keys()
    for name, value in theirs.items():
        assert back[name].shape == value.shape
        assert back[name].tobytes() == value.tobytes()


def test_every_square_matrix_is_transposed() -> None:
    theirs = paddle_weights()
    ours = from_paddle(theirs)
    turned = {n for n, v in ours.items() if v.ndim == 2 and (theirs[paddle_name(n)] == v.T).all()}
    same = {n for n, v in ours.items() if v.ndim == 2 and n not in turned}
    assert len(turned) == 52
    assert all(name.endswith(("w_gamma", "w_beta")) for name in same)


@torch.no_grad()
def test_a_forgotten_transpose_shows_in_the_picture() -> None:
    """No shape tells: 50 of the matrices are square. Each of them has to count."""
    ours = from_paddle(paddle_weights())
    photo = nets.noise(1, 32, dtype=torch.float64)
    wide = {name: value.astype(np.float64) for name, value in ours.items()}
    image, _, _ = reference.generator(wide, photo[0].numpy())
    squares = [n for n, v in ours.items() if v.ndim == 2 and v.shape[0] == v.shape[1]]
    assert len(squares) == 50
    net = Generator(ngf=8).double().eval()
    for forgotten in squares:
        wrong = {n: torch.from_numpy(v.T if n == forgotten else v) for n, v in wide.items()}
        net.load_state_dict(wrong)
        assert abs(net(photo).image[0].numpy() - image).max() > 1e-6, forgotten
    net.load_state_dict({name: torch.from_numpy(value) for name, value in wide.items()})
    assert abs(net(photo).image[0].numpy() - image).max() <= 1e-9


def test_biases_have_no_way_back() -> None:
    weights = {n: v.numpy() for n, v in nets.generator(ngf=8).state_dict().items()}
    with pytest.raises(WeightsError, match=r"bias is not zero"):
        to_paddle(weights)
