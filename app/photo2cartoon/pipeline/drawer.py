"""Drawer: from a face's aligned crop to its matte and its cartoon.

`StagedDrawer` runs two networks with numpy in between, which suits a CPU best: one photo per
thread, nothing copied. `FusedDrawer` runs one graph for all of it (`pipeline.fuse`), which suits a
GPU: a pixel crosses the bus as bytes, and only once in each direction.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import UnusableOutput
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.alignment import Alignment, Crop, cut_square
from photo2cartoon.pipeline.colours import recolour
from photo2cartoon.pipeline.enlarge import enlarge
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.faces.warp import apply, inverse
from photo2cartoon.pipeline.features import stress
from photo2cartoon.pipeline.matte import fade_out, predict_matte
from photo2cartoon.runtime.network import Network, is_large
from photo2cartoon_models.cutout import UNITS, cover, cut_out, firm, ink, outline
from photo2cartoon_models.manifest import Colours, Model
from photo2cartoon_models.preprocess import composite, to_image, to_tensor

STRIDE = 16  # px: the sides that a generator of any size takes are multiples of it
FLAT = 2 / 127.5  # two grey levels: a drawing spans more
TRIES = 2
ONE_LARGE = Lock()  # large pictures take hundreds of megabytes each: one of them at a time

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cut:
    """One face of a photo, cut out.

    Attributes:
        crop: the aligned square with its background.
        alignment: where that square lies in the decoded photo.
        face: the face, in px of the decoded photo; None where none was found.
    """

    crop: Crop
    alignment: Alignment
    face: Face | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """One face, drawn.

    Attributes:
        cartoon: `(S, S, 3)` RGB, 0..255, before compositing; unrounded float32, or uint8.
        matte: `(S, S)` float32, 0..1: how much of it is shown, fading where the photo ends.
    """

    cartoon: NDArray[np.float32] | Image
    matte: NDArray[np.float32]


class Drawer(Protocol):
    """Draws the faces of photos; any thread may call it.

    Attributes:
        model: the generator's entry in the manifest.
        networks: the networks that it runs.
        unusable: how many outputs of the generator were not a drawing.
    """

    model: Model
    networks: Sequence[Network]
    unusable: int

    def matte(self, image: Image, cut: Cut, ticket: Ticket) -> NDArray[np.float32]:
        """Estimate one face's matte in `image` `(H, W, 3)` uint8 RGB.

        Returns:
            `(S, S)` float32, 0..1, of the cut's size; it does not fade where the photo ends.
        """

    def draw(
        self, image: Image, cut: Cut, ticket: Ticket, colours: Colours | None = None
    ) -> Drawing:
        """Draw one face of `image` `(H, W, 3)` uint8 RGB, at the size of its cut.

        A generator with one size draws at that size, and its drawing is enlarged. The generator is
        run once more if its output is flat or not finite.

        Args:
            image: the photo.
            cut: where the face is in it.
            ticket: the request's.
            colours: the photo's, or as drawn; None: what the generator's entry says.

        Raises:
            UnusableOutput: the second output is no better.
        """

    def draw_whole(self, image: Image, ticket: Ticket) -> Image:
        """Draw all of `image` `(H, W, 3)` uint8 RGB; the same comes back.

        Only what takes pictures of any size can do this.

        Raises:
            UnusableOutput: as from `draw`.
        """


class StagedDrawer:
    """Runs the matte network, composites, and runs the generator, one stage after another."""

    def __init__(self, matte: Network, generator: Network) -> None:
        self.matte_network = matte
        self.generator = generator
        self.model = generator.model
        self.networks: Sequence[Network] = (matte, generator)
        self.unusable = 0

    def matte(self, image: Image, cut: Cut, ticket: Ticket) -> NDArray[np.float32]:
        """See `Drawer`."""
        with ticket.stage(Stage.MATTE):
            return predict_matte(self.matte_network, image, cut.alignment, cut.crop, ticket)

    def draw(
        self, image: Image, cut: Cut, ticket: Ticket, colours: Colours | None = None
    ) -> Drawing:
        """See `Drawer`."""
        matte = self.matte(image, cut, ticket)
        if self.model.features == "stressed":
            with ticket.stage(Stage.COMPOSE):
                cut = _with_stress(cut)
        if self.model.portrait == "cutout":
            return self._draw_cutout(cut, matte, ticket, colours)
        with ticket.stage(Stage.COMPOSE):
            seen = self._fit(composite(cut.crop.pixels, matte))
        output = self._generate(to_tensor(seen), ticket)
        with ticket.stage(Stage.COMPOSE):
            cartoon = finish_cartoon(to_image(output), cut, matte, colours or self.model.colours)
            return Drawing(cartoon, fade_out(matte, cut.crop))

    def _fit(self, seen: Image) -> Image:
        """Resize what the generator sees to its own size, if it has one."""
        size = len(seen) if self.model.takes_any_size else self.model.image_size
        if size == len(seen):
            return seen
        way = cv2.INTER_AREA if size < len(seen) else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(seen, (size, size), interpolation=way), np.uint8)

    def _draw_cutout(
        self, cut: Cut, matte: NDArray[np.float32], ticket: Ticket, colours: Colours | None
    ) -> Drawing:
        """Draw a firmly cut out portrait, and its outline."""
        with ticket.stage(Stage.COMPOSE):
            unit = len(matte) / UNITS
            person = firm(matte, unit)
            seen = self._fit(cut_out(cut.crop.pixels, person, unit))
        output = self._generate(to_tensor(seen), ticket)
        with ticket.stage(Stage.COMPOSE):
            painted = finish_cartoon(to_image(output), cut, person, colours or self.model.colours)
            inked = ink(painted / np.float32(255), outline(person, unit)) * np.float32(255)
            return Drawing(inked, fade_out(cover(person), cut.crop))

    def draw_whole(self, image: Image, ticket: Ticket) -> Image:
        """See `Drawer`."""
        height, width = image.shape[:2]
        padding = (0, -height % STRIDE, 0, -width % STRIDE)
        padded = cv2.copyMakeBorder(image, *padding, cv2.BORDER_REFLECT)
        output = self._generate(to_tensor(np.asarray(padded, np.uint8)), ticket)
        with ticket.stage(Stage.COMPOSE):
            return np.asarray(to_image(output).round()[:height, :width], np.uint8)

    def _generate(self, tensor: NDArray[np.float32], ticket: Ticket) -> NDArray[np.float32]:
        """Run the generator on one tensor `(3, H, W)`; the same shape comes back."""
        alone = ONE_LARGE if is_large(tensor[None]) else nullcontext()
        with ticket.stage(Stage.GENERATE), alone:
            for _ in range(TRIES):
                (outputs,) = self.generator.run(tensor[None], ticket)
                output: NDArray[np.float32] = outputs[0]
                if np.isfinite(output).all() and np.ptp(output) > FLAT:
                    return output
                self.unusable += 1
            raise UnusableOutput


class FusedDrawer:
    """Runs the graph of `pipeline.fuse`; draws within one grey level of the staged drawer."""

    def __init__(self, network: Network, generator: Model) -> None:
        self.network = network
        self.model = generator
        self.networks: Sequence[Network] = (network,)
        self.unusable = 0

    def matte(
        self,
        image: Image,
        cut: Cut,
        ticket: Ticket,
    ) -> NDArray[np.float32]:
        """See `Drawer`. The cartoon is drawn as well, which costs a GPU little."""
        with ticket.stage(Stage.GENERATE):
            matte = self._run(self._fit(image, cut), ticket)[2]
        with ticket.stage(Stage.COMPOSE):
            return _resize_matte(matte, len(cut.crop.pixels))

    def draw(
        self,
        image: Image,
        cut: Cut,
        ticket: Ticket,
        colours: Colours | None = None,
    ) -> Drawing:
        """See `Drawer`."""
        colours = colours or self.model.colours
        with ticket.stage(Stage.GENERATE):
            drawn, recoloured, matte = self._run(self._fit(image, cut), ticket)
        with ticket.stage(Stage.COMPOSE):
            if len(cut.crop.pixels) == len(drawn):
                cartoon = recoloured if colours == "photo" else drawn
                return Drawing(cartoon, fade_out(matte, cut.crop))
            matte = _resize_matte(matte, len(cut.crop.pixels))
            enlarged = finish_cartoon(drawn.astype(np.float32), cut, matte, colours)
            return Drawing(enlarged, fade_out(matte, cut.crop))

    def draw_whole(self, image: Image, ticket: Ticket) -> Image:
        """Never called: the graph takes squares of one size."""
        raise NotImplementedError

    def _fit(self, image: Image, cut: Cut) -> Image:
        """Return the square at the size that the graph takes, `(S, S, 3)` uint8 RGB."""
        size = self.model.image_size
        if len(cut.crop.pixels) == size:
            return cut.crop.pixels
        return cut_square(image, cut.alignment, size)

    def _run(self, pixels: Image, ticket: Ticket) -> tuple[Image, Image, NDArray[np.float32]]:
        """Run the graph: the drawing, the same in the photo's colours, and the matte."""
        for _ in range(TRIES):
            drawn, recoloured, mattes, spreads = self.network.run(pixels[None], ticket)
            if spreads[0] > FLAT:  # False for NaN
                matte = mattes[0].astype(np.float32) / np.float32(255)
                return drawn[0], recoloured[0], matte
            self.unusable += 1
        raise UnusableOutput


def _with_stress(cut: Cut) -> Cut:
    """The same cut, in whose crop eyes and nose are stressed, if it is known where they are."""
    if cut.face is None or cut.face.features is None:
        return cut
    pixels = cut.crop.pixels
    to_square = inverse(cut.alignment.to_photo(len(pixels)))
    stressed = stress(pixels, apply(to_square, cut.face.features))
    return replace(cut, crop=replace(cut.crop, pixels=stressed))


def _resize_matte(matte: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a matte `(N, N)` at `size` px."""
    if len(matte) == size:
        return matte
    return np.asarray(cv2.resize(matte, (size, size), interpolation=cv2.INTER_LINEAR))


def finish_cartoon(
    cartoon: NDArray[np.float32], cut: Cut, matte: NDArray[np.float32], colours: Colours
) -> NDArray[np.float32]:
    """Bring what a generator drew to the size of its cut, and to the photo's colours if asked.

    Args:
        cartoon: `(N, N, 3)` float32 RGB, 0..255, at the generator's size.
        cut: the face, at the size of the answer.
        matte: `(S, S)` float32, 0..1, of the cut's size.
        colours: the photo's, or as drawn.

    Returns:
        `(S, S, 3)` float32 RGB, 0..255.
    """
    if len(cartoon) != len(matte):
        cartoon = enlarge(cartoon, len(matte))
    if colours == "photo":
        cartoon = recolour(cut.crop.pixels, cartoon, matte)
    return cartoon
