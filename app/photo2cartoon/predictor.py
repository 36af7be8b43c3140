"""The pipeline in Python: `cartoonize`, and a predictor for whoever comes from PaddleGAN's.

Users of PaddleGAN change one import: the arguments and the names of the files are the same, and RGB
uint8 comes back. Three things are better here: the models are loaded once, EXIF orientation is
honoured, and a photo without a face raises an error with a code.
"""

import subprocess
import sys
from functools import cache
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import to_pixels
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import finish
from photo2cartoon_models.preprocess import composite

PHOTO_NAME = "p2c_photo.png"
CARTOON_NAME = "p2c_cartoon.png"

Bytes = bytes | bytearray | memoryview
Photo = str | PathLike[str] | Bytes | BinaryIO | NDArray[np.uint8] | Image.Image


def cartoonize(photo: Photo, **options: Any) -> NDArray[np.uint8]:
    """Draw the largest face of a photo, or what `options` say. Any thread may call this.

    The first call loads the models, as the settings say (`P2C_*` variables of the environment, or
    the configuration file), and they stay loaded as long as the process lives. A predictor of your
    own takes other weights, and can be dropped.

    Args:
        photo: as for `Photo2CartoonPredictor.run`.
        **options: likewise.

    Returns:
        As `Photo2CartoonPredictor.run`.

    Raises:
        Problem, OSError, TypeError, ValueError: as `Photo2CartoonPredictor.run`.
        ManifestError, StartRefused, ValueError: as `Photo2CartoonPredictor`; the next call tries to
            load the models again.
    """
    with _loading:  # of threads that come first together, one loads
        predictor = _load_shared()
    return predictor.run(photo, **options)


_loading = Lock()


@cache
def _load_shared() -> "Photo2CartoonPredictor":
    return Photo2CartoonPredictor(output_path=None)


class Photo2CartoonPredictor:
    """Turns photos into cartoons, one at a time; any thread may call `run`.

    The names of files and arguments are those of PaddleGAN @ 094a2eb,
    `ppgan/apps/photo2cartoon_predictor.py`.
    """

    def __init__(
        self, output_path: str | Path | None = "output", weight_path: str | Path | None = None
    ) -> None:
        """Load the models. Everything else is as the settings say.

        A setting is a `P2C_*` variable of the environment or, without one, a line of the
        configuration file `photo2cartoon.toml` (`ground.config_file`).

        Args:
            output_path: folder for `p2c_photo.png` and `p2c_cartoon.png`, made at the first run;
                None writes nothing.
            weight_path: `comic`, `photo2cartoon` or `photo2cartoon-lite`, which come with the
                package, or a generator of your own. An ONNX file (`input` float32 `(N, 3, S, S)`
                RGB -1..1, `output` alike) is used as it is; minivision's `.pt` and Paddle's
                `.pdparams` are converted first, once, into an ONNX file beside them, which needs
                torch. None: what the settings say.

        Raises:
            ManifestError: a model is missing, or is not what it has to be.
            StartRefused: what the settings ask for does not run on this machine.
            ValueError: a setting is wrong, or the weights cannot be converted; it says why.
        """
        self.output_path = None if output_path is None else Path(output_path)
        settings = Settings()
        if weight_path is not None:  # that one and no other
            settings = Settings(generator=to_onnx(Path(weight_path)), styles=())
        self._open(settings)

    def _open(self, settings: Settings) -> None:
        self.settings = settings
        self.pipeline = open_pipeline(settings)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as settings; the models stay here.

        Paths become absolute, because the other process may work in another folder.
        """
        here = self.settings
        files = {"generator": _absolute(here.generator), "styles": (*map(_absolute, here.styles),)}
        for name in ("matte_model", "insightface_pack"):
            path = getattr(here, name)
            files[name] = path and path.absolute()
        output = self.output_path and self.output_path.absolute()
        return {"output_path": output, "settings": here.model_copy(update=files)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the models again, as the settings say that travelled, not those of this process.

        Raises:
            ManifestError, StartRefused: as when a predictor is made.
        """
        self.output_path = state["output_path"]
        self._open(state["settings"])

    def run(self, image: Photo, **options: Any) -> NDArray[np.uint8]:
        """Draw the largest face of a photo, or what `options` say (`ground.options.Options`).

        Args:
            image: a path, a file's bytes, a file open for reading bytes, a Pillow image, or an
                array of uint8: `(H, W)` or `(H, W, 1)` gray, `(H, W, 3)` RGB, `(H, W, 4)` RGBA.
            **options: `style`, `faces`, `compose`, `size`, `background` and `colours`, with the
                values that they have over HTTP; one picture must come out.

        Returns:
            `(S, S, 3)` uint8 RGB, of the size that was asked for or is the style's own (256 px of
            photo2cartoon's); `(S, S, 4)` RGBA with a transparent background; `(H, W, 3)` of the
            photo's own size for a scene, and of at most that size for a whole photo.

        Raises:
            Problem: the photo has no face, is not an image, ...: `ground.errors` lists them.
            OSError: a path cannot be read.
            TypeError, ValueError: `image` is none of the above, or an option is wrong.
        """
        chosen = self.pipeline.styles.settle(Options(**options))
        if {"format", "quality"} & chosen.model_fields_set:
            raise ValueError("format and quality are for files, and this returns pixels")
        if "on_overload" in chosen.model_fields_set:
            raise ValueError("on_overload is for services, which have a queue")
        if chosen.faces == "all" and chosen.compose == "portrait":
            raise ValueError("faces='all' needs compose='scene': one picture must come out")
        ticket = Ticket()
        if chosen.compose == "whole":
            seen = self.pipeline.cropper.whole(to_bytes(image), ticket)
            cartoon = self.pipeline.styles.drawer(chosen).draw_whole(seen, ticket)
        else:
            photo, cuts = self.pipeline.cropper.crop(to_bytes(image), chosen, ticket)
            drawings = self.pipeline.draw_faces(photo, cuts, chosen, ticket)
            (cartoon,) = finish(photo, cuts, drawings, chosen)
            crop = cuts[0].crop
            seen = composite(crop.pixels, crop.inside)  # white outside the photo, as upstream
        if self.output_path is not None:
            self.output_path.mkdir(parents=True, exist_ok=True)
            (self.output_path / PHOTO_NAME).write_bytes(encode_image(seen, "png"))
            (self.output_path / CARTOON_NAME).write_bytes(encode_image(cartoon, "png"))
        return cartoon


def _absolute(style: Path) -> Path:
    return style.absolute() if style.exists() else style  # else it is a name of the manifest's


def to_onnx(weights: Path) -> Path:
    """Return `weights` as an ONNX file: itself, or what `convert` makes of it beside it.

    A name without a suffix is one of the manifest's, and stays as it is. The converter runs in a
    process of its own, because it imports torch and this process never does.

    Raises:
        ValueError: the weights are refused, or torch is missing.
    """
    if weights.suffix.lower() in ("", ".onnx"):
        return weights
    target = weights.with_suffix(".onnx")
    if target.exists() and target.stat().st_mtime >= weights.stat().st_mtime:
        return target
    files = map(str, (weights.resolve(), target.resolve()))
    command = [sys.executable, "-m", "photo2cartoon", "convert", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise ValueError(f"cannot convert {weights}: {reason[-1] if reason else 'no reason given'}")
    return target


def to_bytes(image: Photo) -> bytes:
    """Encode every kind of input that is no file yet, so that all take one way.

    A Pillow image becomes what its file would be decoded to: upright, in sRGB by its profile, on
    white. A file object is read from its beginning, wherever it stands.

    Raises:
        OSError: a path cannot be read.
        TypeError, ValueError: `image` is none of the kinds, or an array of another shape or type.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | PathLike):
        return Path(image).read_bytes()
    if isinstance(image, Image.Image):
        if not image.width * image.height:
            raise ValueError("the image is empty")
        return encode_image(to_pixels(image), "png")
    if isinstance(image, np.ndarray):
        return encode_image(_to_colours(image), "png")
    return _read_file(image)


def _read_file(file: BinaryIO) -> bytes:
    if not hasattr(file, "read"):
        kinds = "path, bytes, file, array or Pillow image"
        raise TypeError(f"no {kinds}: {type(file).__name__}")
    if getattr(file, "seekable", bool)():
        file.seek(0)
    content: object = file.read()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(f"the file gives {type(content).__name__}, not bytes: open it with 'rb'")
    return bytes(content)


def _to_colours(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an array as `(H, W, 3)` RGB or `(H, W, 4)` RGBA."""
    if not array.size:
        raise ValueError(f"the array is empty: {array.shape}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        expected = "(H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, uint8"
        raise ValueError(f"an array must be {expected}; not {array.shape} {array.dtype}")
    return np.repeat(np.atleast_3d(array), 3, axis=2) if channels == 1 else array
