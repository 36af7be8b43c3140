"""Report: what is known of a photo and its faces beside the picture, for callers who ask for it."""

from dataclasses import dataclass, field

Point = tuple[float, float]
Row = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be drawn, as far as numbers tell.

    Attributes:
        face_px: longer side of the face's box, px of the photo.
        sharpness: variance of the Laplacian of the face's luma, 0..255, in a square of 256 px;
            below about 20 it looks soft.
        exposure: mean luma of the face, 0 (black) .. 1 (white).
        clipped: share of the face, 0..1, that is black or white without detail.
        colour: mean chroma of the face in CIELAB; 0 is a gray photo, skin has about 15 to 30.
        matte_coverage: share of the picture, 0..1, that is person.
    """

    face_px: float
    sharpness: float
    exposure: float
    clipped: float
    colour: float
    matte_coverage: float


@dataclass(slots=True)
class SeenFace:
    """One face that was found, in pixels of the upright photo, x before y.

    Attributes:
        box: left, top, right, bottom of the outline.
        eyes: outer eye corners, the one at image left first.
        outline: brows and jaw.
        score: 0..1, how sure the landmark network is that this is a face.
        drawn: whether a picture shows it drawn.
        quality: of a face that was cut out to be drawn; None for others.
    """

    box: tuple[float, float, float, float]
    eyes: list[Point]
    outline: list[Point]
    score: float
    drawn: bool = False
    quality: Quality | None = None


@dataclass(slots=True)
class Report:
    """What the pipeline saw of one photo.

    Attributes:
        photo_size: width and height of the upright photo, px.
        faces: those found, from left to right.
        drawn: places in `faces` of those that were drawn, in the order of the pictures; None stands
            for the middle of a photo without a face.
        from_photo: for each picture the rows of its affine map `(2, 3)`: px of the upright photo to
            px of the picture.
    """

    photo_size: tuple[int, int] = (0, 0)
    faces: list[SeenFace] = field(default_factory=list)
    drawn: list[int | None] = field(default_factory=list)
    from_photo: list[tuple[Row, Row]] = field(default_factory=list)
