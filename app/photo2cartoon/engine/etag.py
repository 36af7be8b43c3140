"""ETag: one name for one answer, from everything that decides its bytes.

On a CPU the answer's bytes depend on nothing else: batch size and threads do not change them
(tests/app/engine/test_engine.py), the processor's instruction sets may, by a rounding. On a GPU a
batch of another size may take other kernels: there the tag is a weak one (RFC 9110, 8.8.1), which
says that two answers look alike.
"""

import hashlib
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import cv2
import onnxruntime

from photo2cartoon.ground.options import Options
from photo2cartoon_models.manifest import Model

PACKAGES = ("photo2cartoon", "opencv-python-headless", "pillow", "pi-heif", "numpy", "insightface")
ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def fingerprint(models: Iterable[Model], device: str) -> bytes:
    """Name what draws: the models, the device, the processor's features, the versions.

    Args:
        models: all that run.
        device: the provider and its options (`Device.describe`).
    """
    parts = [
        *(f"{model.name}={model.sha256}" for model in models),
        f"onnxruntime={onnxruntime.__version__}",  # its package has another name with CUDA
        *(f"{package}={_version(package)}" for package in PACKAGES),
        device,
        platform.machine(),
        cv2.getCPUFeaturesLine(),  # with what this processor has of them
    ]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # insightface is there for one detector only
        return "none"


def make_etag(photo: bytes, options: Options, engine: bytes, *, weak: bool = False) -> str:
    """Return the entity tag, quotes included, of the answer to `photo` with `options`.

    Args:
        photo: the file as it came.
        options: with the format settled.
        engine: the fingerprint of what draws.
        weak: two answers of this name look alike, and may differ by a rounding.
    """
    digest = hashlib.sha256(engine)
    digest.update(options.model_dump_json().encode())
    digest.update(hashlib.sha256(photo).digest())
    return f'{"W/" * weak}"{digest.hexdigest()[:32]}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names `etag`.

    `*` does not count: it asks whether there is any answer, which takes drawing one to know.
    """
    return etag.removeprefix("W/") in ENTITY_TAG.findall(if_none_match)
