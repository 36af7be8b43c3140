"""How true the colours of a face stay: stains, chroma and lightness, against the photo.

What is measured lies inside the face of the aligned square (`FACE`), where the cartoon is neither a
line nor white paper, in CIE Lab:

    stains        share of the coloured pixels whose chroma is more than `STAIN` from the photo's
    chroma off    median distance of the two chromas
    lift          how much lighter the face is drawn than it is: L, 0..100, medians
    order         rank correlation of the faces' lightness, photo against cartoon

The photo's chroma is blurred: a drawing has areas where a photo has pores. No loss of a training
and no recolouring knows this measure. It says nothing of likeness or of lines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photo2cartoon_models.evaluation.measures import Resampled, resampled

Image = NDArray[np.uint8]
Values = NDArray[np.float64]

SIDE = 256  # px; pictures of another size are compared at this one
FACE = (0.5, 0.6), (0.2, 0.24)  # centre and radii of the face in the aligned square, shares of it
STAIN, BLUR_PX = 14, 6  # chroma in Lab; sigma of the photo's blur
LINE, PAPER, COLOURED = 30, 97, 8  # L below which a pixel is line; above which white; least chroma
FEWEST = 3000  # pixels of a face that counts


@dataclass(frozen=True, slots=True)
class FaceColours:
    """One face.

    Attributes:
        stains: share of its coloured pixels, 0..1.
        off: median distance of the chromas.
        photo: median lightness of the photo, 0..100.
        cartoon: the same of the cartoon.
    """

    stains: float
    off: float
    photo: float
    cartoon: float


def compare_colours(photo: Image, cartoon: Image) -> FaceColours | None:
    """Compare an aligned photo with its cartoon, both `(S, S, 3)` uint8 RGB on white.

    None where too little of a face is there to be measured.
    """
    y, x = np.indices((SIDE, SIDE)) / SIDE
    (cx, cy), (rx, ry) = FACE
    lab, drawn = _to_lab(photo), _to_lab(cartoon)
    face = (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1) & (lab[:, :, 0] < PAPER)
    if face.sum() < FEWEST:
        return None
    own, painted = cv2.GaussianBlur(lab, (0, 0), BLUR_PX)[:, :, 1:], drawn[:, :, 1:]
    apart = np.linalg.norm(painted - own, axis=2)
    seen = face & (drawn[:, :, 0] > LINE)
    # Paper white on fair skin has no chroma by nature: one of the two must claim a colour.
    chroma = np.maximum(np.linalg.norm(painted, axis=2), np.linalg.norm(own, axis=2))
    coloured = seen & (chroma > COLOURED)
    return FaceColours(
        float((apart[coloured] > STAIN).mean()) if coloured.any() else 0.0,
        float(np.median(apart[seen])) if seen.any() else 0.0,
        float(np.median(lab[:, :, 0][face])),
        float(np.median(drawn[:, :, 0][face])),
    )


def _to_lab(picture: Image) -> NDArray[np.float32]:
    """`(SIDE, SIDE, 3)` CIE Lab, L 0..100."""
    if picture.shape[:2] != (SIDE, SIDE):
        picture = np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab, np.float32)


def summarise(faces: Sequence[FaceColours]) -> dict[str, Resampled]:
    """The figures of a set of faces, each by its name in `MEANINGS`.

    Raises:
        ValueError: there is no face.
    """
    names = ("stains", "off", "photo", "cartoon")
    table = np.array([[getattr(face, name) for name in names] for face in faces], np.float64)
    stains, off, photo, cartoon = table.reshape(-1, len(names)).T
    lift = cartoon - photo
    figures: dict[str, Callable[[NDArray[np.intp]], float]] = {
        "stains": lambda chosen: float(stains[chosen].mean()),
        "stains_p90": lambda chosen: float(np.quantile(stains[chosen], 0.9)),
        "chroma_off": lambda chosen: float(off[chosen].mean()),
        "order": lambda chosen: rank_correlation(photo[chosen], cartoon[chosen]),
        "lift": lambda chosen: float(lift[chosen].mean()),
        "lift_darkest": lambda chosen: float(_quarter(photo[chosen], lift[chosen]).mean()),
        "lift_fairest": lambda chosen: float(_quarter(-photo[chosen], lift[chosen]).mean()),
    }
    return {name: resampled(figure, len(faces)) for name, figure in figures.items()}


MEANINGS = {
    "stains": "stain share, mean of the faces",
    "stains_p90": "stain share that one face in ten exceeds",
    "chroma_off": "chroma off, mean of the faces",
    "order": "order of skins kept, rank correlation",
    "lift": "drawn lighter by, L",
    "lift_darkest": "the darkest quarter drawn lighter by, L",
    "lift_fairest": "the fairest quarter drawn lighter by, L",
}


def _quarter(key: Values, values: Values) -> Values:
    """The values of the quarter with the smallest keys."""
    return values[np.argsort(key, kind="stable")[: max(1, len(values) // 4)]]


def rank_correlation(a: Values, b: Values) -> float:
    """Spearman's rank correlation, -1..1, equal values with their mean rank; 0 if one is flat."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    centred = ranks - ranks.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).sum(1).prod())
    return float(centred[0] @ centred[1] / spread) if spread else 0.0


def _ranks(values: Values) -> Values:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])
