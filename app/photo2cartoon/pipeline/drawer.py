"""Drawer: from a face's aligned crop to its matte and its cartoon.

`StagedDrawer` runs two networks with numpy in between, which suits a CPU best: one photo per
thread, nothing copied. `FusedDrawer` runs one graph for all of it (`pipeline.fuse`), which suits a
GPU: a pixel crosses the bus as bytes, and only once in each direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import UnusableOutput
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.alignment import Alignment, Crop
from photo2cartoon.pipeline.colours import recolour
from photo2cartoon.pipeline.matte import fade_out, predict_matte
from photo2cartoon.runtime.network import Network
from photo2cartoon_models.manifest import Colours
from photo2cartoon_models.preprocess import composite, to_image, to_tensor

FLAT = 2 / 127.5  # two grey levels: a drawing spans more
TRIES = 2

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cut:
    """One face of a photo, cut out.

    Attributes:
        crop: the aligned square with its background.
        alignment: where that square lies in the decoded photo.
    """

    crop: Crop
    alignment: Alignment


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
        networks: the networks that it runs.
        size: side of the crops, px.
        unusable: how many outputs of the generator were not a drawing.
    """

    networks: Sequence[Network]
    size: int
    unusable: int

    def matte(self, image: Image, cut: Cut, ticket: Ticket) -> NDArray[np.float32]:
        """Estimate one face's matte in `image` `(H, W, 3)` uint8 RGB, as the generator sees it.

        Returns:
            `(S, S)` float32, 0..1; it does not fade where the photo ends.
        """

    def draw(
        self, image: Image, cut: Cut, ticket: Ticket, colours: Colours | None = None
    ) -> Drawing:
        """Draw one face of `image` `(H, W, 3)` uint8 RGB.

        The generator is run once more if its output is flat or not finite.

        Args:
            image: the photo.
            cut: where the face is in it.
            ticket: the request's.
            colours: the photo's, or as drawn; None: what the generator's entry says.

        Raises:
            UnusableOutput: the second output is no better.
        """


class StagedDrawer:
    """Runs the matte network, composites, and runs the generator, one stage after another."""

    def __init__(self, matte: Network, generator: Network) -> None:
        self.matte_network = matte
        self.generator = generator
        self.networks: Sequence[Network] = (matte, generator)
        self.size = generator.model.image_size
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
        with ticket.stage(Stage.COMPOSE):
            tensor = to_tensor(composite(cut.crop.pixels, matte))
        with ticket.stage(Stage.GENERATE):
            output = self._generate(tensor, ticket)
        with ticket.stage(Stage.COMPOSE):
            cartoon = to_image(output)
            if (colours or self.generator.model.colours) == "photo":
                cartoon = recolour(cut.crop.pixels, cartoon, matte)
            return Drawing(cartoon, fade_out(matte, cut.crop))

    def _generate(self, tensor: NDArray[np.float32], ticket: Ticket) -> NDArray[np.float32]:
        """Run the generator on one tensor `(3, S, S)`; the same shape comes back."""
        for _ in range(TRIES):
            (outputs,) = self.generator.run(tensor[None], ticket)
            output: NDArray[np.float32] = outputs[0]
            if np.isfinite(output).all() and np.ptp(output) > FLAT:
                return output
            self.unusable += 1
        raise UnusableOutput


class FusedDrawer:
    """Runs the graph of `pipeline.fuse`; draws within one grey level of the staged drawer."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.networks: Sequence[Network] = (network,)
        self.size = network.model.image_size
        self.unusable = 0

    def matte(
        self,
        image: Image,  # noqa: ARG002 - the cut has it
        cut: Cut,
        ticket: Ticket,
    ) -> NDArray[np.float32]:
        """See `Drawer`. The cartoon is drawn as well, which costs a GPU little."""
        with ticket.stage(Stage.GENERATE):
            return self._run(cut, ticket)[2]

    def draw(
        self,
        image: Image,  # noqa: ARG002 - the cut has it
        cut: Cut,
        ticket: Ticket,
        colours: Colours | None = None,
    ) -> Drawing:
        """See `Drawer`."""
        colours = colours or self.network.model.colours
        with ticket.stage(Stage.GENERATE):
            drawn, recoloured, matte = self._run(cut, ticket)
        with ticket.stage(Stage.COMPOSE):
            cartoon = recoloured if colours == "photo" else drawn
            return Drawing(cartoon, fade_out(matte, cut.crop))

    def _run(self, cut: Cut, ticket: Ticket) -> tuple[Image, Image, NDArray[np.float32]]:
        """Run the graph: the drawing, the same in the photo's colours, and the matte."""
        for _ in range(TRIES):
            drawn, recoloured, mattes, spreads = self.network.run(cut.crop.pixels[None], ticket)
            if spreads[0] > FLAT:  # False for NaN
                matte = mattes[0].astype(np.float32) / np.float32(255)
                return drawn[0], recoloured[0], matte
            self.unusable += 1
        raise UnusableOutput
