"""Examine: fill in a report with the faces of a photo and how well they can be drawn."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon.ground.report import Point, Quality, Report, Row, SeenFace
from photo2cartoon.pipeline.close_up import choose_frame
from photo2cartoon.pipeline.decode import DecodedPhoto
from photo2cartoon.pipeline.drawer import Cut, Drawing
from photo2cartoon.pipeline.faces.detector import Face
from photo2cartoon.pipeline.faces.warp import Matrix, compose, inverse

SIDE = 256  # px: sizes of the square differ, and so would their sharpness
FACE = (slice(108, 208), slice(92, 164))  # where a face is in every aligned square of that size
BLANK = 0.02  # share of a drawing that must be seen; of people's, half is
EVERY, FAINT = 8, 8  # px between those that are looked at; grey levels that nobody sees
BLACK, WHITE = 3, 252  # darkest and lightest luma that still has detail
WHOLE: Matrix = np.eye(2, 3)  # the map of a picture that shows all of the photo

Image = NDArray[np.uint8]


def is_blank(drawing: Drawing) -> bool:
    """Tell whether next to nothing of a drawing is seen on white; looks at every eighth pixel."""
    cartoon = drawing.cartoon[::EVERY, ::EVERY].astype(np.float32)
    ink = (255 - cartoon.min(axis=-1)) * drawing.matte[::EVERY, ::EVERY]
    return bool((ink > FAINT).mean() < BLANK)


def note_faces(report: Report, photo: DecodedPhoto, faces: Sequence[Face]) -> None:
    """Note a photo's upright size, and its faces, which are given in px of `photo`."""
    width, height = photo.size
    long, short = max(photo.file_size), min(photo.file_size)
    report.photo_size = (long, short) if width >= height else (short, long)
    factor = np.array(report.photo_size) / photo.size
    scaled = [face.scaled(factor) for face in faces]
    scaled.sort(key=lambda face: float(face.eyes[:, 0].mean()))
    report.faces = [
        SeenFace(
            box=_round(face.box),
            eyes=_points(face.eyes),
            outline=_points(face.outline),
            score=round(face.score, 4),
        )
        for face in scaled
    ]


def note_drawn(
    report: Report, image: Image, cuts: Sequence[Cut], drawings: Sequence[Drawing]
) -> None:
    """Note which faces were drawn, and their quality.

    Args:
        report: with its faces noted.
        image: the photo, `(H, W, 3)` uint8 RGB, in whose px the cuts are.
        cuts: one for each drawing.
        drawings: the faces as drawn.
    """
    factor = np.array(report.photo_size) / (image.shape[1], image.shape[0])
    for cut, drawing in zip(cuts, drawings, strict=True):
        if cut.face is None:
            report.drawn.append(None)
            continue
        face = cut.face.scaled(factor)
        place = _nearest(report.faces, face)
        report.drawn.append(place)
        report.faces[place].drawn = True
        report.faces[place].quality = _measure(cut.crop.pixels, drawing.matte, face)


def note_whole(report: Report) -> None:
    """Note that all of a photo was drawn, and so every face."""
    report.drawn = list(range(len(report.faces)))
    for face in report.faces:
        face.drawn = True


def note_frames(report: Report, image: Image, cuts: Sequence[Cut] = ()) -> None:
    """Note where the pictures lie in the photo.

    Args:
        report: with the photo's size.
        image: the photo, `(H, W, 3)` uint8 RGB, in whose px the cuts are.
        cuts: one for each portrait; none for a picture that is all of `image`.
    """
    size = (image.shape[1], image.shape[0])
    factor = np.array(size) / report.photo_size
    to_image = np.column_stack([np.diag(factor), 0.5 * (factor - 1)])  # centres at whole numbers
    frames = [choose_frame(cut, size).to_photo(len(cut.crop.pixels)) for cut in cuts]
    maps = [inverse(frame) for frame in frames] or [WHOLE]
    report.from_photo = [_rows(compose(one, to_image)) for one in maps]


def _rows(matrix: Matrix) -> tuple[Row, Row]:
    (a, b, c), (d, e, f) = matrix.round(6).tolist()
    return (a, b, c), (d, e, f)


def _nearest(faces: Sequence[SeenFace], face: Face) -> int:
    """Return the place of `face` in `faces`: it is there, but may be a rounding off."""
    apart = [np.abs(np.array(seen.eyes) - face.eyes).sum() for seen in faces]
    return int(np.argmin(apart))


def _measure(square: Image, matte: NDArray[np.float32], face: Face) -> Quality:
    """Measure the aligned `square` `(S, S, 3)` uint8 RGB of a face, and its matte `(S, S)`."""
    seen = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[FACE]
    luma = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
    lab = cv2.cvtColor(seen.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    clipped = (luma < BLACK) | (luma > WHITE)
    return Quality(
        face_px=round(face.side, 1),
        sharpness=round(float(cv2.Laplacian(luma, cv2.CV_32F).var()), 1),
        exposure=round(float(luma.mean()) / 255, 3),
        clipped=round(float(clipped.mean()), 3),
        colour=round(float(np.hypot(lab[..., 1], lab[..., 2]).mean()), 1),
        matte_coverage=round(float(matte.mean()), 3),
    )


def _points(points: NDArray[np.float64]) -> list[Point]:
    return [(round(float(x), 1), round(float(y), 1)) for x, y in points]


def _round(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(float(edge), 1) for edge in box)
    return left, top, right, bottom
