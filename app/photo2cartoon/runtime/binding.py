"""Binding: a network whose inputs and outputs stay in the same memory, run after run.

For each size of batch there is host memory (pinned on a GPU, so that copies need no detour) and
device memory, both bound to the session once. A run copies in, launches and copies out; addresses
stay the same, as CUDA graphs require. On a CPU both memories are the CPU's, so that the same code
runs there.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import onnxruntime

from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.runtime.cudart import Cudart, open_cudart
from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.network import Array, OnnxNetwork
from photo2cartoon_models.manifest import Model, TensorContract


class DeviceLost(BaseException):
    """The GPU no longer answers: only a new process helps. It ends the thread that meets it."""


class BoundNetwork(OnnxNetwork):
    """A network whose only free dimension is the batch. One thread runs it: its `Batcher`'s.

    CUDA's own state (its graphs, cuDNN's choice of kernels) belongs to the thread that runs, so
    that same thread also warms up.
    """

    def __init__(self, model: Model, device: Device, content: bytes, largest: int) -> None:
        """See `OnnxNetwork`."""
        super().__init__(model, device, content, largest)
        self.device = device
        self._sets: dict[int, _Buffers] = {}

    def run(
        self,
        batch: Array,
        ticket: Ticket | None = None,  # noqa: ARG002 - nothing waits here
    ) -> list[Array]:
        """Run a batch `(N, ...)`, which is best in the memory that `place` gave.

        Raises:
            DeviceLost: neither this batch nor the self test runs; CUDA's errors do not go away.
            Exception: what ONNX Runtime raises for this batch alone.
        """
        buffers = self._buffers(len(batch))
        if batch is not buffers.source.host:
            np.copyto(buffers.source.host, batch)
        try:
            return buffers.run()
        except Exception as error:
            buffers = self._buffers(1)
            np.copyto(buffers.source.host, self.probe())
            try:
                buffers.run()
            except Exception:  # noqa: BLE001 - whatever it says
                raise DeviceLost(str(error)) from error
            raise

    def place(self, size: int) -> Array:
        """Return the host memory from which a batch of `size` is copied to the device."""
        return self._buffers(size).source.host

    def probe(self) -> Array:
        """See `OnnxNetwork`; on black, where a matte network finds the drawn head."""
        picture = super().probe()
        paper = (picture == self.model.inputs[0].range[1]).all(axis=-1, keepdims=True)
        return np.where(paper, 0, picture).astype(self.model.inputs[0].dtype)

    @cached_property
    def _cudart(self) -> Cudart | None:
        return open_cudart(self.device)  # on the thread that runs: CUDA keeps a GPU per thread

    def _buffers(self, size: int) -> "_Buffers":
        if size not in self._sets:
            buffers = _Buffers(self._session, self.model, self.device, size, self._cudart)
            self._sets[size] = buffers
        return self._sets[size]


class _Buffers:
    """All memory that batches of one size read and write."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        model: Model,
        device: Device,
        size: int,
        cudart: Cudart | None,
    ) -> None:
        self.session = session
        self.source, *_ = _allocate(session, model.inputs, device, size, cudart)
        self.targets = _allocate(session, model.outputs, device, size, cudart)
        self.binding = session.io_binding()
        self.binding.bind_ortvalue_input(model.inputs[0].name, self.source.device)
        for contract, target in zip(model.outputs, self.targets, strict=True):
            self.binding.bind_ortvalue_output(contract.name, target.device)
        self.options = onnxruntime.RunOptions()
        if device.cuda_graphs:
            self.options.add_run_config_entry("gpu_graph_id", str(size))

    def run(self) -> list[Array]:
        """Run what is in the source's host memory; the caller may keep the answer."""
        self.source.upload()
        self.session.run_with_iobinding(self.binding, self.options)
        for target in self.targets:
            target.download()
        return [target.host.copy() for target in self.targets]


class _Buffer:
    """One tensor twice: in host memory, where numpy sees it, and in the device's memory."""

    def __init__(self, host: Array, device: onnxruntime.OrtValue, cudart: Cudart | None) -> None:
        self.host = host
        self.device = device
        self._cudart = cudart

    def upload(self) -> None:
        """Copy from the host to the device."""
        if self._cudart:
            self._cudart.upload(self.host, self.device.data_ptr())
        else:
            self.device.update_inplace(self.host)

    def download(self) -> None:
        """Copy from the device to the host."""
        if self._cudart:
            self._cudart.download(self.device.data_ptr(), self.host)
        else:
            np.copyto(self.host, self.device.numpy())


def _allocate(
    session: onnxruntime.InferenceSession,
    contracts: Sequence[TensorContract],
    device: Device,
    size: int,
    cudart: Cudart | None,
) -> list[_Buffer]:
    """Allocate zeroed buffers for tensors whose first size is the batch."""
    buffers = []
    for contract in contracts:
        shape = (size, *(int(rest) for rest in contract.shape[1:]))
        dtype = np.dtype(contract.dtype)
        placed = session.create_ortvalue_from_shape_and_type(
            shape, dtype, device.memory, device.device_id if device.on_gpu else 0
        )
        host = cudart.pinned(shape, dtype) if cudart else np.empty(shape, dtype)
        host[:] = 0
        buffers.append(_Buffer(host, placed, cudart))
    return buffers
