"""Styles: the generators that are loaded, by name, and the sizes at which they draw."""

from collections.abc import Mapping

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.drawer import Drawer
from photo2cartoon_models.manifest import Model

SIZES = (256, 512, 1024)  # px
FREE_SIZE = 512  # px: of a portrait by a generator that takes any size, where nobody asks
# Pixels whose drawing takes as long as the rest: a portrait's photo decoded, its face found, ...
BESIDES = 35_000


def portrait_size(model: Model, side: float, asked: int | None) -> int:
    """Return the side of a portrait: what was asked for, but not far beyond what the photo has.

    A face is never blown up silently: the portrait has the smallest of `SIZES` that holds all of
    the photo's pixels, if that is less than what was asked for.

    Args:
        model: the generator's entry.
        side: of the face's square in the photo's file, px.
        asked: one of `SIZES`; None: the generator's own size, or `FREE_SIZE` if it takes any.
    """
    if asked is None and not model.takes_any_size:
        return model.image_size
    return min(asked or FREE_SIZE, head_size(side))


def head_size(side: float) -> int:
    """Return the smallest of `SIZES` that holds a square of `side` px, or the largest."""
    return next((size for size in SIZES if size >= side), SIZES[-1])


def cost_of(side: int) -> float:
    """Return how long drawing a portrait of `side` px takes, by one of `FREE_SIZE`."""
    return (BESIDES + side**2) / (BESIDES + FREE_SIZE**2)


LEAST_COST = cost_of(SIZES[0])


class Styles:
    """The styles that requests may name; the first is the default.

    Attributes:
        drawers: by the styles' names, which are those of the generators.
    """

    def __init__(self, drawers: Mapping[str, Drawer]) -> None:
        self.drawers = dict(drawers)

    @property
    def default(self) -> str:
        """The name of the default style."""
        return next(iter(self.drawers))

    def settle(self, options: Options) -> Options:
        """Return `options` with the style named.

        Raises:
            InvalidOption: there is no such style, or it does not draw whole photos.
        """
        name = options.style or self.default
        if name not in self.drawers:
            raise InvalidOption(f"style must be one of: {', '.join(self.drawers)}.")
        if options.compose == "whole" and not self.drawers[name].model.takes_any_size:
            able = [name for name, drawer in self.drawers.items() if drawer.model.takes_any_size]
            raise InvalidOption(
                f"compose=whole needs a style that draws whole photos: {', '.join(able) or 'none'}."
            )
        return options if options.style else options.model_copy(update={"style": name})

    def drawer(self, options: Options) -> Drawer:
        """Return what draws the style of settled `options`."""
        return self.drawers[options.style or self.default]

    def cost(self, options: Options) -> float:
        """Return how long drawing takes by a portrait of `FREE_SIZE`, as far as options tell.

        Scenes and whole photos, whose size the photo decides, count as such a portrait.
        """
        model = self.drawer(options).model
        if options.compose != "portrait":
            return 1.0
        return cost_of((options.size or FREE_SIZE) if model.takes_any_size else model.image_size)

    def rungs(self, options: Options) -> list[Options]:
        """Return what may be drawn for settled `options`: as asked, then ever smaller portraits.

        One alone where the caller does not allow others, or the style draws at one size only. All
        are such that they could have been asked for: nothing tells that they are a makeshift.
        """
        asked = options.model_copy(update={"on_overload": "error"})
        free = options.compose == "portrait" and self.drawer(options).model.takes_any_size
        if options.on_overload == "error" or not free:
            return [asked]
        smaller = [size for size in reversed(SIZES) if size < (options.size or FREE_SIZE)]
        return [asked, *(asked.model_copy(update={"size": size}) for size in smaller)]
