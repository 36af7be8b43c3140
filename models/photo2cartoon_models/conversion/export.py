"""Export a generator as ONNX, and prove that the file draws what the network draws.

One input and one output, named as in minivision's published file, but with a free batch:

    input    float32 (N, 3, S, S), RGB on white, -1..1
    output   float32 (N, 3, S, S), RGB, -1..1

Operator set 18, by torch's exporter (torch.export): the older one cannot express instance
normalisation behind a reflection pad with a free batch.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import rewriter  # torch's exporter wants it: say so now, not half way
from onnxscript.rewriter.rules.common import slice_split_rule
from torch import Tensor, nn

from photo2cartoon_models.readers.weights_error import WeightsError

OPSET = 18
TOLERANCE = 5e-4  # on -1..1: 0.06 grey levels. float32 sums in another order give about 1e-4
# A network may lose more in float32, and how much depends on the processor: then the file may be
# this many times as far from float64 as torch's own float32 is. ONNX Runtime's kernels lose more
# than torch's: 18 times as much with minivision's network and random weights (4.0e-4, 2.2e-5).
MULTIPLE = 32
BATCHES = (1, 3)

Array = NDArray[np.float32]


def export_onnx(
    net: nn.Module,
    example: Tensor,
    names: tuple[str, str],
    metadata: Mapping[str, str],
    *,
    stride: int | None = None,
) -> onnx.ModelProto:
    """Export `net`, a module of one tensor to one tensor, with a free first axis.

    Args:
        net: in evaluation mode.
        example: an input with at least two pictures (torch.export takes a size of 1 as fixed).
        names: of the graph's input and output.
        metadata: free key-value pairs for the file.
        stride: where height and width are free too, they are multiples of it, from twice as much.
    """
    free = {0: torch.export.Dim("batch")}
    if stride:
        free |= {axis: stride * torch.export.Dim(f"d{axis}", min=2) for axis in (2, 3)}
    with _quiet(), _without_slow_rule():
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_shapes=(free,),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave nothing back")
    model = program.model_proto
    _drop_traces(model)
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling everybody that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_slow_rule() -> Iterator[None]:
    """Let the exporter's optimiser leave out the one rule that takes the square of the nodes.

    It looks for two slices that make a split, walks the whole graph for each node, and takes 50 of
    the 58 s of optimising the published generator, of which it changes nothing.
    """
    rules = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in rules if rule is not slice_split_rule)
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = rules


def _drop_traces(model: onnx.ModelProto) -> None:
    """Forget which line of which file on this machine made each node."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.doc_string = ""
    graph.ClearField("metadata_props")
    graph.doc_string = ""


def face_like(batch: int, side: int, seed: int = 0) -> Array:
    """Drawn portraits, (batch, 3, side, side), float32 RGB, -1..1.

    Smooth skin, dark hair, eyes, a mouth and a lot of plain white: unlike noise these have flat
    regions, where normalisations divide by small variances.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    pictures = np.ones((batch, 3, side, side), np.float32)
    for picture in pictures:
        skin = rng.uniform((0.3, -0.1, -0.3), (0.9, 0.6, 0.4))
        hair, lips = rng.uniform(-1, -0.3, 3), rng.uniform((0.2, -0.8, -0.7), (0.8, -0.2, -0.2))
        light = rng.uniform(-0.3, 0.3, 2)
        ellipses = [
            (0, -0.15, 0.75, 0.8, hair),
            (0, 0.05, 0.55, 0.7, skin),
            (-0.22, -0.1, 0.09, 0.05, hair),
            (0.22, -0.1, 0.09, 0.05, hair),
            (0, 0.4, 0.18, 0.06, lips),
        ]
        for centre_x, centre_y, width, height, colour in ellipses:
            inside = ((x - centre_x) / width) ** 2 + ((y - centre_y) / height) ** 2
            edge = ((np.sqrt(inside) - 1) * width * side).clip(-30, 30)  # about half px, signed
            cover = 1 / (1 + np.exp(edge))
            shade = colour[:, None, None] + (light[0] * x + light[1] * y)
            picture[:] = picture * (1 - cover) + shade.clip(-1, 1) * cover
    return pictures


def run_onnx(content: bytes, feed: NDArray[Any]) -> NDArray[Any]:
    """First output of a model of one input; on the CPU, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: feed})
    return np.asarray(outputs[0])


@torch.no_grad()
def parity(content: bytes, net: nn.Module, side: int) -> float:
    """Largest difference between an ONNX file and the torch network, on -1..1.

    Noise and drawn portraits, one at a time and three at once. NaN counts as infinitely far.
    """
    worst = 0.0
    for photo in probes(side):
        expected = net(torch.from_numpy(photo)).numpy()
        distance = float(abs(run_onnx(content, photo) - expected).max())
        worst = max(worst, distance if np.isfinite(distance) else np.inf)
    return worst


@torch.no_grad()
def errors(
    net: nn.Module, photos: Iterable[Array], draws: Iterable[Callable[[Array], NDArray[Any]]]
) -> list[float]:
    """Return how far each of `draws` is from `net` in float64: the largest difference on -1..1.

    NaN counts as infinitely far.
    """
    exact = copy.deepcopy(net).double()
    draws = list(draws)
    worst = [0.0] * len(draws)
    for photo in photos:
        expected = exact(torch.from_numpy(photo).double()).numpy()
        for k, draw in enumerate(draws):
            distance = float(abs(draw(photo) - expected).max())
            worst[k] = max(worst[k], distance if np.isfinite(distance) else np.inf)
    return worst


def run_torch(net: nn.Module) -> Callable[[Array], Array]:
    """Return what draws with a network in float32."""

    @torch.no_grad()
    def draw(photo: Array) -> Array:
        drawn: Array = net(torch.from_numpy(photo)).numpy()
        return drawn

    return draw


def probes(side: int) -> list[Array]:
    """Return noise and drawn portraits, one at a time and three at once."""
    return [make(batch, side) for make in (_noise, face_like) for batch in BATCHES]


def allowed_error(own: float) -> float:
    """Return how far a file may be from float64 where torch's own float32 is `own` away."""
    return max(TOLERANCE, MULTIPLE * own) if np.isfinite(own) else TOLERANCE


def _noise(batch: int, side: int) -> Array:
    rng = np.random.default_rng(batch)
    return rng.uniform(-1, 1, (batch, 3, side, side)).astype(np.float32)


def serialise_checked(
    model: onnx.ModelProto,
    measure: Callable[[bytes], float],
    tolerance: float,
    own: float | None = None,
) -> tuple[bytes, float]:
    """Return `model` as a file, if it is close enough to what it was made of.

    Args:
        model: what was exported.
        measure: tells how far the file is off.
        tolerance: how far it may be off.
        own: how far torch's float32 is off, to be said beside it.

    Returns:
        The content of the file and the distance that was measured.

    Raises:
        WeightsError: it is too far off.
    """
    content = model.SerializeToString()
    distance = measure(content)
    if not distance <= tolerance:  # NaN is too far as well
        beside = "" if own is None else f" (torch's own float32 is {own:.2g} away from float64)"
        raise WeightsError(
            f"the ONNX file would differ from the network by {distance:.2g}, allowed is "
            f"{tolerance:.2g}{beside}; nothing was written"
        )
    return content, distance
