"""The folders that evaluation reads, and the cartoons that a generator draws from them."""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pi_heif
from numpy.typing import NDArray
from PIL import Image as Pillow

from photo2cartoon_models import files
from photo2cartoon_models.preprocess import composite, to_image, to_tensor

pi_heif.register_heif_opener()  # Pillow knows the other formats of `files.PHOTO_SUFFIXES`

Image = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]  # what is done, how many of it, of how many
# What the service makes of a photo's file: the aligned photo on white and its cartoon, both
# (S, S, 3) uint8 RGB; None where it finds no face to draw.
Serve = Callable[[bytes], tuple[Image, Image] | None]

SIDE = 256  # px
SEXES = ("female", "male")
LISTED = 3  # files in an error message


class EvaluationError(Exception):
    """A folder or file is not what evaluation needs; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Photo:
    """An aligned photo, prepared or served, and the cartoon drawn of it.

    Attributes:
        name: path below its folder, without suffix.
        photo: its file; for a pair, the file of the pair.
        cartoon: the file of the cartoon.
        pair: whether `photo` holds the photo and the original's cartoon side by side.
        group: the group of people it is counted with; empty if none is known.
    """

    name: str
    photo: Path
    cartoon: Path
    pair: bool = False
    group: str = ""

    def read_photo(self) -> Image:
        """`(S, S, 3)` uint8 RGB; S is 256 but for a served photo."""
        picture = read_picture(self.photo)
        return picture[:, :SIDE] if self.pair else picture

    def read_original(self) -> Image:
        """Read the right half of a pair, `(256, 256, 3)` uint8 RGB."""
        return read_picture(self.photo)[:, SIDE:]

    def read_cartoon(self) -> Image:
        """As large as the photo, `(S, S, 3)` uint8 RGB."""
        return read_picture(self.cartoon)

    def read_side(self) -> int:
        """Side of the cartoon, px: the service draws a small face at a smaller size."""
        return _size(self.cartoon)[0]

    def read_small_cartoon(self) -> Image:
        """The cartoon as the feature network takes it, `(256, 256, 3)` uint8 RGB."""
        return read_drawing(self.cartoon)


class OnnxGenerator:
    """A generator of the published contract, on all cores.

    Attributes:
        name: the name of the file.
        sha256: the digest of its content.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            self._session = onnxruntime.InferenceSession(
                content, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise EvaluationError(f"cannot read {path}: {error.strerror}") from error
        except Exception as error:  # ONNX Runtime raises what it likes
            raise EvaluationError(f"{path} is not an ONNX file that runs: {error}") from error
        self.name, self.sha256 = path.name, hashlib.sha256(content).hexdigest()
        inputs = self._session.get_inputs()
        free = [size if isinstance(size, int) else None for size in inputs[0].shape]
        fits = len(free) == 4 and free[1] == 3 and {*free[2:]} <= {SIDE, None}
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not fits:
            raise EvaluationError(
                f"{path} takes {inputs[0].type} {inputs[0].shape}, not float32 (N, 3, 256, 256)"
            )
        self._input = inputs[0].name

    def draw(self, photo: Image) -> Image:
        """Draw a prepared photo, both `(256, 256, 3)` uint8 RGB; the cartoon is not composited.

        Raises:
            EvaluationError: the output is not a picture.
        """
        (output, *_) = self._session.run(None, {self._input: to_tensor(photo)[None]})
        if output.shape != (1, 3, SIDE, SIDE) or not np.isfinite(output).all():
            raise EvaluationError(
                f"{self.name} gives {output.shape}, not finite pictures (1, 3, {SIDE}, {SIDE})"
            )
        return to_image(output[0]).astype(np.uint8)


def read_picture(path: Path) -> Image:
    """Read a picture, transparency laid on white: `(H, W, 3)` uint8 RGB."""
    try:
        with Pillow.open(path) as picture:
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                rgba = np.asarray(picture.convert("RGBA"))
                return composite(rgba[:, :, :3], rgba[:, :, 3])
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise EvaluationError(f"cannot read {path}: {error}") from error


def find_photos(folder: Path, size: tuple[int, int]) -> list[Path]:
    """Find the pictures in `folder` and below, in a stable order, all of `size` (width, height).

    Raises:
        EvaluationError: there is none, or some have another size.
    """
    width, height = size
    wanted = f"must have {width}x{height} px, as prepare-data writes them"
    return _find(folder, lambda found: found == size, wanted)


def find_drawings(folder: Path) -> list[Path]:
    """Find the pictures in `folder` and below, in a stable order; all of them squares.

    Raises:
        EvaluationError: there is none, or some are not square.
    """
    return _find(folder, lambda found: found[0] == found[1], "must be squares")


def _find(folder: Path, fits: Callable[[tuple[int, int]], bool], wanted: str) -> list[Path]:
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder")
    found = files.find_photos(folder)
    if not found:
        raise EvaluationError(f"there is no picture in {folder}")
    sizes = {path: _size(path) for path in found}
    wrong = [f"{path.name} {s[0]}x{s[1]}" for path, s in sizes.items() if not fits(s)]
    if wrong:
        more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise EvaluationError(
            f"the pictures in {folder} {wanted}: {', '.join(wrong[:LISTED])}{more}"
        )
    return found


def _size(path: Path) -> tuple[int, int]:
    try:
        with Pillow.open(path) as picture:
            return picture.size
    except (OSError, Pillow.DecompressionBombError) as error:
        raise EvaluationError(f"cannot read {path}: {error}") from error


def read_drawing(path: Path) -> Image:
    """Read a square drawing on white, resized to `(256, 256, 3)` uint8 RGB.

    Pillow's bicubic looks at all pixels it shrinks: a sampled one would be part of every KID
    (Parmar et al. 2022, arXiv:2104.11222).
    """
    drawing = Pillow.fromarray(read_picture(path))
    return np.asarray(drawing.resize((SIDE, SIDE), Pillow.Resampling.BICUBIC))


def draw_all(generator: OnnxGenerator, photos: list[Photo], what: str, progress: Progress) -> None:
    """Write the cartoon of every photo, PNG."""
    for done, photo in enumerate(photos, 1):
        photo.cartoon.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(generator.draw(photo.read_photo())).save(photo.cartoon)
        progress(what, done, len(photos))


def serve_all(
    serve: Serve, raw: dict[str, Path], photos: list[Photo], out: Path, progress: Progress
) -> list[Photo]:
    """Draw photos as the service does.

    Args:
        serve: the service.
        raw: the file of each photo as it was taken, by the name of the prepared photo.
        photos: the prepared photos.
        out: the folder for `aligned/NAME.png` and `served/NAME.png`.
        progress: told of every photo.

    Returns:
        Those that the service drew, at its size.

    Raises:
        EvaluationError: they are fewer than two.
    """
    served = []
    for done, photo in enumerate(photos, 1):
        if pictures := serve(raw[photo.name].read_bytes()):
            aligned, cartoon = (out / part / f"{photo.name}.png" for part in ("aligned", "served"))
            for place, picture in zip((aligned, cartoon), pictures, strict=True):
                place.parent.mkdir(parents=True, exist_ok=True)
                Pillow.fromarray(picture).save(place)
            served.append(Photo(photo.name, aligned, cartoon, group=photo.group))
        progress("drawing as the service does", done, len(photos))
    if len(served) < 2:
        raise EvaluationError(f"of {len(photos)} raw photos the service draws {len(served)}")
    return served


def find_raw(folder: Path, photos: list[Photo]) -> dict[str, Path]:
    """Find the files in `folder` from which `photos` were prepared, by the photos' names.

    Raises:
        EvaluationError: one is missing.
    """
    paths = [(path.relative_to(folder), path) for path in files.find_photos(folder)]
    # `prepare-data` keeps the suffix in the name of a photo that has a twin.
    raw = {str(name.with_suffix("")): path for name, path in paths}
    raw |= {str(name): path for name, path in paths}
    missing = [photo.name for photo in photos if photo.name not in raw]
    if missing:
        more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise EvaluationError(f"{folder} lacks the photos {', '.join(missing[:LISTED])}{more}")
    return {photo.name: raw[photo.name] for photo in photos}


def plan(folder: Path, out: Path, groups: dict[str, str], *, pairs: bool = False) -> list[Photo]:
    """List the photos in `folder`, with the places of their cartoons."""
    size = (2 * SIDE, SIDE) if pairs else (SIDE, SIDE)
    photos = []
    for path in find_photos(folder, size):
        name = path.relative_to(folder).with_suffix("")
        cartoon = out / name.with_suffix(".png")
        photos.append(Photo(str(name), path, cartoon, pairs, groups.get(path.stem, "")))
    if len({photo.name for photo in photos}) < len(photos):
        raise EvaluationError(f"two pictures in {folder} differ by their suffix only")
    return photos


def read_groups(manifest: Path) -> dict[str, str]:
    """Read the group of each photo, by the photo's name without suffix.

    A CSV with the column `file` and either `group` or `path`. Of a path the two folders behind
    each other that MEBeauty has are taken: `.../female/asian/...`; other photos have no group.

    Raises:
        EvaluationError: it cannot be read, misses a column or names no group at all.
    """
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        groups = {Path(row["file"]).stem: _group_of(row) for row in rows}
    except OSError as error:
        raise EvaluationError(f"cannot read {manifest}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise EvaluationError(
            f"{manifest} is not a CSV file with the columns file, and group or path: {error}"
        ) from error
    if not any(groups.values()):
        raise EvaluationError(f"{manifest} names no group")
    return groups


def _group_of(row: dict[str, str]) -> str:
    if "group" in row:
        return row["group"]
    folders = Path(row["path"]).parts[:-1]
    for sex, people in pairwise(folders):
        if sex in SEXES:
            return f"{sex}/{people}"
    return ""
