"""Weight files as people have them, made of random networks."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.readers.paddle_names import to_paddle
from tests.train import nets

Weights = dict[str, Tensor]
NETS = ("genA2B", "genB2A", "disGA", "disGB", "disLA", "disLB")


def minivision(net: Generator) -> Weights:
    """The state of `net` with the dead ConvBlock4 tensors that minivision's files carry."""
    state: Weights = {}
    for name, value in net.state_dict().items():
        state[name] = value
        if name.endswith("ConvBlock3.3.weight"):
            dead = name.replace("ConvBlock3.3", "ConvBlock4.2")
            state[dead] = torch.rand(net.ngf, net.ngf, 1, 1)
    return state


def six(first: Any, second: Any) -> dict[str, Any]:
    """Two generators and four discriminators, as training saves them."""
    others = {name: nets.discriminator(5).state_dict() for name in NETS[2:]}
    return {"genA2B": first, "genB2A": second, **others}


def paddle(net: Generator) -> dict[str, np.ndarray]:
    """The weights of `net` as Paddle keeps them; biases of linear layers are set to zero."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Linear):
                module.bias.zero_()
    return to_paddle({name: value.numpy() for name, value in net.state_dict().items()})


def flat_pdparams(path: Path, weights: dict[str, np.ndarray], protocol: int) -> Path:
    """What `paddle.save(layer.state_dict())` writes: arrays, and a table of inner names."""
    table = {name: f"layer_{k}.w_0" for k, name in enumerate(weights)}
    path.write_bytes(pickle.dumps({**weights, "StructuredToParameterName@@": table}, protocol))
    return path


def nested_pdparams(path: Path, weights: dict[str, np.ndarray], pairs: bool) -> Path:
    """Several networks; live tensors are saved as pairs of inner name and array."""
    inner = {n: (f"layer_{k}.w_0", v) for k, (n, v) in enumerate(weights.items())}
    net: dict[str, Any] = dict(inner if pairs else weights)
    path.write_bytes(pickle.dumps({"genB2A": {}, "genA2B": net}, 4))
    return path


def bomb(path: Path) -> Path:
    """A torch file of 3 MB whose one tensor is 640 MiB of zeros."""
    torch.save({"genA2B": {"stem.0.weight": torch.zeros(16)}}, path)
    with zipfile.ZipFile(path) as small:
        members = {info.filename: small.read(info) for info in small.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as large:
        for name, content in members.items():
            with large.open(name, "w", force_zip64=True) as member:
                member.write(content)
                if "/data/" in name:
                    for _ in range(10):
                        member.write(bytes(2**26))
    return path
