"""Pictures for training: decoded once, packed as bytes, taken in an order that needs no memory.

A folder becomes one array of bytes, kept in a file beside the data, so that a second start, or a
second process, only maps it. Which pictures a step takes follows from the seed and the step's
number alone: a resumed run takes the same ones, without any state to restore.
Every picture is seen once before any is seen again.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pi_heif
import torch
from numpy.typing import NDArray
from torch import Tensor

from photo2cartoon_models.files import PART, find_photos, write_whole
from photo2cartoon_models.preprocess import composite

FACES = "faces.jsonl"
NOT_OURS = "not what prepare-data writes"
BACKGROUND = 250  # of 255: without a matte, what is at least that white is no person
ON_DEVICE_BYTES = 8 << 30  # arrays up to this size live in the GPU's memory
INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
# How far beyond its points' box a part of the face reaches: lids and lashes, lips, skin.
REACH = {"left_eye": 1.6, "right_eye": 1.6, "mouth": 1.3, "oval": 1.0}
REGIONS = len(REACH)

Bytes = NDArray[np.uint8]


class DataError(Exception):
    """The pictures are not what training needs; the message says what is wrong."""


def find_pictures(folder: Path) -> list[Path]:
    """Pictures in `folder` and its subfolders, in a stable order.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    paths = find_photos(folder)
    if not paths:
        what = "no picture in it" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder}: {what}; `photo2cartoon prepare-data` makes what is needed")
    return paths


def read_picture(path: Path) -> Bytes:
    """One file as (H, W, 3) RGB; transparency is laid on white.

    Raises:
        DataError: it cannot be decoded.
    """
    raw = _decode(path)
    if raw.dtype != np.uint8:
        raw = (raw / 257).astype(np.uint8) if raw.dtype == np.uint16 else raw.astype(np.uint8)
    if raw.ndim == 2:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_GRAY2RGB), np.uint8)
    if raw.shape[2] == 3:
        return np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGR2RGB), np.uint8)
    rgba = np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGRA2RGBA), np.uint8)
    return composite(rgba[:, :, :3], rgba[:, :, 3])


def _decode(path: Path) -> NDArray[Any]:
    """A file as it is stored: gray, BGR or BGRA, 8 or 16 bits."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    raw = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    return _decode_heif(path) if raw is None else raw


def _decode_heif(path: Path) -> Bytes:
    """The one format of `files.PHOTO_SUFFIXES` that OpenCV does not know, as BGR or BGRA."""
    try:
        picture = pi_heif.open_heif(path).to_pillow()
    except Exception as error:  # a file of another kind, or damaged, raises anything
        raise DataError(f"{path}: not a picture that can be decoded") from error
    if picture.has_transparency_data:
        return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGBA")), cv2.COLOR_RGBA2BGRA))
    return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR))


def resize(image: Bytes, size: int, interpolation: str = "bilinear") -> Bytes:
    """To (size, size); shrinking averages areas, enlarging interpolates."""
    if image.shape[:2] == (size, size):
        return image
    how = cv2.INTER_AREA if min(image.shape[:2]) > size else INTERPOLATION[interpolation]
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def drawing(size: int, interpolation: str = "bilinear") -> Callable[[Path], Bytes]:
    """A reader of pictures: path to (size, size, 3) RGB."""
    return lambda path: resize(read_picture(path), size, interpolation)


def portrait(size: int, root: Path) -> Callable[[Path], Bytes]:
    """A reader of the prepared photos below `root`: path to (size, size, 4), colours and matte.

    `prepare-data` keeps the square with its background and the matte in `crops/`, under the name
    of the picture. Where that is missing, the picture on white is all there is, and what is not
    white is taken for the person.
    """

    def read(path: Path) -> Bytes:
        crop = root / "crops" / path.relative_to(root)
        if crop.exists():
            raw = _decode(crop)
            if raw.dtype != np.uint8 or raw.ndim != 3 or raw.shape[2] != 4:
                raise DataError(f"{crop}: not a crop with its matte; prepare the data again")
            return resize(np.asarray(cv2.cvtColor(raw, cv2.COLOR_BGRA2RGBA), np.uint8), size)
        return resize(guess_matte(read_picture(path)), size)

    return read


def pair(size: int) -> Callable[[Path], Bytes]:
    """A reader of pairs: path to (size, size, 7), photo, guessed matte and cartoon."""

    def read(path: Path) -> Bytes:
        both = read_picture(path)
        half = both.shape[1] // 2
        if both.shape[1] != 2 * both.shape[0]:
            raise DataError(f"{path}: a pair is two squares side by side, photo left")
        photo, cartoon = guess_matte(both[:, :half]), both[:, half:]
        return np.concatenate((resize(photo, size), resize(cartoon, size)), axis=2)

    return read


def guess_matte(image: Bytes) -> Bytes:
    """(H, W, 3) on white to (H, W, 4): everything that is not white is person."""
    matte = np.where(image.min(axis=2) < BACKGROUND, 255, 0).astype(np.uint8)
    return np.dstack((image, matte))


def pack(paths: list[Path], read: Callable[[Path], Bytes], cache: Path | None, key: str) -> Bytes:
    """Decode `paths` into one array (N, S, S, C), on threads; kept in a file where there is one.

    Args:
        paths: what to read, in this order.
        read: one path to (S, S, C).
        cache: folder for the file, None for none.
        key: says what `read` does: a file made with another key is not used.
    """
    files = [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in paths]
    digest = hashlib.sha256(json.dumps([key, files]).encode()).hexdigest()[:16]
    place = cache / f"{key}-{digest}.npy" if cache else None
    if place and place.exists():
        return np.asarray(np.load(place, mmap_mode="r"))
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        array = np.stack(list(pool.map(read, paths)))
    if place:
        try:
            _keep(array, place, f"{key}-*.npy")
        except OSError as error:
            raise DataError(
                f"{place.parent}: cannot be written: {error.strerror}; without it, at the cost of "
                "decoding at every start: -o dataset.train.cache=false"
            ) from error
    return array


def _keep(array: Bytes, place: Path, others: str) -> None:
    """Write `array` to `place`, whole, and remove what older data left there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(place, part=f".{os.getpid()}{PART}") as file:
        np.save(file, array)
    for old in place.parent.glob(others):
        if old != place:
            old.unlink(missing_ok=True)


def read_regions(folder: Path, paths: list[Path]) -> NDArray[np.float32]:
    """Where eyes, mouth and face are: (N, 4, 4), an ellipse each: x, y, half width, half height.

    In parts of the picture, -1..1 from edge to edge. From `faces.jsonl` beside `folder`; zero where
    it says nothing about a picture.
    """
    regions = np.zeros((len(paths), REGIONS, 4), np.float32)
    faces = read_faces(folder.parent)
    try:
        for place, path in enumerate(paths):
            entry = faces.get(path.relative_to(folder.parent).as_posix())
            if entry:
                regions[place] = [_ellipse(entry, name) for name in REACH]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder.parent / FACES}: {NOT_OURS}: {error!r}") from error
    return regions


def read_faces(data: Path) -> dict[str, dict[str, Any]]:
    """Read `faces.jsonl`: by each picture's path below `data`, its `size` in px and its `points`.

    Pictures without a face are left out; without the file the result is empty.

    Raises:
        DataError: the file is not what `prepare-data` writes.
    """
    listing = data / FACES
    if not listing.exists():
        return {}
    try:
        entries = map(json.loads, listing.read_text(encoding="utf-8").splitlines())
        return {entry["picture"]: entry for entry in entries if entry["points"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{listing}: {NOT_OURS}: {error!r}") from error


def _ellipse(entry: dict[str, Any], name: str) -> NDArray[np.float32]:
    points = np.asarray(entry["points"][name], np.float32)
    scaled = (points + 0.5) / entry["size"] * 2 - 1
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    return np.concatenate([(low + high) / 2, (high - low) / 2 * REACH[name]])


@lru_cache(maxsize=16)
def _shuffled(count: int, seed: int, salt: str, epoch: int) -> NDArray[np.int64]:
    text = f"{seed}/{salt}/{epoch}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    return np.random.default_rng(number).permutation(count)


def order(count: int, seed: int, salt: str, first: int, batch: int) -> list[int]:
    """`batch` places in a folder of `count` pictures, from the `first`-th of the run on.

    Args:
        count: pictures there are.
        seed: of the run.
        salt: name of the folder, so that two of one size are not shuffled alike.
        first: how many were taken before.
        batch: how many to take.
    """
    places = range(first, first + batch)
    return [int(_shuffled(count, seed, salt, p // count)[p % count]) for p in places]


class Folder:
    """The pictures of one folder, packed, on the device where they fit.

    Attributes:
        names: of the pictures, below the folder.
        regions: (N, 4, 4) float32, see `read_regions`.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[Path], Bytes],
        key: str,
        device: torch.device,
        *,
        cache: bool = True,
    ) -> None:
        paths = find_pictures(folder)
        self.salt = folder.name
        self.names = [path.relative_to(folder).as_posix() for path in paths]
        self.regions = torch.from_numpy(read_regions(folder, paths))
        kept = folder.parent / "cache" if cache else None
        array = pack(paths, read, kept, f"{folder.name}-{key}")
        self._device = device
        with warnings.catch_warnings():  # a memory map is read-only, and only read
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self._array = torch.from_numpy(array)
        self._ahead: tuple[list[int], Future[Tensor]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        if device.type == "cuda":
            if array.nbytes <= ON_DEVICE_BYTES:
                self._array = self._array.to(device)
            else:
                self._pool = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, places: list[int], then: list[int] | None = None) -> Tensor:
        """(B, C, S, S) uint8 on the device, channels last in memory; `then` is fetched ahead."""
        if self._pool and self._ahead and self._ahead[0] == places:
            batch = self._ahead[1].result()
        else:
            batch = self._gather(places)
        if self._pool and then:
            self._ahead = then, self._pool.submit(self._gather, then)
        return batch.to(self._device, non_blocking=True).permute(0, 3, 1, 2)

    def _gather(self, places: list[int]) -> Tensor:
        batch = self._array[torch.tensor(places, device=self._array.device)]
        return batch.pin_memory() if self._pool else batch


def to_unit(batch: Tensor) -> Tensor:
    """Bytes to float32, -1..1, as `preprocess.to_tensor`."""
    return batch.float() / 127.5 - 1
