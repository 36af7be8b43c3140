"""`Network`: whatever runs a model. `OnnxNetwork`: one verified model on ONNX Runtime."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.runtime.device import CPU, Device, Shapes
from photo2cartoon.runtime.session import count_nodes, open_session
from photo2cartoon_models.manifest import ManifestError, Model, TensorContract
from photo2cartoon_models.preprocess import GOLDEN_TOLERANCE, probe_input, summarise

Array = NDArray[Any]


class Network(Protocol):
    """A model that runs: alone (`OnnxNetwork`), or shared by many threads (`runtime.batcher`)."""

    @property
    def model(self) -> Model:
        """The model's entry in the manifest."""

    @property
    def nodes(self) -> Mapping[str, int]:
        """How many nodes of the graph each execution provider runs."""

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


class OnnxNetwork:
    """A model of the manifest, loaded and held to its contract. Any thread may call `run`."""

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
        self.model = model
        content = model.read_verified() if content is None else content
        name = f"{model.name}-{model.sha256[:12]}"
        self._session = open_session(content, name, device, _shapes(model, largest), loose=loose)
        _check_contract(model.name, model.inputs, self._session.get_inputs())
        _check_contract(model.name, model.outputs, self._session.get_outputs())
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
        """Run a batch `(N, ...)` as the contract states it; outputs in the contract's order."""
        feed = {self.model.inputs[0].name: batch}
        outputs: list[Array] = self._session.run(self._output_names, feed)
        return outputs

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


def _shapes(model: Model, largest: int) -> Shapes | None:
    """Return what TensorRT must know of the input; None if more than the batch is free."""
    contract = model.inputs[0]
    rest = [size for size in contract.shape[1:] if isinstance(size, int)]
    if len(rest) < len(contract.shape) - 1:
        return None
    return Shapes(contract.name, tuple(rest), largest, half=model.precision == "float16")


def _check_contract(
    name: str, contracts: Sequence[TensorContract], nodes: Sequence[onnxruntime.NodeArg]
) -> None:
    found = sorted((node.name, node.type, tuple(node.shape)) for node in nodes)
    stated = sorted(
        (
            contract.name,
            f"tensor({'float' if contract.dtype == 'float32' else contract.dtype})",
            contract.shape,
        )
        for contract in contracts
    )
    names_fit = [each[:2] for each in found] == [each[:2] for each in stated]
    pairs = zip((each[2] for each in stated), (each[2] for each in found), strict=False)
    if not names_fit or not all(_shape_fits(*pair) for pair in pairs):
        raise ManifestError(f"model {name}: the graph has {found}, the manifest says {stated}")


def _shape_fits(stated: tuple[int | str, ...], found: tuple[int | str | None, ...]) -> bool:
    """Tell whether fixed sizes agree and free ones are free, whatever the graph calls them."""
    return len(stated) == len(found) and all(
        size == "*" or (size == other if isinstance(size, int) else not isinstance(other, int))
        for size, other in zip(stated, found, strict=True)
    )
