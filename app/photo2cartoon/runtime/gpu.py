"""The GPUs as NVIDIA's management library (NVML) reports them: driver, name, memory.

`nvidia-ml-py` comes with the extra `gpu`. Without it or without a driver, every answer is None,
except that the driver's version is also looked for in a file.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER_FILE = Path("/proc/driver/nvidia/version")  # Linux, also inside containers


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Attributes:
        name: the maker's name for it, such as "NVIDIA L4".
        arch: compute capability, such as "8.9".
        used_bytes: memory that all processes together use now.
        total_bytes: all of its memory.
    """

    name: str
    arch: str
    used_bytes: int
    total_bytes: int


def driver_version() -> str | None:
    """Return the NVIDIA driver's version, such as "580.65.06"; None if there is no driver."""
    if nvml := _open():
        return str(nvml.nvmlSystemGetDriverVersion())
    try:
        text = DRIVER_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return found[0] if found else None


def count_gpus() -> int | None:
    """Count the GPUs that CUDA may use; None if NVML cannot be asked."""
    if not (nvml := _open()):
        return None
    visible = _visible()
    return len(visible) if visible is not None else int(nvml.nvmlDeviceGetCount())


def read_gpu(device_id: int) -> Gpu | None:
    """Describe CUDA's device number `device_id`; None if it does not answer."""
    if not (nvml := _open()):
        return None
    try:
        handle = _find(nvml, device_id)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        name = str(nvml.nvmlDeviceGetName(handle))
    except (nvml.NVMLError, IndexError):
        return None
    return Gpu(name, f"{major}.{minor}", int(memory.used), int(memory.total))


def _open() -> Any | None:
    """Open NVML, or return None. Opening it repeatedly costs nothing: it counts its users."""
    try:
        import pynvml  # noqa: PLC0415 - only the extra `gpu` brings it
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _visible() -> list[str] | None:
    """Return the entries of `CUDA_VISIBLE_DEVICES`, by which CUDA counts; None if it is not set."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _find(nvml: Any, device_id: int) -> Any:
    """Return NVML's handle of CUDA's device.

    If GPUs of several kinds are installed, both count alike with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
    """
    visible = _visible()
    place = str(device_id) if visible is None else visible[device_id]
    if place.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(place))
    return nvml.nvmlDeviceGetHandleByUUID(place)
