"""ONNX Runtime with and without planned memory reuse, for every embedded model: one thread.

python -m benchmarks.sessions [--rounds 30]
"""

import time
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from photo2cartoon_models.manifest import Model, load_manifest

SIZES = {"face_short": 128, "face_full": 384, "selfie": 256}


def main(rounds: Annotated[int, typer.Option(min=3)] = 30) -> None:
    """Print one table; both sessions take turns."""
    table = Table("model", "reuse, ms", "no reuse, ms", "median ratio")
    for model in load_manifest().values():
        sessions = [open_session(model, reuse) for reuse in (True, False)]
        contract = model.inputs[0]
        side = SIZES.get(model.name) or model.image_size
        feed = {contract.name: np.random.default_rng(0).random((1, 3, side, side), np.float32)}
        seconds = np.array([[timed(session, feed) for session in sessions] for _ in range(rounds)])
        with_reuse, without = np.median(seconds, axis=0) * 1000
        ratio = np.median(seconds[:, 0] / seconds[:, 1])
        table.add_row(model.name, f"{with_reuse:.2f}", f"{without:.2f}", f"{ratio:.2f}")
    Console().print(table)


def open_session(model: Model, reuse: bool) -> onnxruntime.InferenceSession:
    """A session as the service opens it, but for the one switch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_reuse = reuse
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.read_verified(), options, providers=providers)


def timed(session: onnxruntime.InferenceSession, feed: Mapping[str, object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
