"""Crop: a photo decoded as finely as its faces need, and its chosen faces cut out of it."""

import math
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.errors import FaceTooSmall, NoFaceFound, UnusableOutput
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.alignment import centre_square, crop_face, estimate_alignment
from photo2cartoon.pipeline.decode import DecodedPhoto, decode_photo
from photo2cartoon.pipeline.drawer import Cut
from photo2cartoon.pipeline.examine import note_faces, note_whole
from photo2cartoon.pipeline.faces.detector import Face, FaceDetector, select_faces
from photo2cartoon.pipeline.features import stress
from photo2cartoon.pipeline.styles import Styles, head_size, portrait_size

DETECTION_LONG_SIDE = 1280  # px; the detectors shrink the photo to 384 px anyway
SCENE_FACE_PX = 16  # smallest face that is drawn in a scene, px of its longer side
WHOLE_SIDE = 2048  # px: of a photo that is drawn whole
WHOLE_PIXELS = 2048 * 1024  # which take 1.5 s of one core, and about 450 MiB
LEAST_SIDE = 32  # px
NOBODY = 0.01  # share of a square that must be person
WHOLE_FACE = 400  # px: wider faces are drawn with lines too fine for them

Image = NDArray[np.uint8]


class Cropper:
    """Everything before a drawer: it keeps nothing of a photo, and any thread may call it.

    Attributes:
        detector: finds the faces.
        styles: what they are drawn with, which decides how large they are cut.
        max_pixels: most pixels of a photo.
        min_face_px: smallest face, px of its longer side.
    """

    def __init__(
        self, detector: FaceDetector, styles: Styles, max_pixels: int, min_face_px: int
    ) -> None:
        self.detector = detector
        self.styles = styles
        self.max_pixels = max_pixels
        self.min_face_px = min_face_px

    def crop(
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
            return self._crop_centre(photo, decoded, options, ticket, size)
        faces = select_faces(found, options.faces)
        sides = [estimate_alignment(face, decoded.size).side for face in faces]
        sizes = [size or self._size(options, side * decoded.scale) for side in sides]
        with ticket.stage(Stage.DECODE):
            factor = max(size / side for size, side in zip(sizes, sides, strict=True))
            image, faces = self._decode_finer(photo, decoded, faces, factor)
        with ticket.stage(Stage.ALIGN):
            return image, self._cut_faces(image, faces, sizes, options)

    def whole(self, photo: bytes, ticket: Ticket, *, stressed: bool = False) -> Image:
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

    def _crop_centre(
        self,
        photo: bytes,
        decoded: DecodedPhoto,
        options: Options,
        ticket: Ticket,
        size: int | None,
    ) -> tuple[Image, list[Cut]]:
        """Cut out the middle of a photo without a face; see `crop`.

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


def _cut_face(image: Image, face: Face, size: int, least: int) -> Cut:
    """Align and crop one face of `image` `(H, W, 3)` uint8 RGB at `size` px.

    Raises:
        FaceTooSmall: its longer side is less than `least` px.
    """
    photo_size = (image.shape[1], image.shape[0])
    alignment = estimate_alignment(face, photo_size, least)
    return Cut(crop_face(image, alignment, size), alignment, face)
