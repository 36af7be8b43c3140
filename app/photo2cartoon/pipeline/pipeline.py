"""The pipeline: a photo in, cartoons out, as a list of stages in the order in which they run."""

import logging
import math
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import FaceTooSmall, NoFaceFound, UnusableOutput
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.alignment import centre_square, crop_face, estimate_alignment
from photo2cartoon.pipeline.close_up import frame_close_up
from photo2cartoon.pipeline.decode import DecodedPhoto, decode_photo
from photo2cartoon.pipeline.drawer import Cut, Drawer, Drawing
from photo2cartoon.pipeline.encode import encode_image
from photo2cartoon.pipeline.examine import (
    is_blank,
    note_drawn,
    note_faces,
    note_frames,
    note_whole,
)
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector, select_faces
from photo2cartoon.pipeline.features import stress
from photo2cartoon.pipeline.scene import lay_back
from photo2cartoon.pipeline.styles import Styles, head_size, portrait_size
from photo2cartoon.runtime.batcher import Batcher
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import Network
from photo2cartoon_models.manifest import Colours, ManifestError, Model
from photo2cartoon_models.preprocess import composite, to_tensor

log = logging.getLogger("photo2cartoon.pipeline.pipeline")

DETECTION_LONG_SIDE = 1280  # px; the detectors shrink the photo to 384 px anyway
SCENE_FACE_PX = 16  # smallest face that is drawn in a scene, px of its longer side
WHOLE_SIDE = 2048  # px: of a photo that is drawn whole
WHOLE_PIXELS = 2048 * 1024  # which take 1.5 s of one core, and about 450 MiB
LEAST_SIDE = 32  # px
NOBODY = 0.01  # share of a square that must be person
NOBODY_SHOWN = "A face was found, but nobody around it stands out from the background."
WHOLE_FACE = 400  # px: wider faces are drawn with lines too fine for them

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
        detector: finds the faces.
        styles: what draws them.
        max_pixels: most pixels of a photo.
        min_face_px: smallest face, px of its longer side.
        device: what the drawer's networks run on.
        failing: why the last self test failed; empty after one that passed.
    """

    def __init__(
        self,
        detector: FaceDetector,
        styles: Styles,
        *,
        max_pixels: int,
        min_face_px: int,
        device: Device = CPU,
    ) -> None:
        self.detector = detector
        self.styles = styles
        self.max_pixels = max_pixels
        self.min_face_px = min_face_px
        self.device = device
        self.failing = ""

    @property
    def networks(self) -> list[Network]:
        """All networks, in the order in which a photo meets them."""
        drawers = self.styles.drawers.values()
        every = [*self.detector.networks, *(n for drawer in drawers for n in drawer.networks)]
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
            image = self.find_whole(photo, ticket, stressed=drawer.model.features == "stressed")
            ticket.facts["style"] = drawer.model.name
            if ticket.report:
                note_frames(ticket.report, image)
            return [drawer.draw_whole(image, ticket)]
        image, cuts = self.find(photo, options, ticket)
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
        """Draw the faces that `find` cut out, and look at what came out: the way of every picture.

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
        image, cuts = self.find(photo, options, ticket, size)
        drawer = self.styles.drawer(options)
        return image, [Portrait(cut, drawer.matte(image, cut, ticket)) for cut in cuts]

    def find_whole(self, photo: bytes, ticket: Ticket, *, stressed: bool = False) -> Image:
        """Decode a photo at the size at which it is drawn whole: that of its faces decides.

        Args:
            photo: the bytes of the file.
            ticket: the request's.
            stressed: stress the features of its faces.

        Returns:
            `(H, W, 3)` uint8 RGB.
        """
        with ticket.stage(Stage.DECODE):
            decoded = decode_photo(photo, self.max_pixels, WHOLE_SIDE)
            ticket.facts["scale"] = decoded.scale
        faces: list[Face] = []
        with ticket.stage(Stage.DETECT), suppress(NoFaceFound):
            faces = self.detector.detect(decoded.pixels, every=True)
        ticket.facts["faces"] = len(faces)
        with ticket.stage(Stage.ALIGN):
            if ticket.report:
                note_faces(ticket.report, decoded, faces)
                note_whole(ticket.report)
            widths = (np.ptp(face.box[::2]) for face in faces)
            shrink = min(
                1.0,
                WHOLE_SIDE / max(decoded.size),
                math.sqrt(WHOLE_PIXELS / math.prod(decoded.size)),
                WHOLE_FACE / max(widths, default=1.0),
            )
            size = [max(LEAST_SIDE, round(side * shrink)) for side in decoded.size]
            drawn = cv2.resize(decoded.pixels, size, interpolation=cv2.INTER_AREA)
            image = np.asarray(drawn, np.uint8)
            factor = np.array(size) / decoded.size
            for features in (face.scaled(factor).features for face in faces if stressed):
                image = image if features is None else stress(image, features)
            return image

    def find(
        self, photo: bytes, options: Options, ticket: Ticket, size: int | None = None
    ) -> tuple[Image, list[Cut]]:
        """Decode a photo, find its faces, and cut out the chosen ones.

        Args:
            photo: the bytes of the file.
            options: which faces, in which style.
            ticket: the request's.
            size: side of the squares, px; None: what options, style and photo say.

        Returns:
            The photo's pixels `(H, W, 3)` uint8 RGB, and one cut per face.
        """
        # A scene answers with the photo, which is therefore decoded in full.
        long_side = None if options.compose == "scene" else DETECTION_LONG_SIDE
        with ticket.stage(Stage.DECODE):
            decoded = decode_photo(photo, self.max_pixels, long_side)
            ticket.facts["scale"] = decoded.scale
        with ticket.stage(Stage.DETECT):
            found = self.detector.detect(decoded.pixels, every=options.faces != "largest")
            ticket.facts["faces"] = len(found)
            if ticket.report:
                note_faces(ticket.report, decoded, found)
        if not found and options.on_no_face == "centre":
            return self._find_centre(photo, decoded, options, ticket, size)
        faces = select_faces(found, options.faces)
        sides = [estimate_alignment(face, decoded.size).side for face in faces]
        sizes = [size or self._size(options, side * decoded.scale) for side in sides]
        with ticket.stage(Stage.DECODE):
            factor = max(size / side for size, side in zip(sizes, sides, strict=True))
            image, faces = self._decode_finer(photo, decoded, faces, factor)
        with ticket.stage(Stage.ALIGN):
            return image, self._cut_faces(image, faces, sizes, options)

    def _find_centre(
        self,
        photo: bytes,
        decoded: DecodedPhoto,
        options: Options,
        ticket: Ticket,
        size: int | None,
    ) -> tuple[Image, list[Cut]]:
        """Cut out the middle of a photo without a face; see `find`.

        Raises:
            NoFaceFound: nobody is there at all.
        """
        with ticket.stage(Stage.DECODE):
            side = min(decoded.size)
            size = size or self._size(options, side * decoded.scale)
            image, _ = self._decode_finer(photo, decoded, [], size / side)
        with ticket.stage(Stage.ALIGN):
            alignment = centre_square((image.shape[1], image.shape[0]))
            cut = Cut(crop_face(image, alignment, size), alignment)
        try:
            matte = self.styles.drawer(options).matte(image, cut, ticket)
        except UnusableOutput:  # of a drawer that draws at once
            raise NoFaceFound from None
        if matte.mean() < NOBODY:
            raise NoFaceFound
        return image, [cut]

    def _size(self, options: Options, side: float) -> int:
        """Return at how many pixels to draw a face whose square has `side` px in the file."""
        model = self.styles.drawer(options).model
        if options.compose == "scene":
            return head_size(side) if model.takes_any_size else model.image_size
        return portrait_size(model, side, options.size)

    def _cut_faces(
        self, image: Image, faces: list[Face], sizes: list[int], options: Options
    ) -> list[Cut]:
        """Cut out each face at its size, px.

        Of all faces, those too small are left out: a passer-by must not cost the others theirs. A
        scene shows a head no larger than it is, so smaller ones will do.
        """
        scene, every = options.compose == "scene", options.faces == "all"
        least = min(self.min_face_px, SCENE_FACE_PX) if scene else self.min_face_px
        cuts = []
        for face, size in zip(faces, sizes, strict=True):
            try:
                cuts.append(_cut_face(image, face, size, least))
            except FaceTooSmall:
                if not every:
                    raise
        if not cuts:
            raise FaceTooSmall
        return cuts

    def _decode_finer(
        self, photo: bytes, decoded: DecodedPhoto, faces: list[Face], factor: float
    ) -> tuple[Image, list[Face]]:
        """Decode again, `factor` times as large, if faces need it and the file has more pixels."""
        if decoded.scale == 1 or factor <= 1:
            return decoded.pixels, faces
        long_side = math.ceil(max(decoded.size) * factor)
        finer = decode_photo(photo, self.max_pixels, long_side)
        grown = np.array(finer.size) / decoded.size
        return finer.pixels, [face.scaled(grown) for face in faces]

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


def _cut_face(image: Image, face: Face, size: int, least: int) -> Cut:
    """Align and crop one face of `image` `(H, W, 3)` uint8 RGB at `size` px.

    Raises:
        FaceTooSmall: its longer side is less than `least` px.
    """
    photo_size = (image.shape[1], image.shape[0])
    alignment = estimate_alignment(face, photo_size, least)
    return Cut(crop_face(image, alignment, size), alignment, face)


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
