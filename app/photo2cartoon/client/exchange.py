"""Exchange: what the client sends to the service, and what it makes of the answers."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from photo2cartoon.client.patience import PASSING, Patience, make_problem
from photo2cartoon.ground.errors import Problem

Photo = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        data: its file.
        media_type: of the file.
        width, height: px.
        faces: indices of the faces that are drawn in it.
        from_photo: rows of the affine map `(2, 3)` from px of the upright photo to px of the
            picture, x before y.
    """

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    faces: tuple[int, ...]
    from_photo: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Cartoon:
    """What became of one photo.

    Attributes:
        pictures: one; with `faces="all"` and no scene, one for each face.
        style: the style in which they are drawn.
        faces: the faces that were found, from left to right, as the service's JSON describes them:
            `index`, `box`, `score`, `landmarks`, `drawn`, `quality`.
        facts: the service's whole answer, without the pictures.
    """

    pictures: tuple[Picture, ...]
    style: str
    faces: tuple[dict[str, Any], ...]
    facts: dict[str, Any] = field(repr=False)

    @property
    def picture(self) -> bytes:
        """The file of the first picture, which mostly is the only one."""
        return self.pictures[0].data

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first picture, px."""
        return self.pictures[0].width, self.pictures[0].height


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one photo of a batch.

    Attributes:
        picture: the picture's file; empty where there is a problem.
        media_type: of the picture.
        problem: why nothing was drawn; None where there is a picture.
    """

    picture: bytes = field(default=b"", repr=False)
    media_type: str = ""
    problem: Problem | None = None


def read_photo(photo: Photo) -> bytes:
    """Return the bytes of a photo.

    Raises:
        OSError: a path cannot be read.
    """
    if isinstance(photo, str | PathLike):
        return Path(photo).read_bytes()
    return bytes(photo) if isinstance(photo, bytes | bytearray | memoryview) else photo.read()


STYLES_REQUEST = {"method": "GET", "url": "/v1/styles", "headers": {}}


def draw_request(photo: bytes, options: Mapping[str, object]) -> dict[str, Any]:
    """Return the arguments of httpx2's `request` that send one photo and ask for JSON."""
    return {
        "method": "POST",
        "url": "/cartoonize",
        "params": _params(options),
        "headers": {"Accept": "application/json", "Content-Type": "application/octet-stream"},
        "content": photo,
    }


def _params(options: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def read_styles(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Return the styles that an answer lists."""
    styles: list[dict[str, Any]] = answer.json()["styles"]
    return styles


def read_cartoon(answer: httpx2.Response) -> Cartoon:
    """Return what an answer of `/cartoonize` holds."""
    facts: dict[str, Any] = answer.json()
    pictures = tuple(
        Picture(
            data=base64.b64decode(picture["image"].partition(",")[2]),
            media_type=picture["media_type"],
            width=picture["width"],
            height=picture["height"],
            faces=tuple(picture["faces"]),
            from_photo=tuple(map(tuple, picture["from_photo"])),
        )
        for picture in facts.pop("pictures")
    )
    return Cartoon(pictures, facts["style"], tuple(facts["faces"]), facts)


class Batch:
    """The photos of one call, of which those that find the service full are sent again.

    Attributes:
        items: what became of each photo, in their order.
        left: places of those that are still to be sent.
    """

    def __init__(self, photos: Iterable[bytes], options: Mapping[str, object]) -> None:
        self._photos = list(photos)
        self._options = options
        self.items = [BatchItem() for _ in self._photos]
        self.left = list(range(len(self._photos)))

    def request(self) -> dict[str, Any]:
        """Return the arguments of httpx2's `request` that send what is left."""
        return {
            "method": "POST",
            "url": "/cartoonize/batch",
            "params": _params(self._options),
            "headers": {"Accept": "application/json"},
            "files": [("photo", ("photo", self._photos[place])) for place in self.left],
        }

    def read(self, answer: httpx2.Response, patience: Patience) -> float:
        """Take an answer in; return how long to wait before what is left is sent again, s."""
        full = []
        for place, members in zip(self.left, answer.json()["items"], strict=True):
            self.items[place] = _read_item(members)
            if members["status"] in PASSING:
                full.append(place)
        pause = patience.after_full() if full else None
        self.left = [] if pause is None else full
        return pause or 0.0


def _read_item(members: Mapping[str, Any]) -> BatchItem:
    if "problem" in members:
        return BatchItem(problem=make_problem(members["problem"]))
    return BatchItem(base64.b64decode(members["data"]), members["media_type"])
