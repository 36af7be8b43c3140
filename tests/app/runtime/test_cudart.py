"""Pinned memory and copies, with a fake in place of CUDA's library."""

import ctypes
from typing import Any

import numpy as np
import pytest

from photo2cartoon.ground.settings import LITE
from photo2cartoon.pipeline.fuse import fuse
from photo2cartoon.runtime import binding
from photo2cartoon.runtime.binding import BoundNetwork
from photo2cartoon.runtime.cudart import CudaError, Cudart, open_cudart
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.manifest import load_manifest


class _ErrorString:
    """A function as ctypes has them: the type of its result can be set."""

    restype: Any = None

    def __call__(self, code: ctypes.c_int) -> bytes:
        return b"no CUDA-capable device is detected"


class FakeLibrary:
    """CUDA's functions on this machine's own memory; says what was asked, fails when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.memory: list[Any] = []
        self.code = 0
        self.cudaGetErrorString = _ErrorString()

    def cudaSetDevice(self, device: ctypes.c_int) -> int:  # noqa: N802
        self.calls.append(("set", device.value))
        return self.code

    def cudaHostAlloc(self, place: Any, length: ctypes.c_size_t, flags: Any) -> int:  # noqa: N802
        self.memory.append(ctypes.create_string_buffer(length.value))
        place._obj.value = ctypes.addressof(self.memory[-1])
        self.calls.append(("alloc", length.value))
        return self.code

    def cudaMemcpy(self, target: Any, source: Any, length: Any, kind: Any) -> int:  # noqa: N802
        ctypes.memmove(target, source, length.value)
        self.calls.append(("copy", length.value, kind.value))
        return self.code


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


def test_pinned_memory_is_an_array_that_can_be_copied(library: FakeLibrary) -> None:
    runtime = Cudart(library, 1)
    host = runtime.pinned((2, 3), np.dtype(np.float32))
    host[:] = np.arange(6).reshape(2, 3)
    device = ctypes.create_string_buffer(24)
    runtime.upload(host, ctypes.addressof(device))
    host[:] = 0
    runtime.download(ctypes.addressof(device), host)
    np.testing.assert_array_equal(host, np.arange(6).reshape(2, 3))
    assert library.calls == [("set", 1), ("alloc", 24), ("copy", 24, 1), ("copy", 24, 2)]


def test_what_cuda_says_is_passed_on(library: FakeLibrary) -> None:
    library.code = 100
    with pytest.raises(CudaError, match=r"cudaSetDevice: no CUDA-capable device .* \(100\)"):
        Cudart(library, 0)


def test_a_cpu_needs_none_of_it_and_a_gpu_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_cudart(CPU) is None

    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert open_cudart(Device("cuda")) is None  # slower, not wrong


def test_a_bound_network_gives_the_same_bytes_through_it(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest()
    model, content = fuse(manifest["selfie"], manifest[LITE])
    crops = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    expected = OnnxNetwork(model, CPU, content).run(crops)
    monkeypatch.setattr(binding, "open_cudart", lambda _: Cudart(library, 0))
    bound = BoundNetwork(model, CPU, content, 2)
    for _ in range(2):
        for found, output in zip(bound.run(crops), expected, strict=True):
            np.testing.assert_array_equal(found, output)
    square = 256 * 256
    run = [("copy", 2 * 3 * square, 1)]
    run += [("copy", 2 * 3 * square, 2)] * 2  # as drawn, and in the photo's colours
    run += [("copy", 2 * square, 2), ("copy", 2 * 4, 2)]  # matte, spread
    assert [call for call in library.calls if call[0] == "copy"] == run * 2
