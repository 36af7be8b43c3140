"""The four networks that are embedded: where they come from and how they are converted.

Their source is one pinned wheel on the package registry, read as a zip archive and never installed.
Its metadata and LICENSE file say Apache-2.0; see NOTICE.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from photo2cartoon_models.mediapipe.tflite_reader import ConversionError
from photo2cartoon_models.mediapipe.tflite_to_onnx import convert

WHEEL_REQUIREMENT = "mediapipe==0.10.21"  # later releases ship no .tflite files
WHEEL_PYTHON = "3.11"
WHEEL_PLATFORM = "manylinux_2_28_x86_64"
WHEEL_FILE = "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"


@dataclass(frozen=True)
class Network:
    """One row of the table.

    Attributes:
        name: of the result, without ".onnx".
        member: path of the .tflite file inside the wheel.
        sha256: of that file.
        outputs: public names of the outputs, in the file's order; the input is "image".
        dynamic_hw: the network takes any height and width that its strides divide.
    """

    name: str
    member: str
    sha256: str
    outputs: tuple[str, ...]
    dynamic_hw: bool


NETWORKS = (
    # image (N,3,H,W) in [-1,1], RGB, declared 128x128 -> boxes (N,A,16) px, scores (N,A,1) logits
    Network(
        "face_short",
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ("boxes", "scores"),
        dynamic_hw=True,
    ),
    # the same ends, declared 192x192
    Network(
        "face_full",
        "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        ("boxes", "scores"),
        dynamic_hw=True,
    ),
    # image (N,3,192,192) in [0,1] -> landmarks (N,1404): 468 x (x, y, z) px, score (N,1) logit
    Network(
        "face_mesh",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        ("landmarks", "score"),
        dynamic_hw=False,
    ),
    # image (N,3,H,W) in [0,1], declared 256x256 -> mask (N,1,H,W) in [0,1], 1 is the person
    Network(
        "selfie",
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        ("mask",),
        dynamic_hw=True,
    ),
)


def read_tflite(wheel: Path, network: Network) -> bytes:
    """The network's .tflite file out of the wheel.

    Raises:
        ConversionError: it is missing, or is not the file with the pinned sha256.
    """
    with zipfile.ZipFile(wheel) as archive:
        try:
            data = archive.read(network.member)
        except KeyError as error:
            raise ConversionError(f"{wheel.name} has no {network.member}") from error
    if hashlib.sha256(data).hexdigest() != network.sha256:
        raise ConversionError(f"{network.member} is not the pinned file")
    return data


def convert_wheel(wheel: Path, out: Path) -> list[Path]:
    """Convert all four networks into the folder `out`; the paths in the order of the table.

    Raises:
        ConversionError: as `read_tflite` and `tflite_to_onnx.convert`.
    """
    paths = []
    for network in NETWORKS:
        model = convert(
            read_tflite(wheel, network),
            names=("image", *network.outputs),
            dynamic_hw=network.dynamic_hw,
            fp16_weights=True,
            metadata={
                "licence": "Apache-2.0",
                "source": f"{WHEEL_FILE}/{network.member}",
                "source_sha256": network.sha256,
                "changes": "converted from tflite to ONNX, NCHW, sparse weights made dense",
            },
        )
        path = out / f"{network.name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        paths.append(path)
    return paths
