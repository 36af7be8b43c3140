"""Pack: the folder of InsightFace's model files that an operator brings (docs/insightface.md).

insightface downloads whatever it is asked for by a name that is not a file, so it is only ever
given files that were found and read here. The shapes of a file tell what it is, as in insightface
2.1 (`model_zoo/model_zoo.py`, `ModelRouter`): a pack says nothing else about its files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from photo2cartoon_models.manifest import ManifestError, Model, TensorContract, operators_file

INSTALL = "pip install --require-hashes --no-deps -r requirements/insightface.txt"
KEYPOINT_OUTPUTS = (9, 15)  # of three or five strides: scores, boxes, keypoints
PLAIN_OUTPUTS = (6, 10)  # the same without keypoints
PREPARATION = {"mean": 127.5, "std": 128.0}  # SCRFD's
FLOAT32 = 1  # onnx.TensorProto.FLOAT
LANDMARK_SIDE, POINT_VALUES = 192, 2 * 106


class PackError(ManifestError):
    """The pack cannot be used, or insightface is not installed; the message says why."""


@dataclass(frozen=True, slots=True)
class Pack:
    """The models of a pack that the pipeline uses.

    Attributes:
        folder: the pack's folder.
        detector: SCRFD with keypoints.
        landmarks: 2d106; None if the pack has none.
    """

    folder: Path
    detector: Model
    landmarks: Model | None

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the files in use, by name."""
        models = [model for model in (self.detector, self.landmarks) if model]
        return {model.path.name: model.sha256 for model in models}


def read_pack(folder: Path) -> Pack:
    """Look at every ONNX file of `folder` and describe those that the pipeline can use.

    Raises:
        PackError: the folder does not exist, has no detector with keypoints, or has two models of
            one kind.
    """
    if not folder.is_dir():
        raise PackError(f"P2C_INSIGHTFACE_PACK: {folder} is not a folder; nothing is downloaded")
    paths = sorted(folder.resolve().glob("*.onnx"))
    if not paths:
        raise PackError(f"P2C_INSIGHTFACE_PACK: no .onnx file in {folder}; nothing is downloaded")
    _check_preparation(folder)
    kinds = {path: _kind(path) for path in paths}
    detector = _only(kinds, "detector", folder)
    landmarks = _only(kinds, "landmarks", folder)
    if detector is None:
        plain = [path.name for path, kind in kinds.items() if kind == "plain detector"]
        why = f"{plain[0]} has no keypoints" if plain else "no file has SCRFD's outputs"
        raise PackError(f"P2C_INSIGHTFACE_PACK: no detector in {folder}: {why}")
    return Pack(folder, describe(detector, "detector"), _described(landmarks))


def _check_preparation(folder: Path) -> None:
    """Refuse a pack whose own manifest (insightface, version 2) asks for other input scaling."""
    path = folder / "manifest.json"
    if not path.exists():
        return
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))["tasks"]["detection"]
        asked = stated.get("preprocessing", PREPARATION)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackError(f"P2C_INSIGHTFACE_PACK: cannot read {path}: {error!r}") from error
    if asked != PREPARATION:
        raise PackError(
            f"P2C_INSIGHTFACE_PACK: {path} asks for input as {asked}, not {PREPARATION}"
        )


def _described(path: Path | None) -> Model | None:
    return None if path is None else describe(path, "landmarks")


Kind = Literal["detector", "plain detector", "landmarks", "other"]


def _kind(path: Path) -> Kind:
    inputs, outputs = _read_ends(path)
    if len(outputs) in KEYPOINT_OUTPUTS:
        return "detector"
    if len(outputs) in PLAIN_OUTPUTS:
        return "plain detector"
    if _shape(inputs[0])[2:] == (LANDMARK_SIDE,) * 2 and _shape(outputs[0])[-1:] == (POINT_VALUES,):
        return "landmarks"
    return "other"  # identity, age, 3D points: nothing to draw with


def _only(kinds: dict[Path, Kind], wanted: Kind, folder: Path) -> Path | None:
    paths = [path for path, kind in kinds.items() if kind == wanted]
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise PackError(f"P2C_INSIGHTFACE_PACK: {folder} has two of a kind, leave one: {names}")
    return paths[0] if paths else None


def describe(path: Path, role: Literal["detector", "landmarks"]) -> Model:
    """Return an entry for a file of a pack: the contract that its graph states, and its digest.

    Raises:
        PackError: it cannot be read, or its inputs and outputs are not float32.
    """
    inputs, outputs = _read_ends(path)
    if any(tensor.type.tensor_type.elem_type != FLOAT32 for tensor in (*inputs, *outputs)):
        raise PackError(f"P2C_INSIGHTFACE_PACK: {path} does not take and give float32")
    return Model(
        **operators_file(path),
        role=role,
        inputs=tuple(_contract(tensor, "NCHW", role) for tensor in inputs),
        outputs=tuple(_contract(tensor, "-", role) for tensor in outputs),
    )


def _contract(tensor: Any, layout: str, role: str) -> TensorContract:
    given = layout == "NCHW"
    return TensorContract(
        name=tensor.name,
        dtype="float32",
        shape=_shape(tensor, layout if given else "****"),
        layout=layout,
        colour="RGB" if given else "-",
        range=(-1.0, 1.0) if role == "detector" else (0.0, 255.0),
        meaning=f"as insightface {'feeds' if given else 'reads'} it",
    )


def _shape(tensor: Any, free: str = "****") -> tuple[int | str, ...]:
    """Return a tensor's sizes; `free` names those that the file leaves open."""
    dims = tensor.type.tensor_type.shape.dim
    return tuple(dim.dim_value or free[k] for k, dim in enumerate(dims[:4]))


def _read_ends(path: Path) -> tuple[list[Any], list[Any]]:
    """Return the inputs and the outputs of a graph, as onnx.ValueInfoProto."""
    try:
        import onnx  # noqa: PLC0415 - the embedded detector does not need it
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise PackError(missing(error)) from error
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise PackError(f"P2C_INSIGHTFACE_PACK: cannot read {path}: {error}") from error
    weights = {tensor.name for tensor in graph.initializer}  # older exporters list them as inputs
    inputs = [tensor for tensor in graph.input if tensor.name not in weights]
    if not inputs or not graph.output:
        raise PackError(f"P2C_INSIGHTFACE_PACK: {path} is not a network")
    return inputs, list(graph.output)


def missing(error: ModuleNotFoundError) -> str:
    """Say in one line which package P2C_DETECTOR=insightface needs and does not find."""
    return (
        f"P2C_DETECTOR=insightface needs the package {error.name}: "
        f"pip install 'photo2cartoon[insightface]', then {INSTALL}"
    )
