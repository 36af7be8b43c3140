"""Device: what runs the networks, ONNX Runtime or OpenVINO, where, and with which options."""

from dataclasses import dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Self

import onnxruntime

from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.settings import Settings
from photo2cartoon.runtime.checks import (
    EXECUTION_PROVIDERS,
    Finding,
    Provider,
    StartRefused,
    choose_provider,
)
from photo2cartoon.runtime.gpu import read_gpu

Precision = Literal["float32", "bfloat16"]
ConvSearch = Literal["heuristic", "exhaustive", "default"]
TENSORRT_PACKAGES = ("tensorrt-cu13", "tensorrt-cu12", "tensorrt")


@dataclass(frozen=True, slots=True)
class Shapes:
    """The sizes of a model's input, of which only the first, the batch, is free.

    Attributes:
        name: the input's name.
        rest: the other sizes.
        largest: the largest batch.
        half: whether the model computes in float16 (`Model.precision`).
    """

    name: str
    rest: tuple[int, ...]
    largest: int
    half: bool = False

    def text(self, batch: int) -> str:
        """Return the shape as TensorRT's options want it: `input:8x3x256x256`."""
        return f"{self.name}:{'x'.join(map(str, (batch, *self.rest)))}"


@dataclass(frozen=True, slots=True)
class Device:
    """One execution provider with its options, made once (`pipeline.opening`), read by networks.

    Every field but the first two and the last two is the setting of the same name. All of them but
    `why` and `streams` may change an answer's bytes.

    Attributes:
        provider: never `auto`, which `choose` settles.
        why: in words, for the log.
        device_id: CUDA's number of the GPU.
        tf32: whether float32 convolutions may round their factors to 10 bits of mantissa (Ampere
            and newer).
        prefer_nhwc: whether convolutions have their channels last.
        conv_search: how cuDNN's kernels are chosen. A measured search costs up to 1.3 s per new
            shape, the heuristic 2 ms, for the same speed afterwards (PaddlePaddle/PaddleX#5057).
        cuda_graphs: whether the kernels of each batch size are recorded once and launched as one.
        engine_cache: folder for TensorRT's engines, because building one takes minutes.
        precision: what generators compute in on OpenVINO.
        streams: OpenVINO: how many threads run a network at the same time, each for itself.
    """

    provider: Provider = "cpu"
    why: str = "asked for"
    device_id: int = 0
    tf32: bool = True
    prefer_nhwc: bool = False
    conv_search: ConvSearch = "heuristic"
    cuda_graphs: bool = False
    engine_cache: Path = Path("engines")
    precision: Precision = "float32"
    streams: int = 1

    @classmethod
    def choose(cls, settings: Settings) -> Self:
        """Make the device that the settings ask for.

        Raises:
            StartRefused: it cannot work here.
        """
        provider, why = choose_provider(settings.provider, settings.device_id)
        names = {field.name for field in fields(cls)}
        device = cls(provider, why, **settings.model_dump(include=names - {"provider"}))
        if not device.on_gpu and settings.cpu_precision == "bfloat16":
            _check_bfloat16(provider)
        if provider != "openvino":
            return device
        streams = settings.threads or available_cores()
        half = settings.cpu_precision != "float32" and _has_bfloat16()
        return replace(device, streams=streams, precision="bfloat16" if half else "float32")

    def next_best(self, settings: Settings, why: str) -> Self | None:
        """Return what takes this device's place where a network fails its self test on it.

        Only what the settings leave to us is replaced: on OpenVINO, bfloat16 by float32, and
        OpenVINO by ONNX Runtime.

        Args:
            settings: those that the device was chosen by.
            why: what failed.

        Returns:
            The next device; None if the start must end.
        """
        if self.provider != "openvino" or settings.cpu_precision == "bfloat16":
            return None
        if self.precision == "bfloat16" and settings.cpu_precision == "auto":
            return replace(self, precision="float32", why=f"{self.why}; not in bfloat16: {why}")
        if settings.provider == "auto":
            return replace(self, provider="cpu", streams=1, why=why)
        return None

    @property
    def on_gpu(self) -> bool:
        """Whether networks run on a GPU."""
        return self.provider in ("cuda", "tensorrt")

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of the provider, or OpenVINO."""
        return EXECUTION_PROVIDERS[self.provider]

    @property
    def memory(self) -> str:
        """ONNX Runtime's name of the memory in which its inputs and outputs lie."""
        return "cuda" if self.on_gpu else "cpu"

    def describe(self) -> str:
        """Name everything that decides an answer's bytes: provider, options, GPU and cuDNN."""
        if self.provider == "openvino":
            return f"{self.execution_provider} {version('openvino')} {self.precision}"
        if not self.on_gpu:
            return self.execution_provider
        gpu = read_gpu(self.device_id)
        parts = {
            "gpu": f"{gpu.name} {gpu.arch}" if gpu else "unknown",
            "cudnn": _first_version("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
            "tensorrt": _first_version(*TENSORRT_PACKAGES) if self.provider == "tensorrt" else "no",
            "tf32": self.tf32,
            "prefer_nhwc": self.prefer_nhwc,
            "conv_search": self.conv_search,
        }
        words = " ".join(f"{key}={value}" for key, value in parts.items())
        return f"{self.execution_provider} {words}"

    def providers(
        self, name: str, shapes: Shapes | None = None
    ) -> list[tuple[str, dict[str, str]]]:
        """Return the providers of a session, the preferred one first, with ONNX Runtime's options.

        Beside a GPU, the CPU is not listed: it is always there, for what `session.SHAPE_OPS` names.

        Args:
            name: the model's name and digest, for TensorRT's engines.
            shapes: its input's sizes, for TensorRT.
        """
        if not self.on_gpu:
            return [(self.execution_provider, {})]
        cuda = {
            "device_id": str(self.device_id),
            "use_tf32": str(int(self.tf32)),
            "prefer_nhwc": str(int(self.prefer_nhwc)),
            "cudnn_conv_algo_search": self.conv_search.upper(),
            "enable_cuda_graph": str(int(self.cuda_graphs and self.provider == "cuda")),
            # The arena grows only by what is needed, since several sessions share one GPU.
            "arena_extend_strategy": "kSameAsRequested",
        }
        chain = [(EXECUTION_PROVIDERS["cuda"], cuda)]
        if self.provider == "tensorrt":
            chain.insert(0, (EXECUTION_PROVIDERS["tensorrt"], self._tensorrt(name, shapes)))
        return chain

    def _tensorrt(self, name: str, shapes: Shapes | None) -> dict[str, str]:
        folder = str(self.engine_folder(name))
        options = {
            "device_id": str(self.device_id),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
            "trt_cuda_graph_enable": str(int(self.cuda_graphs)),
            "trt_fp16_enable": str(int(bool(shapes and shapes.half))),
            "trt_layer_norm_fp32_fallback": "1",
        }
        if shapes:
            options |= {
                "trt_profile_min_shapes": shapes.text(1),
                "trt_profile_opt_shapes": shapes.text(shapes.largest),
                "trt_profile_max_shapes": shapes.text(shapes.largest),
            }
        return options

    def engine_folder(self, name: str) -> Path:
        """Return the folder of a model's engines for this architecture and set of versions."""
        gpu = read_gpu(self.device_id)
        parts = (
            f"sm{gpu.arch if gpu else 'unknown'}",
            f"tensorrt{_first_version(*TENSORRT_PACKAGES)}",
            f"onnxruntime{onnxruntime.__version__}",
            name,
        )
        return self.engine_cache / "-".join(parts)


CPU = Device()


def _has_bfloat16() -> bool:
    from photo2cartoon.runtime.openvino import has_bfloat16  # noqa: PLC0415 - it may not be installed

    return has_bfloat16()


def _check_bfloat16(provider: Provider) -> None:
    """Check that generators can compute in bfloat16 on this CPU, as was asked for.

    Raises:
        StartRefused: they cannot.
    """
    if provider == "openvino" and _has_bfloat16():
        return
    lacking = "this processor has no" if provider == "openvino" else "ONNX Runtime does without"
    what = f"P2C_CPU_PRECISION=bfloat16, and {lacking} bfloat16 instructions"
    raise StartRefused(Finding(what, "set P2C_CPU_PRECISION=auto"))


def _first_version(*packages: str) -> str:
    """Return the version of the first of `packages` that is installed."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"
