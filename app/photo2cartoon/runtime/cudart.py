"""CUDA's runtime, as far as ONNX Runtime's Python does not reach it: pinned memory, and copies.

ONNX Runtime's Python has pinned host memory for plugin providers only (`OrtEpDevice.memory_info`),
and the CUDA provider of its wheel (1.31.1) is built in. So: four functions of the CUDA Runtime API
(13.0, "Memory Management") by ctypes, which lets go of Python's lock; the library comes with the
wheels that ONNX Runtime needs anyhow.
"""

import ctypes
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.runtime.checks import cuda_version
from photo2cartoon.runtime.device import Device

log = logging.getLogger("photo2cartoon.runtime.cudart")

TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind


class CudaError(RuntimeError):
    """A function of the CUDA runtime failed; the message is CUDA's."""


class Cudart:
    """The library, with one GPU as the calling thread's."""

    def __init__(self, library: Any, device_id: int) -> None:
        """Take `library` as libcudart."""
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        self._call("cudaSetDevice", ctypes.c_int(device_id))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Host memory that copies reach without a detour; kept until the process ends."""
        length = int(np.prod(shape)) * dtype.itemsize
        place = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(place), ctypes.c_size_t(length), ctypes.c_uint(0))
        memory = (ctypes.c_uint8 * length).from_address(place.value or 0)
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def upload(self, host: NDArray[Any], device: int) -> None:
        """Copy a contiguous array to an address on the device; done on return."""
        self._copy(device, host.ctypes.data, host.nbytes, TO_DEVICE)

    def download(self, device: int, host: NDArray[Any]) -> None:
        """Copy from an address on the device to a contiguous array; done on return."""
        self._copy(host.ctypes.data, device, host.nbytes, TO_HOST)

    def _copy(self, target: int, source: int, length: int, kind: int) -> None:
        places = ctypes.c_void_p(target), ctypes.c_void_p(source)
        self._call("cudaMemcpy", *places, ctypes.c_size_t(length), ctypes.c_int(kind))

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            text = self._library.cudaGetErrorString(ctypes.c_int(code))
            raise CudaError(f"{name}: {text.decode(errors='replace')} ({code})")


def open_cudart(device: Device) -> Cudart | None:
    """The runtime that ONNX Runtime has loaded for `device`; None on a CPU.

    Raises:
        CudaError: the GPU does not answer.
    """
    if not device.on_gpu:
        return None
    try:
        library = ctypes.CDLL(f"libcudart.so.{cuda_version()}")
    except OSError as error:
        log.warning("no pinned memory", extra={"fields": {"why": str(error)}})
        return None
    return Cudart(library, device.device_id)
