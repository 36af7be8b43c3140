"""A portrait photo in, a cartoon of that person out. The public names are those of `__all__`.

`cartoonize` and `Photo2CartoonPredictor` draw, `Problem` and its subclasses are what a photo can be
refused for, `__version__` is that of the installed distribution. Importing the package loads none
of the libraries that it needs: they are loaded with the first name that needs them.

`Client` and `AsyncClient` draw on a service. They need the extra `client`, and are public without a
place in `__all__`, so that `from photo2cartoon import *` works without it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from photo2cartoon.ground.errors import (
    FaceTooSmall,
    InternalError,
    InvalidOption,
    NoFaceFound,
    NoSuchFace,
    Problem,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
    UnusableOutput,
)

# ONNX Runtime 1.29 and newer report to their maker unless this is set before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from photo2cartoon.client import AsyncClient as AsyncClient
    from photo2cartoon.client import Client as Client
    from photo2cartoon.predictor import Photo2CartoonPredictor, cartoonize

    __version__: str

__all__ = [
    "FaceTooSmall",
    "InternalError",
    "InvalidOption",
    "NoFaceFound",
    "NoSuchFace",
    "Photo2CartoonPredictor",
    "Problem",
    "TooManyPixels",
    "UndecodableImage",
    "UnsupportedFormat",
    "UnusableOutput",
    "__version__",
    "cartoonize",
]
CLIENTS = ("AsyncClient", "Client")


def __getattr__(name: str) -> Any:
    """Load what draws, or look the version up, when it is asked for.

    Raises:
        ImportError: a library is missing. For ONNX Runtime and httpx2, which no dependency brings,
            the message says what to install.
    """
    if name == "__version__":
        return _read_version()
    if name in CLIENTS:
        return getattr(import_module("photo2cartoon.client"), name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("photo2cartoon.predictor"), name)
    except ImportError as error:
        from photo2cartoon.runtime.checks import find_problems  # noqa: PLC0415 - as above

        if problems := find_problems("cpu"):
            raise ImportError(str(problems[0]), name=error.name) from error
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *CLIENTS})


def _read_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 20 ms

    try:
        return version("photo2cartoon")
    except PackageNotFoundError:
        return "0+unknown"  # a checkout that is not installed
