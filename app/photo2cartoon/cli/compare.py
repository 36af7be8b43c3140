"""The command `compare`: a page on which a person chooses, blindly, between two sets of pictures.

The page (`compare.html`) is one file that loads nothing: it holds the photos and both pictures of
each as JPEG data. The order of the photos, and which of the two pictures stands to the left, are
drawn by chance from a seed. The page counts the choices and computes the figures.
"""

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from photo2cartoon.cli.terminal import err, load_pipeline, out, read_settings
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.decode import decode_photo
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon_models.files import find_photos, write_file

Image = NDArray[np.uint8]
# A photo's path below its folder to its picture, (H, W, 3) uint8 RGB; None where there is none.
Source = Callable[[Path], Image | None]

TEMPLATE = Path(__file__).with_suffix(".html")
PLACE = "{{ data }}"  # of the page's data in the template
SIDE = 512  # px, longest side of a picture in the page
QUALITY = 88  # of its JPEG: about 40 kB a picture


@dataclass(frozen=True, slots=True)
class Triple:
    """One photo with its picture of each set, all `(H, W, 3)` uint8 RGB."""

    name: str
    photo: Image
    a: Image
    b: Image


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A generator (its name, or an ONNX file), or a folder of pictures that are drawn.",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The same for the other side.")],
    photos: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    page: Annotated[Path, typer.Option("--out", help="The HTML page to write.")],
    count: Annotated[int, typer.Option(min=1, help="Most photos, spread over the names.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 0,
) -> None:
    """Write a page on which a person chooses between A and B without knowing which is which.

    A folder has the pictures by the photos' names, or as `bulk` names them. Photos of which either
    picture is missing are left out.

    Exit code: 0 written, 2 the call itself is wrong or there is nothing to compare.
    """
    found = find_photos(photos)
    places = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    names = [found[place].relative_to(photos) for place in places]
    settings = read_settings()
    sets = [draw_all(label, photos, names, settings) for label in (a, b)]
    triples = []
    for name in names:
        if name in sets[0] and name in sets[1]:
            photo = decode_photo((photos / name).read_bytes(), settings.max_pixels, SIDE).pixels
            triples.append(Triple(str(name), photo, sets[0][name], sets[1][name]))
    if not triples:
        raise typer.BadParameter("no photo in it has a picture on both sides", param_hint="PHOTOS")
    if missing := len(names) - len(triples):
        err.print(f"{missing} of {len(names)} photos left out: a picture is missing")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_file(page, write_page((a, b), triples, seed).encode())
    except OSError as error:
        raise typer.BadParameter(
            f"cannot be written: {error.strerror}", param_hint="--out"
        ) from error
    out.print(f"{len(triples)} photos; {page}", markup=False)


def draw_all(label: str, folder: Path, names: list[Path], settings: Settings) -> dict[Path, Image]:
    """Return the pictures of one side, shrunk for the page, by the photos' names in `folder`."""
    if Path(label).is_dir():
        source = find_drawn(Path(label), settings)
    else:
        source = draw_with(label, folder, settings)
    pictures = {}
    for name in track(names, label, console=err, transient=True):
        picture = source(name)
        if picture is not None:
            pictures[name] = shrink(picture)
    return pictures


def find_drawn(folder: Path, settings: Settings) -> Source:
    """Take pictures from `folder`: `NAME` with any suffix of a photo, or `NAME-cartoon`."""
    drawn = {path.relative_to(folder).with_suffix(""): path for path in find_photos(folder)}

    def find(name: Path) -> Image | None:
        stem = name.with_suffix("")
        path = drawn.get(stem) or drawn.get(stem.with_name(f"{stem.name}-cartoon"))
        return _pixels(path, settings) if path else None

    return find


def draw_with(generator: str, folder: Path, settings: Settings) -> Source:
    """Draw the photos in `folder` as the service does, with this generator."""
    alone = {"generator": Path(generator), "styles": ()}
    pipeline = load_pipeline(settings.model_copy(update=alone))

    def draw(name: Path) -> Image | None:
        try:
            return pipeline.draw((folder / name).read_bytes(), Options(), Ticket())[0]
        except Problem:
            return None

    return draw


def _pixels(path: Path, settings: Settings) -> Image | None:
    try:
        return decode_photo(path.read_bytes(), settings.max_pixels, SIDE).pixels
    except Problem:
        return None


def shrink(picture: Image) -> Image:
    """Return `(H, W, 3)` uint8 RGB with sides of at most `SIDE` px; a small one stays as it is."""
    factor = SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    smaller = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8)


def write_page(labels: tuple[str, str], triples: list[Triple], seed: int) -> str:
    """Fill the page.

    Args:
        labels: what A and B are called at the end.
        triples: at least one.
        seed: the same one gives the same page.
    """
    chance = random.Random(seed)
    shuffled = chance.sample(triples, len(triples))
    items = [_item(triple, a_first=chance.random() < 0.5) for triple in shuffled]
    data = {"a": labels[0], "b": labels[1], "seed": seed, "items": items}
    # Nothing in a script element counts as HTML but its end: no name of a file may write one.
    text = json.dumps(data).replace("<", "\\u003c")
    return TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text)


def _item(triple: Triple, *, a_first: bool) -> dict[str, str]:
    one, two = (triple.a, triple.b) if a_first else (triple.b, triple.a)
    pictures = {"photo": triple.photo, "one": one, "two": two}
    names = {"name": triple.name, "first": "a" if a_first else "b"}
    return names | {key: _as_url(picture) for key, picture in pictures.items()}


def _as_url(picture: Image) -> str:
    content = encode_image(shrink(picture), "jpeg", QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
