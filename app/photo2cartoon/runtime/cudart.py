"""CUDA's runtime, for what ONNX Runtime's Python API lacks: pinned memory, and copies with it.

ONNX Runtime's Python API has pinned host memory for plugin providers only
(`OrtEpDevice.memory_info`), but the CUDA provider of its wheel (1.31.1) is built in. This file
therefore calls four functions of the CUDA Runtime API (13.0, "Memory Management") through ctypes,
which releases the GIL; the library comes with the wheels that ONNX Runtime needs anyway.
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
    """The library, with one GPU set for the calling thread."""

    def __init__(self, library: Any, device_id: int) -> None:
        """Set the GPU.

        Args:
            library: libcudart, loaded by ctypes.
            device_id: CUDA's number of the GPU.

        Raises:
            CudaError: the GPU does not answer.
        """
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        self._call("cudaSetDevice", ctypes.c_int(device_id))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Allocate host memory that copies reach without a detour; it is never freed."""
        length = int(np.prod(shape)) * dtype.itemsize
        place = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(place), ctypes.c_size_t(length), ctypes.c_uint(0))
        memory = (ctypes.c_uint8 * length).from_address(place.value or 0)
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)

    def upload(self, host: NDArray[Any], device: int) -> None:
        """Copy a contiguous array to an address on the device; return when it is there."""
        self._copy(device, host.ctypes.data, host.nbytes, TO_DEVICE)

    def download(self, device: int, host: NDArray[Any]) -> None:
        """Copy from an address on the device to a contiguous array; return when it is there."""
        self._copy(host.ctypes.data, device, host.nbytes, TO_HOST)

    def _copy(self, target: int, source: int, length: int, kind: int) -> None:
        places = ctypes.c_void_p(target), ctypes.c_void_p(source)
        self._call("cudaMemcpy", *places, ctypes.c_size_t(length), ctypes.c_int(kind))

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            text = self._library.cudaGetErrorString(ctypes.c_int(code))
            raise CudaError(f"{name}: {text.decode(errors='replace')} ({code})")


def open_cudart(device: Device) -> Cudart | None:
    """Open the CUDA runtime that ONNX Runtime has loaded for `device`.

    Returns:
        The runtime; None on a CPU, or if the library does not load, which only costs speed.

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
