"""Devices and networks of the GPU benchmarks: what varies, and how each is opened."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnxruntime
from rich.console import Console

from photo2cartoon.runtime.binding import BoundNetwork
from photo2cartoon.runtime.checks import choose_provider
from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.gpu import read_gpu
from photo2cartoon_models.manifest import Model, find_generator, load_manifest

Asked = Literal["auto", "cpu", "cuda", "tensorrt"]

console = Console(width=110, highlight=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """A generator's file on a device with its options."""

    name: str
    model: Model
    device: Device


def open_device(provider: str, device_id: int = 0) -> Device:
    """The device asked for, and a line that says what it is.

    Raises:
        StartRefused: it does not work here.
    """
    chosen, why = choose_provider(provider, device_id)
    # What is compared here is ONNX Runtime's; `benchmarks.runtimes` compares OpenVINO with it.
    device = Device("cpu" if chosen == "openvino" else chosen, why, device_id)
    gpu = read_gpu(device_id) if device.on_gpu else None
    what = f"{gpu.name}, {gpu.total_bytes / 2**30:.0f} GiB" if gpu else "no GPU"
    console.print(f"{device.describe()}; {what}; ONNX Runtime {onnxruntime.__version__}; {why}")
    return device


def describe_model(asked: str | Path) -> Model:
    """The entry of a generator: by its name in the manifest, or of a file."""
    return find_generator(load_manifest(), asked)


def list_variants(
    full: Model, half: Model | None, device: Device, *, tensorrt: bool
) -> list[Variant]:
    """Each precision and option once; on a CPU there is one of each precision."""
    models = {"float32": full} | ({"float16": half} if half else {})
    if not device.on_gpu:
        return [Variant(name, model, device) for name, model in models.items()]
    exact = replace(device, provider="cuda", tf32=False)
    variants = [Variant("float32", full, exact), Variant("TF32", full, replace(exact, tf32=True))]
    best = models.get("float16", full)
    base = replace(exact, tf32=True)
    if half:
        variants.append(Variant("float16", half, base))
    name = "float16" if half else "TF32"
    variants += [
        Variant(f"{name}, NHWC", best, replace(base, prefer_nhwc=True)),
        Variant(f"{name}, exhaustive", best, replace(base, conv_search="exhaustive")),
        Variant(f"{name}, CUDA graph", best, replace(base, cuda_graphs=True)),
        Variant(
            f"{name}, CUDA graph, NHWC", best, replace(base, cuda_graphs=True, prefer_nhwc=True)
        ),
    ]
    if tensorrt:
        variants.append(Variant(f"{name}, TensorRT", best, replace(base, provider="tensorrt")))
    return variants


def open_network(variant: Variant, largest: int) -> BoundNetwork:
    """Load it with buffers for batches up to `largest`."""
    content = variant.model.read_verified()
    return BoundNetwork(variant.model, variant.device, content, largest)
