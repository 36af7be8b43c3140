"""Every term of both recipes, as functions of tensors; means over everything but where said.

Each is a mean over the pictures of the batch, of something that follows from one picture alone, so
that processes that share a batch average their gradients to those of the whole batch.

Published terms: U-GAT-IT (Kim et al., ICLR 2020, arXiv 1907.10830) with LSGAN (Mao et al. 2017,
arXiv 1611.04076); the Face ID term is minivision-ai/photo2cartoon @ 6204e27's. Fast terms: hinge
(Lim and Ye 2017, arXiv 1705.02894), features as in perceptual losses (Johnson et al. 2016), the
rest ours.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor

from photo2cartoon_models.networks.discriminator import DiscriminatorOutput
from photo2cartoon_models.training.augment import soft_masks

FACE = 3  # place of the face among the regions; eyes and mouth come before it
YCC = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # JPEG's, ITU-T T.871
CELLS = 16  # a side, for colours
SMALLEST_SPREAD = 1e-3  # added to a feature map's deviation
FAINT = 0.1  # a step between two pixels, on -1..1, that costs half of what ink costs


def lsgan_discriminator(real: DiscriminatorOutput, made: DiscriminatorOutput) -> Tensor:
    """LSGAN for one discriminator: its map and its two CAM logits, without the usual half."""
    return sum_of(
        (real.logit - 1).square().mean(),
        made.logit.square().mean(),
        (real.cam_logit - 1).square().mean(),
        made.cam_logit.square().mean(),
    )


def lsgan_generator(made: DiscriminatorOutput) -> Tensor:
    """LSGAN for a generator before one discriminator."""
    return (made.logit - 1).square().mean() + (made.cam_logit - 1).square().mean()


def told_apart(foreign_cam: Tensor, own_cam: Tensor) -> Tensor:
    """CAM term of a generator: its attention must tell what it translates from what it keeps.

    Args:
        foreign_cam: (B, 2) logits for pictures to translate, towards 1.
        own_cam: (B, 2) logits for pictures that are what it draws already, towards 0.
    """
    return F.binary_cross_entropy_with_logits(
        foreign_cam, torch.ones_like(foreign_cam)
    ) + F.binary_cross_entropy_with_logits(own_cam, torch.zeros_like(own_cam))


def pixels_apart(one: Tensor, other: Tensor) -> Tensor:
    """L1."""
    return (one - other).abs().mean()


def faces_apart(one: Tensor, other: Tensor) -> Tensor:
    """1 - cosine of two sets of face vectors (B, D), mean over the batch."""
    return (1 - F.cosine_similarity(one, other)).mean()


def persons_apart(face_id: Callable[[Tensor], Tensor], made: Tensor, photo: Tensor) -> Tensor:
    """Distance of the face vectors of two sets of pictures.

    Not the cosine, as published: the vectors of the default network are not centred, and the cosine
    of two strangers is about .9.
    """
    with torch.no_grad():
        person = face_id(photo).float()
    return (face_id(made).float() - person).norm(dim=1).mean()


def hinge_discriminator(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Hinge for discriminators of several heads, summed over the heads."""
    heads = zip(real, made, strict=True)
    return sum_of(*(F.relu(1 - r).mean() + F.relu(1 + m).mean() for r, m in heads))


def hinge_generator(made: Sequence[Tensor]) -> Tensor:
    """Hinge for the generator: the heads' mean answers, negative, summed."""
    return sum_of(*(-m.mean() for m in made))


def landmark_weights(regions: Tensor, size: int, extra: float) -> Tensor:
    """(B, 1, S, S): 1 everywhere, up to 1 + `extra` on eyes and mouth."""
    masks = (
        soft_masks(regions[:, :FACE], size) * (regions[:, :FACE, 2] > 0).float()[..., None, None]
    )
    return 1 + extra * masks.amax(1, keepdim=True)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of (B, C, S, S) with weights (B, 1, S, S); weighing more does not raise the total.

    The weights count within their picture; all pictures count alike.
    """
    sums, shares = (values * weights).sum((1, 2, 3)), weights.sum((1, 2, 3))
    return (sums / (shares * values.shape[1])).mean()


def content_apart(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """L1 of two feature maps (B, C, S, S), each normalised per picture and channel.

    What is where in the picture stays, how strong and of what colour it is does not count.
    """
    return weighted_mean((_normalised(one) - _normalised(other)).abs(), weights)


def _normalised(features: Tensor) -> Tensor:
    centred = features - features.mean((2, 3), keepdim=True)
    return centred / (features.std((2, 3), keepdim=True) + SMALLEST_SPREAD)


def features_apart(one: Tensor, target: Tensor) -> Tensor:
    """L1 of two feature maps (B, C, S, S) as a share of the target's mean size, by picture."""
    apart, size = (maps.abs().mean((1, 2, 3)) for maps in (one - target, target))
    return (apart / size.clamp(min=SMALLEST_SPREAD)).mean()


def colours_apart(
    cartoon: Tensor, photo: Tensor, darker: float, lighter: float, hue: float
) -> Tensor:
    """How far the cartoon's colours are from the photo's, beyond what the style may change.

    Means of 16 x 16 cells, in JPEG's YCbCr: low enough in frequency to leave every line free. The
    style lightens everything: what is darker than the photo is hair, or a stain, that the person
    does not have.

    Args:
        cartoon: (B, 3, S, S), -1..1.
        photo: the same, on white, as it was before any change of its light.
        darker: how much darker a cell may be, on -1..1.
        lighter: how much lighter.
        hue: how far each chroma may differ.

    Returns:
        Mean over the cells.
    """
    cells = cartoon.shape[2] // CELLS
    matrix = torch.tensor(YCC, device=cartoon.device)
    apart = torch.einsum("kc,bchw->bkhw", matrix, F.avg_pool2d(cartoon - photo, cells))
    luma, chroma = apart[:, :1], apart[:, 1:].abs()
    beyond = F.relu(-luma - darker) + F.relu(luma - lighter)
    return (beyond + F.relu(chroma - hue).sum(1, keepdim=True)).mean()


def tones_apart(
    drawing: Tensor, photo: Tensor, darker: float, lighter: float, lift: float
) -> Tensor:
    """How far the drawing's tone is from the photo's, beyond what the style may change.

    Means of 16 x 16 cells, as in `colours_apart`. Wanted is the photo's lightness (0..1) to the
    power `lift`. A drawing may be lighter than that by `lighter` where the photo is white, and by
    less where it is dark, in proportion: otherwise dark skin is drawn as fair skin.

    Args:
        drawing: (B, C, S, S), gray, -1..1.
        photo: the same, on white, as it was before any change of its light.
        darker: how much darker than wanted a cell may be, on -1..1.
        lighter: how much lighter, at most.
        lift: exponent; below 1 it makes everything lighter.

    Returns:
        Mean over the cells.
    """
    cells = drawing.shape[2] // CELLS
    drawn, tone = (F.avg_pool2d(picture[:, :1], cells) for picture in (drawing, photo))
    light = ((tone + 1) / 2).clamp(0, 1)
    apart = drawn - (light.pow(lift) * 2 - 1)
    return (F.relu(-apart - darker) + F.relu(apart - lighter * light)).mean()


def unevenness(drawing: Tensor) -> Tensor:
    """How much of a gray drawing (B, C, S, S), -1..1, is not flat, 0..1.

    Each step between two neighbouring pixels counts by x / (x + FAINT) (Geman and Reynolds 1992):
    the darkest line costs hardly more than a gray one, so that ink stays, and hatching and weaves,
    which are made of many faint steps, are smoothed away.
    """
    light = drawing[:, :1]
    steps = (light.diff(dim=2).abs(), light.diff(dim=3).abs())
    down, right = ((step / (step + FAINT)).mean() for step in steps)
    return (down + right) / 2


def sum_of(first: Tensor, *more: Tensor) -> Tensor:
    """A sum that is a tensor for the type checker too."""
    for term in more:
        first = first + term
    return first
