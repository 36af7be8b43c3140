"""Network: what runs a model. OnnxNetwork: one verified model on ONNX Runtime."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.ticket import Ticket
from models.manifest import ManifestError, Model, TensorContract
from models.preprocess import GOLDEN_TOLERANCE, probe_input, summarise

PROVIDER = "CPUExecutionProvider"


class Network(Protocol):
    """A model that runs: alone (`OnnxNetwork`), or shared by many threads (`app.batcher`)."""

    @property
    def model(self) -> Model:
        """Its entry in the manifest."""

    @property
    def precision(self) -> str:
        """Of its arithmetic: `float32` or `float16`."""

    @property
    def nodes(self) -> Mapping[str, int]:
        """How many nodes of its graph each execution provider runs."""

    def run(
        self, batch: NDArray[np.float32], ticket: Ticket | None = None
    ) -> list[NDArray[np.float32]]:
        """Run a batch `(N, ...)` as the contract states it; outputs in the contract's order."""

    def probe(self) -> NDArray[np.float32]:
        """Return the input of the self test, `(1, ...)`."""

    def warm_up(self) -> None:
        """Run it once and check the answer."""


class OnnxNetwork:
    """A model of the manifest, loaded and held to its contract. `run` may be called by any thread.

    One thread per run: the service runs many photos side by side, and threads inside a run would
    only fight over the same cores (ONNX Runtime also does not see a container's CPU quota).
    """

    def __init__(self, model: Model) -> None:
        """Verify and load `model`.

        Raises:
            ManifestError: file and entry differ: digest, tensor names, element types or shapes.
        """
        self.model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Planned reuse of buffers moves activations to colder memory: without it the generators run
        # 1.07 to 1.12 times as fast and take less memory (docs/benchmarks.md).
        options.enable_mem_reuse = False
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        self.session = onnxruntime.InferenceSession(
            model.read_verified(), options, providers=[PROVIDER]
        )
        _check_contract(model.name, model.inputs, self.session.get_inputs())
        _check_contract(model.name, model.outputs, self.session.get_outputs())
        self._output_names = [tensor.name for tensor in model.outputs]
        about = self.session.get_modelmeta().custom_metadata_map
        self.precision = "float16" if about.get("form") == "half" else "float32"  # models.convert's
        self.nodes: Counter[str] = Counter()
        for part in self.session.get_provider_graph_assignment_info():
            self.nodes[part.ep_name] += len(part.get_nodes())

    def run(
        self,
        batch: NDArray[np.float32],
        ticket: Ticket | None = None,  # noqa: ARG002 - nothing is waited for here
    ) -> list[NDArray[np.float32]]:
        """Run a batch `(N, ...)` as the contract states it; outputs in the contract's order."""
        feed = {self.model.inputs[0].name: batch}
        outputs: list[NDArray[np.float32]] = self.session.run(self._output_names, feed)
        return outputs

    def probe(self) -> NDArray[np.float32]:
        """Return the input of the self test: a drawn head, `(1, ...)`."""
        contract = self.model.inputs[0]
        return probe_input(contract.shape, contract.layout, contract.range)

    def warm_up(self) -> None:
        """Run the self test: this machine must answer as the one did that wrote the manifest.

        Raises:
            ManifestError: an output is not finite, is flat, or is not the manifest's.
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


def _check_contract(
    name: str, contracts: Sequence[TensorContract], nodes: Sequence[onnxruntime.NodeArg]
) -> None:
    found = [(node.name, node.type, tuple(map(_free_size, node.shape))) for node in nodes]
    stated = [
        (
            contract.name,
            f"tensor({'float' if contract.dtype == 'float32' else contract.dtype})",
            tuple(map(_free_size, contract.shape)),
        )
        for contract in contracts
    ]
    if sorted(found) != sorted(stated):
        raise ManifestError(f"model {name}: the graph has {found}, the manifest says {stated}")


def _free_size(size: int | str | None) -> int:
    """-1 for a free size, whatever the graph calls it."""
    return size if isinstance(size, int) else -1
