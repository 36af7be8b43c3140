"""The pipeline: a photo in, cartoons out, as a list of stages in the order in which they run."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import NoFaceFound, UnusableOutput
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.close_up import frame_close_up
from photo2cartoon.pipeline.cropper import NOBODY, Cropper
from photo2cartoon.pipeline.drawer import Cut, Drawer, Drawing
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.examine import (
    is_blank,
    note_drawn,
    note_frames,
)
from photo2cartoon.pipeline.scene import lay_back
from photo2cartoon.runtime.batcher import Batcher
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import Network
from photo2cartoon_models.manifest import Colours, ManifestError, Model
from photo2cartoon_models.preprocess import composite, to_tensor

log = logging.getLogger("photo2cartoon.pipeline.pipeline")

NOBODY_SHOWN = "A face was found, but nobody around it stands out from the background."

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One face of a photo, as the generator sees it.

    Attributes:
        cut: the aligned square.
        matte: `(S, S)` float32, 0..1.
    """

    cut: Cut
    matte: NDArray[np.float32]

    @property
    def tensor(self) -> NDArray[np.float32]:
        """`(3, S, S)` float32, RGB, -1..1: the aligned portrait on white."""
        return to_tensor(composite(self.cut.crop.pixels, self.matte))


class Pipeline:
    """All stages, on loaded networks. It keeps nothing of a photo, and any thread may call it.

    Attributes:
        cropper: decodes photos and cuts out their faces.
        styles: what draws them.
        device: what the drawer's networks run on.
        failing: why the last self test failed; empty after one that passed.
    """

    def __init__(self, cropper: Cropper, device: Device = CPU) -> None:
        self.cropper = cropper
        self.styles = cropper.styles
        self.device = device
        self.failing = ""

    @property
    def networks(self) -> list[Network]:
        """All networks, in the order in which a photo meets them."""
        drawers = self.styles.drawers.values()
        every = [
            *self.cropper.detector.networks,
            *(n for drawer in drawers for n in drawer.networks),
        ]
        return list({id(network): network for network in every}.values())  # mattes are shared

    @property
    def batchers(self) -> list[Batcher]:
        """Those networks that run photos of several lanes as batches."""
        return [network for network in self.networks if isinstance(network, Batcher)]

    def lanes(self, cores: int) -> int:
        """Return how many photos to work on at once.

        One per core, and those in the batch that runs and in the one that gathers meanwhile.
        """
        return cores + 2 * max((batcher.buckets[-1] for batcher in self.batchers), default=0)

    @property
    def models(self) -> list[Model]:
        """The manifest entries of the networks."""
        return [network.model for network in self.networks]

    def cartoonize(
        self, photo: bytes, options: Options | None = None, ticket: Ticket | None = None
    ) -> list[bytes]:
        """Turn a photo's bytes into encoded pictures: one a chosen face, one in all for a scene.

        Raises:
            Problem: any of the family in `ground.errors` whose cause lies in the photo.
        """
        options, ticket = self.styles.settle(options or Options()), ticket or Ticket()
        pictures = self.draw(photo, options, ticket)
        with ticket.stage(Stage.ENCODE):
            output_format = options.format or "png"
            return [encode_image(picture, output_format, options.quality) for picture in pictures]

    def draw(self, photo: bytes, options: Options, ticket: Ticket) -> list[Image]:
        """Do what `cartoonize` does, short of encoding.

        Returns:
            Pictures `(H, W, 3)` uint8 RGB or, with a transparent background, `(H, W, 4)` RGBA.

        Raises:
            Problem: as `cartoonize`.
        """
        drawer = self.styles.drawer(options)
        if options.compose == "whole":
            image = self.cropper.whole(photo, ticket, stressed=drawer.model.features == "stressed")
            ticket.facts["style"] = drawer.model.name
            if ticket.report:
                note_frames(ticket.report, image)
            return [drawer.draw_whole(image, ticket)]
        image, cuts = self.cropper.crop(photo, options, ticket)
        ticket.facts["style"] = drawer.model.name
        drawings = self.draw_faces(image, cuts, options, ticket)
        with ticket.stage(Stage.COMPOSE):
            if ticket.report:
                note_drawn(ticket.report, image, cuts, drawings)
                note_frames(ticket.report, image, [] if options.compose == "scene" else cuts)
            return finish(image, cuts, drawings, options)

    def draw_faces(
        self, image: Image, cuts: list[Cut], options: Options, ticket: Ticket
    ) -> list[Drawing]:
        """Draw the faces that were cut out, and look at what came out: the way of every picture.

        Args:
            image: the photo, `(H, W, 3)` uint8 RGB.
            cuts: its chosen faces.
            options: the style and its colours, settled.
            ticket: the request's.

        Raises:
            NoFaceFound: nothing would be seen of any of them.
            UnusableOutput: a drawing is none.
        """
        drawer = self.styles.drawer(options)
        drawings = [draw_face(drawer, image, cut, ticket, options.colours) for cut in cuts]
        with ticket.stage(Stage.COMPOSE):
            if all(map(is_blank, drawings)):
                raise NoFaceFound(NOBODY_SHOWN)
        return drawings

    def prepare(
        self, photo: bytes, options: Options, ticket: Ticket, size: int | None = None
    ) -> tuple[Image, list[Portrait]]:
        """Run everything before the generator; return the decoded photo and its chosen faces."""
        image, cuts = self.cropper.crop(photo, options, ticket, size)
        drawer = self.styles.drawer(options)
        return image, [Portrait(cut, drawer.matte(image, cut, ticket)) for cut in cuts]

    def warm_up(self) -> None:
        """Run every network once.

        Raises:
            ManifestError: one of them does not work.
        """
        for network in self.networks:
            network.warm_up()

    def self_test(self) -> None:
        """Run every network again, and note whether all of them still answer as they should."""
        try:
            self.warm_up()
        except ManifestError as error:
            self.failing = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, it does not work
            self.failing = f"a model does not run: {type(error).__name__}"
        else:
            self.failing = ""

    def close(self) -> None:
        """End the batchers' threads."""
        for batcher in self.batchers:
            batcher.close()


def draw_face(
    drawer: Drawer, image: Image, cut: Cut, ticket: Ticket, colours: Colours | None
) -> Drawing:
    """Draw one face, as `Drawer.draw` does.

    Raises:
        NoFaceFound: the drawing is unusable because there is nobody to draw.
        UnusableOutput: it is unusable.
    """
    try:
        return drawer.draw(image, cut, ticket, colours)
    except UnusableOutput:
        if drawer.matte(image, cut, ticket).mean() < NOBODY:
            raise NoFaceFound(NOBODY_SHOWN) from None
        raise


def finish(image: Image, cuts: list[Cut], drawings: list[Drawing], options: Options) -> list[Image]:
    """Compose the pictures from the drawings of faces of `image`, `(H, W, 3)` uint8 RGB.

    Returns:
        Pictures `(H, W, 3)` uint8 RGB or, with a transparent background, `(H, W, 4)` RGBA.
    """
    if options.compose == "scene":
        for cut, drawing in zip(cuts, drawings, strict=True):
            cartoon = drawing.cartoon.astype(np.float32, copy=False)
            image = lay_back(image, cartoon, drawing.matte, cut.alignment)
        return [image]
    size = (image.shape[1], image.shape[0])
    drawings = [frame_close_up(*pair, size) for pair in zip(cuts, drawings, strict=True)]
    if options.transparent:
        return [
            np.dstack([drawing.cartoon, drawing.matte * 255]).astype(np.uint8)
            for drawing in drawings
        ]
    return [composite(drawing.cartoon, drawing.matte, options.colour) for drawing in drawings]
