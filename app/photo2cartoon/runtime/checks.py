"""Checks: what keeps an execution provider from working on this machine, and what to do about it.

They run before the first session is opened, because ONNX Runtime itself only warns and continues on
the CPU (microsoft/onnxruntime#23372).
"""

import io
import re
from contextlib import redirect_stdout
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, cast

from photo2cartoon.runtime.gpu import count_gpus
from photo2cartoon.runtime.gpu import driver_version as driver_version  # offered here too

Provider = Literal["cpu", "openvino", "cuda", "tensorrt"]

# ONNX Runtime's names. OpenVINO is no provider of its package: it is a runtime of its own.
EXECUTION_PROVIDERS: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINO",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
PACKAGES = ("onnxruntime", "onnxruntime-gpu")  # both write the folder `onnxruntime`
# By CUDA's major version: the oldest driver that runs any of its versions (CUDA release notes).
OLDEST_DRIVERS = {12: 525, 13: 580}
CPU_INSTEAD = "or set P2C_PROVIDER=cpu"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the machine or the installation.

    Attributes:
        what: what is wrong, in one line.
        remedy: what to do about it, in one line.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class StartRefused(Exception):
    """The service refuses to start. The message is one line: what is wrong, then the remedy."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def installed_runtimes() -> dict[str, str]:
    """Return the installed packages of ONNX Runtime with their versions; one is right."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def available_providers() -> list[str]:
    """Return the execution providers that the installed ONNX Runtime has and can load."""
    import onnxruntime  # noqa: PLC0415 - this file must load without it, to say that it is missing

    preload_libraries()
    return list(onnxruntime.get_available_providers())


@cache
def preload_libraries() -> str:
    """Load CUDA and cuDNN from their wheels, once, before any session is opened.

    Returns:
        The names of the libraries that do not load, joined by commas. Empty if all of them load, or
        if the installed ONNX Runtime is the one for CPUs, which needs none.
    """
    import onnxruntime  # noqa: PLC0415

    said = io.StringIO()
    with redirect_stdout(said):  # it prints which libraries it cannot load
        onnxruntime.preload_dlls()
    return ", ".join(dict.fromkeys(re.findall(r"Failed to load (\S+?):? ", said.getvalue())))


def cuda_version() -> int:
    """Return CUDA's major version that ONNX Runtime was built with; 13 if it does not say."""
    import onnxruntime  # noqa: PLC0415

    major = str(getattr(onnxruntime, "cuda_version", "")).partition(".")[0]
    return int(major) if major.isdecimal() else 13


def choose_provider(asked: str, device_id: int = 0) -> tuple[Provider, str]:
    """Settle on one provider: `auto` takes the first of CUDA, OpenVINO and the CPU that can work.

    Args:
        asked: `auto`, `cpu`, `openvino`, `cuda` or `tensorrt`.
        device_id: CUDA's number of the GPU.

    Returns:
        The provider, and the reason for it in words.

    Raises:
        StartRefused: the provider asked for cannot work here; it is never replaced by another.
    """
    problems = find_problems(asked, device_id)
    if problems:
        raise StartRefused(problems[0])
    if asked != "auto":
        return cast(Provider, asked), "asked for"
    if not (missing := find_problems("cuda", device_id)):
        return "cuda", "there is a GPU, and ONNX Runtime supports CUDA"
    if problem := _openvino_problem():
        return "cpu", f"{missing[0].what}; {problem.what}"
    return "openvino", f"{missing[0].what}; OpenVINO {version('openvino')} is installed"


def find_problems(provider: str, device_id: int = 0) -> list[Finding]:
    """List what keeps `provider` from working, most basic first; an empty list means: try it.

    Args:
        provider: one of `EXECUTION_PROVIDERS`, or `auto`, which needs no more than `cpu`.
        device_id: CUDA's number of the GPU.
    """
    if problem := _package_problem():
        return [problem]
    if provider in ("auto", "cpu"):
        return []
    if provider == "openvino":
        return [problem] if (problem := _openvino_problem()) else []
    checks = [_provider_problem(provider), _library_problem(), _driver_problem()]
    checks.append(_device_problem(device_id))
    if provider == "tensorrt":
        checks.append(_tensorrt_problem())
    return [problem for problem in checks if problem]


def _package_problem() -> Finding | None:
    """Require exactly one package: of two, the last one installed silently overwrites the other."""
    found = installed_runtimes()
    if len(found) > 1:
        names = " and ".join(f"{package} {number}" for package, number in found.items())
        return Finding(
            f"{names} are both installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(found)}, then install one: photo2cartoon[cpu] or [gpu]",
        )
    if not found and find_spec("onnxruntime") is None:
        remedy = "pip install 'photo2cartoon[cpu]' or [gpu]"
        return Finding("ONNX Runtime is not installed", remedy)
    return None


def _provider_problem(provider: str) -> Finding | None:
    name = EXECUTION_PROVIDERS[provider]
    if name in available_providers():
        return None
    packages = " and ".join(f"{key} {value}" for key, value in installed_runtimes().items())
    return Finding(
        f"{packages or 'this ONNX Runtime'} has no {name}",
        f"pip uninstall -y {' '.join(installed_runtimes())}, then install photo2cartoon[gpu], "
        f"{CPU_INSTEAD}",
    )


def _library_problem() -> Finding | None:
    if not (failed := preload_libraries()):
        return None
    return Finding(
        f"CUDA's libraries do not load: {failed}",
        f"install photo2cartoon[gpu], which brings them, {CPU_INSTEAD}",
    )


def _openvino_problem() -> Finding | None:
    try:
        version("openvino")
        import_module("openvino")
    except PackageNotFoundError:
        return Finding(
            "OpenVINO is not installed", f"pip install 'photo2cartoon[openvino]', {CPU_INSTEAD}"
        )
    except ImportError as error:
        return Finding(f"OpenVINO does not load: {error}", f"install it again, {CPU_INSTEAD}")
    return None


def _tensorrt_problem() -> Finding | None:
    if find_spec("tensorrt") or find_library("nvinfer"):
        return None
    return Finding(
        "TensorRT is not installed",
        f"pip install tensorrt-cu{cuda_version()}, or set P2C_PROVIDER=cuda",
    )


def _driver_problem() -> Finding | None:
    cuda = cuda_version()
    oldest = OLDEST_DRIVERS.get(cuda, max(OLDEST_DRIVERS.values()))
    driver = driver_version()
    if driver is None:
        return Finding(
            "no NVIDIA driver answers",
            f"install driver R{oldest} or newer, give the container its GPU (--gpus all, "
            f"nvidia.com/gpu: 1), {CPU_INSTEAD}",
        )
    if int(driver.partition(".")[0]) < oldest:
        return Finding(
            f"NVIDIA driver {driver} is too old for CUDA {cuda}",
            f"install driver R{oldest} or newer, {CPU_INSTEAD}",
        )
    return None


def _device_problem(device_id: int) -> Finding | None:
    count = count_gpus()
    if count is None or device_id < count:
        return None
    if not count:
        return Finding(
            "there is no NVIDIA GPU", f"give the machine or container one, {CPU_INSTEAD}"
        )
    return Finding(
        f"P2C_DEVICE_ID={device_id} names a GPU that does not exist: {count} found",
        f"set P2C_DEVICE_ID to 0..{count - 1}",
    )
