"""`Network`: whatever runs a model. `OnnxNetwork`: one verified model on ONNX Runtime.

`open_network` puts a model on the runtime that is right for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.runtime.device import CPU, Device, Shapes
from photo2cartoon.runtime.session import count_nodes, open_session
from photo2cartoon_models.manifest import ManifestError, Model, Role, TensorContract
from photo2cartoon_models.preprocess import GOLDEN_TOLERANCE, probe_input, summarise

Array = NDArray[Any]
# What an OpenVINO device runs on OpenVINO. Detectors and mattes stay on ONNX Runtime: float32 gains
# them nothing, and bfloat16 moves what they decide (docs/benchmarks.md).
OPENVINO_ROLES: tuple[Role, ...] = ("landmarks", "generator")


LARGE = 512 * 512  # px of one picture; memory that a larger one takes is given back


class Network(Protocol):
    """A model that runs: alone (`LoadedNetwork`), or shared by many threads (`runtime.batcher`)."""

    @property
    def model(self) -> Model:
        """The model's entry in the manifest."""

    @property
    def nodes(self) -> Mapping[str, int]:
        """How many nodes of the graph each execution provider runs."""

    @property
    def precision(self) -> str:
        """What its arithmetic is done in: `float32`, `float16` or `bfloat16`."""

    def run(self, batch: Array, ticket: Ticket | None = None) -> list[Array]:
        """Run a batch `(N, ...)` as the contract states it; outputs in the contract's order."""

    def place(self, size: int) -> Array | None:
        """Return where to write the next batch of `size` to save a copy; None: anywhere."""

    def probe(self) -> Array:
        """Return the input of the self test, `(1, ...)`."""

    def warm_up(self) -> None:
        """Run the model once and check the answer.

        Raises:
            ManifestError: the answer is wrong.
        """


class LoadedNetwork:
    """A model of the manifest, loaded and held to its contract: what its runtimes have in common.

    Attributes:
        model: the model's entry in the manifest.
        nodes: how many nodes of the graph each execution provider runs.
        precision: what its arithmetic is done in.
    """

    nodes: Mapping[str, int]

    def __init__(self, model: Model, precision: str) -> None:
        self.model = model
        self.precision = precision

    def run(self, batch: Array, ticket: Ticket | None = None) -> list[Array]:
        """Run a batch `(N, ...)` as the contract states it; outputs in the contract's order."""
        raise NotImplementedError

    def place(self, size: int) -> Array | None:  # noqa: ARG002
        """Return None: any place will do."""
        return None

    def probe(self) -> Array:
        """Return the input of the self test: a drawn head, `(1, ...)`."""
        contract = self.model.inputs[0]
        return probe_input(contract.shape, contract.layout, contract.range)

    def warm_up(self) -> None:
        """Run the self test: this machine must answer like the one that wrote the manifest.

        Raises:
            ManifestError: an output is not finite, is flat, or differs from the manifest's.
        """
        golden = self.model.golden or (None,) * len(self.model.outputs)
        answers = zip(self.model.outputs, self.run(self.probe()), golden, strict=True)
        for contract, output, expected in answers:
            name = f"model {self.model.name}: output {contract.name}"
            if not np.isfinite(output).all():
                raise ManifestError(f"{name} is not finite")
            if output.size > 1 and not np.ptp(output):
                raise ManifestError(f"{name} is flat")
            if expected is None:
                continue
            low, high = contract.range
            off = np.abs(summarise(output) - np.array(expected)).mean() / (high - low)
            if not off <= GOLDEN_TOLERANCE:
                raise ManifestError(f"{name} is {off * 255:.1f} grey levels off the manifest's")


class OnnxNetwork(LoadedNetwork):
    """A model on ONNX Runtime. Any thread may call `run`."""

    def __init__(
        self,
        model: Model,
        device: Device = CPU,
        content: bytes | None = None,
        largest: int = 1,
        *,
        loose: bool = False,
    ) -> None:
        """Verify and load `model`.

        Args:
            model: the entry.
            device: where it must run.
            content: the ONNX file's content, if it is not on disk.
            largest: the largest batch that it will be given.
            loose: see `open_session`.

        Raises:
            ManifestError: file and entry differ in digest, tensor names, element types or shapes.
            StartRefused: the model does not run on `device`.
        """
        super().__init__(model, model.precision)
        content = model.read_verified() if content is None else content
        name = f"{model.name}-{model.sha256[:12]}"
        frugal = model.role == "generator" and model.takes_any_size
        self._session = open_session(
            content, name, device, _shapes(model, largest), loose=loose, frugal=frugal
        )
        self._after_large = onnxruntime.RunOptions()
        if not device.on_gpu:
            self._after_large.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        check_contract(model.name, model.inputs, _describe(self._session.get_inputs()))
        check_contract(model.name, model.outputs, _describe(self._session.get_outputs()))
        self._output_names = [tensor.name for tensor in model.outputs]
        self.nodes = count_nodes(self._session, device)

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The session itself, for insightface's code (`pipeline.faces.scrfd`)."""
        return self._session

    def run(
        self,
        batch: Array,
        ticket: Ticket | None = None,  # noqa: ARG002 - nothing waits here
    ) -> list[Array]:
        """See `LoadedNetwork`."""
        feed = {self.model.inputs[0].name: batch}
        options = self._after_large if is_large(batch) else None
        outputs: list[Array] = self._session.run(self._output_names, feed, options)
        return outputs


def is_large(batch: Array) -> bool:
    """Tell whether the pictures of a batch `(N, ...)` have more than `LARGE` pixels."""
    return batch.ndim == 4 and batch[0].size > 3 * LARGE


def open_network(model: Model, device: Device = CPU, largest: int = 1) -> LoadedNetwork:
    """Load `model` on the runtime that is right for it on `device`.

    Args:
        model: the entry.
        device: where it must run.
        largest: the largest batch that it will be given.

    Raises:
        ManifestError, StartRefused: as `OnnxNetwork`.
    """
    if device.provider != "openvino":
        return OnnxNetwork(model, device, largest=largest)
    if model.role not in OPENVINO_ROLES:
        return OnnxNetwork(model, CPU, largest=largest)
    from photo2cartoon.runtime.openvino import OpenVinoNetwork  # noqa: PLC0415 - an extra may lack it

    return OpenVinoNetwork(model, device)


def _shapes(model: Model, largest: int) -> Shapes | None:
    """Return what TensorRT must know of the input; None if more than the batch is free."""
    contract = model.inputs[0]
    rest = [size for size in contract.shape[1:] if isinstance(size, int)]
    if len(rest) < len(contract.shape) - 1:
        return None
    return Shapes(contract.name, tuple(rest), largest, half=model.precision == "float16")


Tensor = tuple[str, str, tuple[int | str | None, ...]]  # name, numpy's element type, sizes


def check_contract(
    name: str, contracts: Sequence[TensorContract], tensors: Sequence[Tensor]
) -> None:
    """Check that a graph has the tensors that the manifest states.

    Raises:
        ManifestError: names, element types or shapes differ.
    """
    found = sorted(tensors)
    stated = sorted((contract.name, contract.dtype, contract.shape) for contract in contracts)
    names_fit = [each[:2] for each in found] == [each[:2] for each in stated]
    pairs = zip((each[2] for each in stated), (each[2] for each in found), strict=False)
    if not names_fit or not all(_shape_fits(*pair) for pair in pairs):
        raise ManifestError(f"model {name}: the graph has {found}, the manifest says {stated}")


def _describe(nodes: Sequence[onnxruntime.NodeArg]) -> list[Tensor]:
    types = {"float": "float32", "double": "float64"}  # the others have numpy's names
    plain = ((n, n.type.removeprefix("tensor(").removesuffix(")")) for n in nodes)
    return [(node.name, types.get(kind, kind), tuple(node.shape)) for node, kind in plain]


def _shape_fits(stated: tuple[int | str, ...], found: tuple[int | str | None, ...]) -> bool:
    """Tell whether fixed sizes agree and free ones are free, whatever the graph calls them."""
    return len(stated) == len(found) and all(
        size == "*" or (size == other if isinstance(size, int) else not isinstance(other, int))
        for size, other in zip(stated, found, strict=True)
    )
