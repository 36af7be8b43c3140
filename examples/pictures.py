"""Redraw the pictures of README, model cards and page, after weights or pipeline have changed.

python examples/pictures.py

All of them show examples/photos/astronaut.jpg, which is in the public domain.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.opening import open_pipeline

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "photos" / "astronaut.jpg"
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "app" / "photo2cartoon" / "api" / "page"
STYLES = ("comic", "photo2cartoon", "photo2cartoon-lite")
GAP, SIDE, TILE = 8, 256, 192  # px: between two pictures, a portrait in the cards, one on the page


def main() -> None:
    """Draw them all, each in its place."""
    pipeline = open_pipeline(Settings(generator=Path(STYLES[0]), styles=tuple(map(Path, STYLES))))
    content = PHOTO.read_bytes()

    def draw(style: str, **options: str) -> Pixels:
        return pipeline.draw(content, Options(style=style, **options), Ticket())[0]

    photo = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    whole = draw(STYLES[0], compose="whole")
    space = np.full((photo.shape[0], GAP, 3), 255, np.uint8)
    save(np.hstack([photo, space, whole]), IMAGES / "astronaut.jpg", quality=92)
    save(photo, PAGE / "example.webp", quality=80)
    save(whole, PAGE / "example-drawn.webp", quality=80)

    _, (portrait,) = pipeline.prepare(content, Options(), Ticket())
    drawn = {style: draw(style) for style in STYLES}
    shrunk = [resize(picture, SIDE) for picture in (portrait.cut.crop.pixels, *drawn.values())]
    save(np.hstack(shrunk), IMAGES / "generators.png")
    for style, picture in drawn.items():
        save(resize(picture, TILE), PAGE / f"style-{style}.webp", quality=80)


def resize(picture: Pixels, side: int) -> Pixels:
    """Resize a square picture to `side` px."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def save(picture: Pixels, path: Path, quality: int = 100) -> None:
    """Write a picture in the format that the file's suffix says."""
    Image.fromarray(picture).save(path, quality=quality)
    print(path.relative_to(ROOT))  # noqa: T201 - a command line


if __name__ == "__main__":
    main()
