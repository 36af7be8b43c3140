"""Read generator weights from any of the files that people have, and refuse what is not.

A file is told by its content and its key names, never by its own name:

    minivision .pt        six networks, or one; 56 dead `ConvBlock4` tensors
    minivision .onnx      static batch 1
    PaddleGAN .pdparams   one network, or several; Paddle's names
    minivision-paddle     several networks, Paddle's names
    our training's .pt    several networks, of either generator (`training.checkpoint`)
    .safetensors          one network, or several

All but ONNX may be wrapped, as checkpoints, torch.compile, DataParallel and Lightning do
(`readers.wrappings`).

What comes out has minivision's names, is complete, finite and of the right shapes.
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.networks.lite import LiteGenerator
from photo2cartoon_models.readers import paddle_names
from photo2cartoon_models.readers.onnx_weights import read_onnx
from photo2cartoon_models.readers.pdparams import read_pdparams
from photo2cartoon_models.readers.safetensors import is_safetensors, read_safetensors
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.readers.wrappings import Ignored, choose_net

Array = NDArray[np.float32]

NET = "genA2B"  # photo to cartoon, in files of several networks; genB2A goes the other way
ZIP = b"PK\x03\x04"  # torch since 1.6
OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch before 1.6: its magic number
PICKLE = b"\x80"  # PROTO, the first opcode since protocol 2
Network = Literal["photo2cartoon", "lite"]
PASSED_OVER = (
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in (
        "scalar", "_reconstruct",
    )),
)  # fmt: skip
DEAD = ".ConvBlock4.2.weight"
LITE = "stem.0.weight"  # the light network's first tensor
LISTED = 5  # names in an error message


@dataclass(frozen=True, slots=True)
class GeneratorWeights:
    """Weights that fit.

    Attributes:
        network: photo2cartoon's own, or the light one.
        tensors: minivision's name -> float32 array, complete for `Generator(ngf, img_size, light)`;
            of the light network its own names, complete for `LiteGenerator(ngf, n_blocks)`.
        format: which of the files it was, in words.
        sha256: of the file.
        notes: what was left out or filled in, one sentence each.
    """

    tensors: dict[str, Array]
    ngf: int
    img_size: int
    light: bool
    format: str
    sha256: str
    notes: list[str] = field(default_factory=list)
    network: Network = "photo2cartoon"
    n_blocks: int = 4

    def generator(self) -> Generator | LiteGenerator:
        """The network with these weights, in evaluation mode."""
        net: Generator | LiteGenerator
        if self.network == "lite":
            net = LiteGenerator(self.ngf, self.n_blocks)
        else:
            net = Generator(self.ngf, self.img_size, self.light)
        net.load_state_dict({name: torch.tensor(w) for name, w in self.tensors.items()})
        return net.eval()


def read_weights(path: Path, net: str = NET) -> GeneratorWeights:
    """Read the weights of one generator.

    Args:
        path: a file in any of the formats.
        net: which network, where the file holds several.

    Raises:
        WeightsError: no such file or format, the network is not in it, a tensor is missing, of
            the wrong shape, unknown or not finite, or the file was trained with the old hourglass.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    container, entries = _open(content)
    entries, nested = choose_net(entries, net)
    notes: list[str] = []
    named = _float32(entries)
    if paddle_names.is_paddle(named):
        container = f"Paddle names, {container}"
        named = paddle_names.from_paddle(named)
        notes.append("biases of linear layers are zero: Paddle's network has none")
    weights = _without_dead(named, notes)
    kind = f"{container}, {f'{net} of several networks' if nested else 'one network'}"
    digest = hashlib.sha256(content).hexdigest()
    if LITE in weights:
        return _lite(weights, kind, digest)
    ngf, img_size, light = _variant(weights)
    _check_tensors(weights, _expected_shapes(ngf, img_size, light))
    _refuse_old_hourglass(weights)
    return GeneratorWeights(weights, ngf, img_size, light, kind, digest, notes)


def _lite(weights: dict[str, Array], kind: str, digest: str) -> GeneratorWeights:
    """The light network; its two sizes are read off the shapes and names."""
    ngf = len(weights[LITE])
    n_blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    with torch.device("meta"):
        state = LiteGenerator(ngf, n_blocks).state_dict()
    _check_tensors(weights, {name: tuple(value.shape) for name, value in state.items()})
    return GeneratorWeights(
        weights, ngf, 256, True, kind, digest, network="lite", n_blocks=n_blocks
    )


def read_networks(path: Path) -> dict[str, Any]:
    """The networks of a file that holds several, by name, unchecked; empty if it holds one.

    Raises:
        WeightsError: no such file or format.
    """
    try:
        _, entries = _open(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    return {name: value for name, value in entries.items() if isinstance(value, Mapping)}


def _open(content: bytes) -> tuple[str, dict[str, Any]]:
    """Tell the container by its first bytes and return its name and its entries."""
    if content.startswith((ZIP, OLD_TORCH)):
        return "torch file", _read_torch(content)
    if is_safetensors(content):  # whose first byte may be that of a pickle
        return "safetensors file", read_safetensors(content)
    if content.startswith(PICKLE):
        return "pickle", read_pdparams(content)
    return "ONNX file", dict(read_onnx(content))


def _read_torch(content: bytes) -> dict[str, Any]:
    """A torch file, read without running anything in it; numbers of numpy are passed over."""
    try:
        with torch.serialization.safe_globals([(Ignored, name) for name in PASSED_OVER]):
            entries = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"refused: the torch file holds more than weights, and nothing of it was run: {reason}"
        ) from error
    except Exception as error:  # a damaged file may raise nearly anything
        raise WeightsError(f"not a readable torch file: {type(error).__name__}: {error}") from error
    if not isinstance(entries, dict):
        raise WeightsError(f"the file holds a {type(entries).__name__}, not a dictionary")
    return {str(name): value for name, value in entries.items()}


def _float32(entries: dict[str, Any]) -> dict[str, Array]:
    """Arrays by name.

    Half precision becomes float32, which loses nothing; float64 is rounded.
    """
    result = {}
    for name, value in entries.items():
        if isinstance(value, torch.Tensor):
            if not value.is_floating_point():
                raise WeightsError(f"{name} is {value.dtype}: weights are floating point numbers")
            value = value.detach().float().numpy()
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            kind = getattr(value, "dtype", type(value).__name__)
            raise WeightsError(f"{name} is {kind}: weights are arrays of floating point numbers")
        result[name] = np.ascontiguousarray(value, np.float32)
    return result


def _without_dead(named: dict[str, Array], notes: list[str]) -> dict[str, Array]:
    dead = [name for name in named if name.endswith(DEAD)]
    if dead:
        notes.append(
            f"dropped {len(dead)} dead ConvBlock4 tensors, which no picture passes through"
        )
    return {name: value for name, value in named.items() if not name.endswith(DEAD)}


def _variant(weights: dict[str, Array]) -> tuple[int, int, bool]:
    """(ngf, img_size, light), read off two shapes; img_size is 256 where nothing depends on it."""
    first, style = weights.get("ConvBlock1.1.weight"), weights.get("FC.0.weight")
    if first is None or style is None or first.ndim != 4 or style.ndim != 2:
        known = ", ".join(list(weights)[:LISTED]) or "none"
        raise WeightsError(f"not a photo2cartoon generator; its first tensors: {known}")
    ngf, seen = first.shape[0], style.shape[1]
    if seen == 4 * ngf:
        return ngf, 256, True
    return ngf, 4 * round((seen / (4 * ngf)) ** 0.5), False


def _expected_shapes(ngf: int, img_size: int, light: bool) -> dict[str, tuple[int, ...]]:
    try:
        with torch.device("meta"):  # shapes without values
            state = Generator(ngf, img_size, light).state_dict()
    except ValueError as error:
        raise WeightsError(f"no generator has these shapes: {error}") from error
    return {name: tuple(value.shape) for name, value in state.items()}


def _check_tensors(weights: dict[str, Array], expected: dict[str, tuple[int, ...]]) -> None:
    """Raise WeightsError and name what is missing, unknown, of another shape or not finite."""
    common = weights.keys() & expected.keys()
    reshaped = [n for n in sorted(common) if weights[n].shape != expected[n]]
    problems = {
        "missing": sorted(expected.keys() - common),
        "unknown": sorted(weights.keys() - common),
        "of another shape": [f"{n} {weights[n].shape} for {expected[n]}" for n in reshaped],
        "not finite": [n for n in sorted(common) if not np.isfinite(weights[n]).all()],
    }
    lines = []
    for kind, names in problems.items():
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            lines.append(f"{kind}: {', '.join(names[:LISTED])}{more}")
    if lines:
        raise WeightsError("not the weights of this network: " + "; ".join(lines))


def _refuse_old_hourglass(weights: dict[str, Array]) -> None:
    """Raise WeightsError for a file trained before 2020-05-04 (minivision's commit 4c3fcb5).

    There all four levels of an hourglass ran the blocks of the first one. Levels 2 to 4 had
    weights in the file, but training never touched them: all still lie inside the interval from
    which torch draws new ones, +-1/sqrt(fan_in), while the first level's have left it. In a fresh
    network the first level's have not, and in a trained one no block stays inside.
    """
    for k in (1, 2, 3, 4):
        blocks = f"HourGlass{k}.HG.0.ConvBlock"
        first, others = (
            [w for n, w in weights.items() if n.startswith(tuple(f"{blocks}{i}_" for i in levels))]
            for levels in ((1,), (2, 3, 4))
        )
        if all(map(_untouched, first)) or not all(map(_untouched, others)):
            return
    raise WeightsError(
        "trained with the hourglass as it was before 2020-05-04 (levels 2 to 4 still hold initial "
        "values): the keys fit, the pictures would be wrong. Use the weights published that day "
        "or later"
    )


def _untouched(weight: Array) -> bool:
    """Whether a convolution may hold what torch drew at first (`kaiming_uniform_`, a=sqrt 5)."""
    bound = 1 / np.sqrt(weight[0].size)
    return bool(abs(weight).max() <= bound * (1 + 1e-6))  # 1e-6: the bound itself in float32
