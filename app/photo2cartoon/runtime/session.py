"""Sessions: models on ONNX Runtime, on the device asked for or not at all.

If a provider fails, ONNX Runtime warns and continues on the CPU, both at the start of a session
(microsoft/onnxruntime#23372) and in the middle of a run. Both are refused here: what was put on a
GPU computes there.
"""

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import onnxruntime

from photo2cartoon.runtime.checks import (
    EXECUTION_PROVIDERS,
    Finding,
    StartRefused,
    preload_libraries,
)
from photo2cartoon.runtime.device import Device, Shapes

# What ONNX Runtime keeps on the CPU beside a GPU: arithmetic on shapes, which are a few integers.
SHAPE_OPS = {
    *("Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Gather", "Identity", "Range"),
    *("Reshape", "Shape", "Size", "Slice", "Split", "Squeeze", "Unsqueeze", "Where"),
    *("Add", "Div", "Max", "Min", "Mod", "Mul", "ReduceProd", "Sub"),
    *("Equal", "Greater", "Less"),
}
CPU = EXECUTION_PROVIDERS["cpu"]
ERRORS = 3  # ONNX Runtime's log level above warnings


def open_session(
    content: bytes,
    name: str,
    device: Device,
    shapes: Shapes | None = None,
    *,
    loose: bool = False,
    frugal: bool = False,
) -> onnxruntime.InferenceSession:
    """Load a model on `device`.

    Args:
        content: the ONNX file's content.
        name: the model's name, for messages and TensorRT's engines.
        device: where it must run.
        shapes: its input's sizes, for TensorRT.
        loose: whether the file states output shapes that hold at one input size only, as SCRFD's
            do; ONNX Runtime would warn about each of them at every run.
        frugal: whether it meets pictures so large that their buffers have to be used again.

    Raises:
        StartRefused: the model, or some of its arithmetic, would not run there.
    """
    if device.on_gpu:
        preload_libraries()
    if device.provider == "tensorrt":
        _make_engine_folder(name, device)
    providers = device.providers(name, shapes)
    try:
        session = onnxruntime.InferenceSession(
            content, _options(device, loose, frugal), providers=providers, enable_fallback=0
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if not device.on_gpu:
            remedy = "put an ONNX file that works in its place"
            raise StartRefused(Finding(f"model {name}: {reason}", remedy)) from error
        raise _refusal(name, f"no session with {device.execution_provider}: {reason}") from error
    if device.on_gpu:
        check_placement(session, name, device)
    return session


def check_placement(session: onnxruntime.InferenceSession, name: str, device: Device) -> None:
    """Check that a session computes on the GPU.

    Raises:
        StartRefused: it, or some of its arithmetic, is placed elsewhere.
    """
    wanted, found = device.execution_provider, session.get_providers()
    if wanted not in found:
        raise _refusal(name, f"ONNX Runtime put it on {' and '.join(found)}, not on {wanted}")
    placed = list(_placed(session))
    if not any(ep == wanted for ep, _ in placed):
        raise _refusal(name, f"{wanted} got none of its nodes")
    strays = Counter(op for ep, op in placed if ep == CPU and op not in SHAPE_OPS)
    if strays:
        words = ", ".join(f"{count} {op}" for op, count in sorted(strays.items()))
        raise _refusal(name, f"{strays.total()} nodes would compute on the CPU ({words})")


def count_nodes(session: onnxruntime.InferenceSession, device: Device) -> Counter[str]:
    """Count the nodes of a session's graph that each execution provider runs.

    Beside a GPU, the CPU's arithmetic on shapes is left out, so that any node counted for the CPU
    is one too many.
    """
    return Counter(
        ep for ep, op in _placed(session) if not (device.on_gpu and ep == CPU and op in SHAPE_OPS)
    )


def _placed(session: onnxruntime.InferenceSession) -> Iterator[tuple[str, str]]:
    """Yield the provider and the operator of each node."""
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            yield part.ep_name, node.op_type


def _make_engine_folder(name: str, device: Device) -> None:
    if find_spec("tensorrt"):  # NVIDIA's wheel: importing it loads the libraries in it
        import_module("tensorrt")
    folder = device.engine_folder(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(name, f"cannot make the folder {folder}: {error.strerror}") from error


def _options(device: Device, loose: bool, frugal: bool) -> onnxruntime.SessionOptions:
    """Return options with one thread per run: many photos run side by side on the same cores.

    Threads inside a run would only compete for the cores, and ONNX Runtime does not see a
    container's CPU quota.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    if loose:
        options.log_severity_level = ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Planned reuse of buffers moves activations to colder memory. Without it, the generators run
    # 1.07 to 1.12 times as fast on a CPU and take less memory (docs/benchmarks.md).
    options.enable_mem_reuse = device.on_gpu or frugal
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _refusal(name: str, what: str) -> StartRefused:
    remedy = "run photo2cartoon doctor for details, or set P2C_PROVIDER=cpu to do without a GPU"
    return StartRefused(Finding(f"model {name}: {what}", remedy))
