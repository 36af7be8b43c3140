"""Styles: what `GET /v1/styles` says of each."""

from typing import Any

from photo2cartoon.api.pages import example_of
from photo2cartoon.pipeline.styles import FREE_SIZE, SIZES, Styles


def describe(styles: Styles, *, examples: bool) -> list[dict[str, Any]]:
    """Return the JSON members of every style that is loaded; the first is the default.

    `drawn_at` are the sides, px, at which a portrait is drawn; at the other `sizes` the drawing is
    enlarged. `digest` is the sha256 of the generator's file, `example` the address of a
    picture, relative to `/v1/styles`.

    Args:
        styles: that are loaded.
        examples: whether the service has the page, and so the pictures.
    """
    return [
        {
            "name": name,
            "default": name == styles.default,
            "licence": drawer.model.licence,
            "sizes": SIZES,
            "default_size": FREE_SIZE if drawer.model.takes_any_size else drawer.model.image_size,
            "drawn_at": SIZES if drawer.model.takes_any_size else [drawer.model.image_size],
            "compose": ["portrait", "scene", *["whole"] * drawer.model.takes_any_size],
            "colours": drawer.model.colours,
            "digest": drawer.model.sha256,
            "example": f"../{path}" if examples and (path := example_of(name)) else None,
        }
        for name, drawer in styles.drawers.items()
    ]
