"""OpenVINO: the second runtime for CPUs, whose kernels use a processor's bfloat16 instructions.

ONNX Runtime's CPU provider does not: on a processor with AMX, OpenVINO runs the light generator 5.7
times as fast (docs/benchmarks.md). It is used directly, because the package `onnxruntime-openvino`
overwrites the files of `onnxruntime`.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from queue import LifoQueue
from threading import Lock
from typing import Any

import numpy as np
import openvino

from photo2cartoon.ground.machine import give_back_memory
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.runtime.checks import EXECUTION_PROVIDERS, Finding, StartRefused
from photo2cartoon.runtime.device import Device
from photo2cartoon.runtime.network import Array, LoadedNetwork, Tensor, check_contract, is_large
from photo2cartoon_models.manifest import Model

NAME = EXECUTION_PROVIDERS["openvino"]
Shape = tuple[int, ...]
# If a file leaves its sizes free, single squares of these sides, px, still run on graphs of fixed
# shapes, which are 5 to 9 % faster; a graph for larger ones would hold too much memory.
FIXED_SIDES = (256, 512)
CALLER = 0  # `NUM_STREAMS`: no threads of OpenVINO's; a request runs where `infer` is called
HINTS = {"float32": "f32", "bfloat16": "bf16"}  # the names that OpenVINO takes and gives


@cache
def core() -> openvino.Core:
    """Return OpenVINO's entry point, of which a process needs one."""
    return openvino.Core()


def has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 natively (AMX, AVX512-BF16)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoNetwork(LoadedNetwork):
    """A model on OpenVINO's CPU. Any thread may call `run`, as many as `device.streams` at once."""

    def __init__(self, model: Model, device: Device) -> None:
        """Verify and load `model`.

        A generator computes in the device's precision. Whatever decides does so in float32,
        because bfloat16 moves scores by 3 to 8 %.

        Raises:
            ManifestError: file and entry differ in digest, tensor names, element types or shapes.
            StartRefused: OpenVINO does not load the model, or not in that precision.
        """
        super().__init__(model, device.precision if model.role == "generator" else "float32")
        self._streams = device.streams
        self._opening = Lock()
        self._graphs: dict[Shape | None, _Compiled] = {}
        self._fixed = _fixed_shapes(model)
        self.nodes = {NAME: self._graph(self._fixed[0]).nodes}

    def run(
        self,
        batch: Array,
        ticket: Ticket | None = None,  # noqa: ARG002 - nothing waits here
    ) -> list[Array]:
        """See `LoadedNetwork`."""
        return self._graph(batch.shape).run(batch)

    def _graph(self, shape: Shape) -> "_Compiled":
        """Return the graph for inputs of `shape`, compiled when the first of them comes."""
        key = shape if shape in self._fixed else None
        if key not in self._graphs:
            with self._opening:
                if key not in self._graphs:
                    self._graphs[key] = self._compile(key)
        return self._graphs[key]

    def _compile(self, shape: Shape | None) -> "_Compiled":
        """Compile the graph for one shape, or for whatever shapes its file leaves open."""
        content = self.model.read_verified()
        try:
            graph = core().read_model(content)
            for contracts, ports in (
                (self.model.inputs, graph.inputs),
                (self.model.outputs, graph.outputs),
            ):
                check_contract(self.model.name, contracts, [_describe(port) for port in ports])
            if shape:
                graph.reshape(list(shape))
            return _Compiled(graph, self.model, self.precision, self._streams)
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise _refusal(self.model, reason) from error


class _Compiled:
    """A graph, compiled once for each stream; it runs on the thread that asks (`CALLER`).

    A request holds the tensors of one run, so a thread borrows one, and takes copies of the
    answers. Threads of OpenVINO's own would share one compilation (7 MiB a stream less), but waking
    one of them and being woken by it took 10 % of two lanes' throughput on a virtual machine.
    """

    def __init__(self, graph: Any, model: Model, precision: str, streams: int) -> None:
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "NUM_STREAMS": CALLER,
            "INFERENCE_NUM_THREADS": 1,
            "ENABLE_CPU_PINNING": False,  # the threads are ours, and a quota is not a set of cores
        }
        with ThreadPoolExecutor(streams) as pool:
            jobs = [
                pool.submit(core().compile_model, graph, "CPU", options) for _ in range(streams)
            ]
        first, *_ = every = [job.result() for job in jobs]
        got = first.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if got != HINTS[precision]:
            raise _refusal(model, f"it would compute in {got}, not in {precision}")
        self.nodes = len(first.get_runtime_model().get_ops())
        self._outputs = [contract.name for contract in model.outputs]
        self._idle: LifoQueue[openvino.InferRequest] = LifoQueue()
        for compiled in every:
            self._idle.put(compiled.create_infer_request())

    def run(self, batch: Array) -> list[Array]:
        request = self._idle.get()
        try:
            # `infer([batch])` does the same in .15 ms more, in which no other lane can go on.
            whole = np.ascontiguousarray(batch)  # memory is shared as it lies
            request.set_input_tensor(openvino.Tensor(whole, shared_memory=True))
            request.infer()
            return [request.get_tensor(name).data.copy() for name in self._outputs]
        finally:
            if is_large(batch):
                request.get_compiled_model().release_memory()
                give_back_memory()
            self._idle.put(request)


def _fixed_shapes(model: Model) -> list[Shape]:
    """Return the shapes that have graphs of their own; the self test's is the first."""
    shapes = []
    for side in FIXED_SIDES:
        free = {"N": 1, "H": side, "W": side}
        shapes.append(tuple(free.get(str(size), size) for size in model.inputs[0].shape))
    return [tuple(map(int, shape)) for shape in dict.fromkeys(shapes)]


def _describe(port: Any) -> Tensor:
    sizes = (None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return port.get_any_name(), port.element_type.to_dtype().name, tuple(sizes)


def _refusal(model: Model, what: str) -> StartRefused:
    remedy = "set P2C_CPU_PRECISION=float32, or P2C_PROVIDER=cpu to do without OpenVINO"
    return StartRefused(Finding(f"model {model.name}: OpenVINO: {what}", remedy))
