"""Entity tag: one name for one picture, made from everything that decides its bytes.

On a CPU the bytes depend on nothing else: batch size and threads do not change them
(tests/app/engine/test_engine.py); the processor's instruction sets may, by a rounding. On a GPU a
batch of another size may take other kernels: there the tag is weak (RFC 9110, 8.8.1), which says
that two pictures of this name look alike.
"""

import hashlib
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import cv2
import onnxruntime

from photo2cartoon.ground.options import Options
from photo2cartoon_models.manifest import Model

PACKAGES = ("photo2cartoon", "opencv-python-headless", "pillow", "pi-heif", "numpy", "insightface")


def fingerprint(models: Iterable[Model], device: str) -> bytes:
    """Return a digest of what draws: the models, the device, the processor's features, versions.

    Args:
        models: every model that runs.
        device: the provider and its options (`Device.describe`).
    """
    parts = [
        *(f"{model.name}={model.sha256}" for model in models),
        f"onnxruntime={onnxruntime.__version__}",  # with CUDA its package has another name
        *(f"{package}={_version(package)}" for package in PACKAGES),
        device,
        platform.machine(),
        cv2.getCPUFeaturesLine(),  # marks those that this processor has
    ]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # insightface is installed for one detector only
        return "none"


def make_etag(photo: bytes, options: Options, engine: bytes, *, weak: bool = False) -> str:
    """Return the entity tag, quotes included, of the picture drawn from `photo` with `options`.

    Args:
        photo: the bytes of the file as they arrived.
        options: with the format settled.
        engine: the fingerprint of what draws.
        weak: whether two pictures of this name look alike but may differ by a rounding.
    """
    digest = hashlib.sha256(engine)
    digest.update(options.model_dump_json().encode())
    digest.update(hashlib.sha256(photo).digest())
    return f'{"W/" * weak}"{digest.hexdigest()[:32]}"'
