"""The forms of the generator on both runtimes of a CPU: `python -m benchmarks.generator [WEIGHTS]`.

Exports every form of one network, runs them in turn (so that a busy machine slows all alike) and
prints the median time of each and the median of its ratio to the plain export on ONNX Runtime.
Without WEIGHTS the network is random: the work is the same. Also: how fast this core multiplies
matrices, which bounds everything, and what static int8 quantisation gives. Results stand in
`docs/network.md`; `benchmarks.runtimes` compares the networks that the service runs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console
from rich.table import Table

from benchmarks.processor import describe_processor
from photo2cartoon.runtime.openvino import core, has_bfloat16
from photo2cartoon_models.conversion.convert import Form, Provenance, convert
from photo2cartoon_models.conversion.export import face_like, run_onnx
from photo2cartoon_models.conversion.pixels import drawn_rgba
from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.readers.weights_error import WeightsError

SIDE = 256
GFLOP = 37.3  # of one picture at 256 px: 18.6 G multiplications with as many additions
FORMS: tuple[Form, ...] = ("plain", "optimised", "pixels", "half")
LEVELS = 127.5  # grey levels in a step of 1 on -1..1
ONNX_RUNTIME = "ONNX Runtime"
OPENVINO = {"OpenVINO, float32": "f32", "OpenVINO, bfloat16": "bf16"}  # by OpenVINO's names


@dataclass(frozen=True, slots=True)
class Variant:
    """A file and how to run it."""

    name: str
    path: Path
    runtime: str = ONNX_RUNTIME
    reuse: bool = True  # ONNX Runtime's plan of memory reuse, its default


def random_weights(folder: Path) -> Path:
    """A random network whose mixing weights are all over 0..1, as trained ones are."""
    torch.manual_seed(0)
    net = Generator()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("rho", "w_gamma", "w_beta")):
                parameter.uniform_(0, 1)
    path = folder / "random.pt"
    torch.save(net.state_dict(), path)
    return path


class Faces(CalibrationDataReader):  # type: ignore[misc]
    """Drawn portraits for calibration, one at a time."""

    def __init__(self, count: int) -> None:
        self.rest = iter(face_like(count, SIDE, seed=1)[:, None])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        photo = next(self.rest, None)
        return None if photo is None else {"input": photo}


def quantise(plain: Path, target: Path) -> Path:
    """Static int8 of all convolutions, per channel, quantise-dequantise nodes."""
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Faces(8),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return target


def build(weights: Path, folder: Path, console: Console) -> list[Variant]:
    """Export everything; a form that fails its own gate is named and left out."""
    variants = []
    for form in FORMS:
        target = folder / f"{form}.onnx"
        try:
            done = convert(weights, target, Provenance(form), form=form)
        except WeightsError as error:
            console.print(f"{form}: {error}")
            continue
        console.print(f"{form}: {target.stat().st_size:,} bytes, distance {done.distance:.1e}")
        variants.append(Variant(form, target))
        if form in ("plain", "optimised"):
            variants.append(Variant(f"{form}, no memory reuse", target, reuse=False))
        if form != "half":
            precisions = list(OPENVINO)[: 2 if has_bfloat16() else 1]
            variants += [Variant(form, target, runtime) for runtime in precisions]
    variants.append(Variant("int8", quantise(folder / "plain.onnx", folder / "int8.onnx")))
    return variants


def open_variant(variant: Variant, threads: int, batch: int) -> Callable[[], object]:
    """Return one run of a variant on drawn portraits, as often as it is called."""
    if variant.runtime == ONNX_RUNTIME:
        session = open_session(variant, threads)
        (source,) = session.get_inputs()
        feed = {source.name: drawn(source.type == "tensor(uint8)", batch)}
        return lambda: session.run(None, feed)
    precision = {"INFERENCE_PRECISION_HINT": OPENVINO[variant.runtime]}
    options = precision | {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    compiled = core().compile_model(variant.path, "CPU", options)
    request = compiled.create_infer_request()
    pictures = drawn(compiled.input().element_type.to_dtype() == np.uint8, batch)
    return lambda: request.infer([pictures], share_inputs=True, share_outputs=True)


def drawn(pixels: bool, batch: int) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Drawn portraits as a form takes them: RGBA bytes, or -1..1."""
    return drawn_rgba(batch, SIDE) if pixels else face_like(batch, SIDE)


def open_session(variant: Variant, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_reuse = variant.reuse
    return onnxruntime.InferenceSession(variant.path, options, providers=["CPUExecutionProvider"])


def measure(variants: list[Variant], threads: int, batch: int, rounds: int) -> NDArray[np.float64]:
    """Seconds a run, (rounds, variants); every round runs every variant once."""
    runs = [open_variant(variant, threads, batch) for variant in variants]
    seconds = np.zeros((rounds + 1, len(variants)))
    for row in seconds:
        for k, run in enumerate(runs):
            start = time.perf_counter()
            run()
            row[k] = time.perf_counter() - start
    return seconds[1:]  # the first round warms up


def matrix_peak() -> float:
    """GFLOP/s of a float32 matrix product on one thread: what a convolution can reach at best."""
    torch.set_num_threads(1)
    a = torch.rand(1536, 1536)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    return float(2 * 1536**3 / min(seconds) / 1e9)


def report_pixels(variants: list[Variant], console: Console) -> None:
    """Say how many grey levels each float form is away from the plain one, on drawn portraits."""
    photos = face_like(4, SIDE, seed=7)
    expected = run_onnx(variants[0].path.read_bytes(), photos)
    for variant in variants[1:]:
        if variant.name in ("optimised", "half", "int8") and variant.runtime == ONNX_RUNTIME:
            apart = abs(run_onnx(variant.path.read_bytes(), photos) - expected) * LEVELS
            words = f"mean {apart.mean():.4f}, largest {apart.max():.3f} grey levels from plain"
            console.print(f"{variant.name}: {words}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    console = Console(highlight=False, width=100)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variants = build(options.weights or random_weights(folder), folder, console)
        report_pixels(variants, console)
        peak = matrix_peak()
        bound = GFLOP / peak * 1e3
        console.print(f"matrix product: {peak:.0f} GFLOP/s a thread, so {bound:.0f} ms a picture")
        names = ("threads", "batch", "form", "runtime", "ms a picture", "times plain")
        table = Table(*names, box=None)
        for threads in (1, 2):
            for batch in (1, 4):
                seconds = measure(variants, threads, batch, max(options.rounds // batch, 4))
                for k, variant in enumerate(variants):
                    each = np.median(seconds[:, k]) / batch * 1e3
                    ratio = np.median(seconds[:, 0] / seconds[:, k])
                    cells = (str(threads), str(batch), variant.name, variant.runtime)
                    table.add_row(*cells, f"{each:.0f}", f"{ratio:.2f}")
        versions = f"ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__}"
        console.print(f"{describe_processor()}\n{versions}, {options.rounds} rounds")
        console.print(table)


if __name__ == "__main__":
    main()
