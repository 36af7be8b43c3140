"""Prove where the embedded networks come from: `make verify-models`.

Downloads the pinned wheel once (it is never installed), converts its four networks again and
compares them bit for bit with the manifest's files. Then runs every network beside
LiteRT, the reference runtime of .tflite files, on random images. Exit code 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from rich.console import Console
from rich.table import Table

from photo2cartoon_models.manifest import ManifestError, Model, load_manifest
from photo2cartoon_models.mediapipe import wheel as mediapipe
from photo2cartoon_models.mediapipe.tflite_reader import Array, ConversionError

CACHE = Path(".cache") / "wheels"  # below the folder it is called in: the checkout, by make
TOLERANCE = 1e-3  # pixels, logits (down to -300) and mask; another order of sums alone gives 6e-4
BATCH = 3
SQUARE = 32  # px; divides the input sizes of all four networks


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch_wheel(cache: Path) -> Path:
    """The pinned wheel out of the cache, downloaded where it is missing or not the right file.

    Raises:
        ConversionError: pip could not download it, or what came has another sha256.
    """
    wheel = cache / mediapipe.WHEEL_FILE
    if wheel.exists() and sha256(wheel) == mediapipe.WHEEL_SHA256:
        return wheel
    wheel.unlink(missing_ok=True)  # pip would keep it
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(cache)]
    command += ["--python-version", mediapipe.WHEEL_PYTHON, "--platform", mediapipe.WHEEL_PLATFORM]
    done = subprocess.run([*command, mediapipe.WHEEL_REQUIREMENT], check=False)  # noqa: S603 - all constants
    if done.returncode or not wheel.exists():
        raise ConversionError(f"pip could not download {mediapipe.WHEEL_FILE}")
    if sha256(wheel) != mediapipe.WHEEL_SHA256:
        raise ConversionError(f"{mediapipe.WHEEL_FILE} has another sha256 than the pinned one")
    return wheel


def file_problems(fresh: Path, model: Model | None) -> list[str]:
    """What keeps a committed model from being the freshly converted one."""
    if model is None:
        return [f"{fresh.name} has no entry in the manifest"]
    try:
        committed = model.read_verified()
    except ManifestError as error:
        return [str(error)]
    if committed != fresh.read_bytes():
        return [f"{fresh.name} is not what the converter makes"]
    return []


def mosaics(side: int, rng: np.random.Generator) -> Array:
    """BATCH random images (BATCH, side, side, 3), float32 in [-1, 1], of squares of one colour.

    Plain noise would prove little: the mask of it is zero everywhere.
    """
    coarse = rng.uniform(-1, 1, (BATCH, side // SQUARE, side // SQUARE, 3)).astype(np.float32)
    return coarse.repeat(SQUARE, axis=1).repeat(SQUARE, axis=2)


def differences(tflite: bytes, model: Path, seed: int = 0) -> dict[str, float]:
    """Largest absolute difference to LiteRT of every output, over single images and one batch.

    Args:
        tflite: the source network, NHWC float32, batch 1.
        model: its conversion, NCHW.
        seed: of the BATCH images, mosaics in [-1, 1].
    """
    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    images = mosaics(source["shape"][1], np.random.default_rng(seed))
    expected = [_run_litert(interpreter, source["index"], image[None]) for image in images]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    nchw = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    batch = session.run(None, {"image": nchw})
    singles = [session.run(None, {"image": image[None]}) for image in nchw]
    result = {}
    for k, output in enumerate(session.get_outputs()):
        wanted = np.concatenate([_like(arrays[k], batch[k]) for arrays in expected])
        got = np.concatenate([arrays[k] for arrays in singles])
        result[output.name] = float(max(abs(got - wanted).max(), abs(batch[k] - wanted).max()))
    return result


def _run_litert(interpreter: Any, index: int, image: Array) -> list[Array]:
    """All outputs for one NHWC image; copies, because the interpreter writes over its memory."""
    interpreter.set_tensor(index, image)
    interpreter.invoke()
    return [interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()]


def _like(array: Array, converted: Array) -> Array:
    """A tflite output of one image in the layout of its converted like."""
    if array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    return array.reshape(1, *converted.shape[1:])


def verify(wheel: Path, models: Mapping[str, Model]) -> tuple[Table, list[str]]:
    """Check all networks: a table to print, and one line per problem (none: all is well)."""
    table = Table("file", "bytes", "sha256", "sha256 ok", "max difference to LiteRT")
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        fresh_paths = mediapipe.convert_wheel(wheel, Path(folder))
        for network, fresh in zip(mediapipe.NETWORKS, fresh_paths, strict=True):
            found = file_problems(fresh, models.get(network.name))
            far = differences(mediapipe.read_tflite(wheel, network), fresh)
            table.add_row(
                fresh.name,
                f"{fresh.stat().st_size:,}",
                sha256(fresh)[:16],
                "no" if found else "yes",
                "\n".join(f"{name} {value:.1e}" for name, value in far.items()),
            )
            problems += found
            problems += [
                f"{fresh.name}: {name} is {value:.1e} away from LiteRT, allowed {TOLERANCE:.0e}"
                for name, value in far.items()
                if not value <= TOLERANCE  # NaN is far away too
            ]
    return table, problems


def main() -> int:
    console = Console()
    try:
        table, problems = verify(fetch_wheel(CACHE), load_manifest())
    except (ConversionError, ManifestError) as error:
        console.print(f"[red]failed:[/red] {error}")
        return 1
    console.print(table)
    for problem in problems:
        console.print(f"[red]differs:[/red] {problem}")
    if not problems:
        console.print("The embedded networks are those of the pinned wheel.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
