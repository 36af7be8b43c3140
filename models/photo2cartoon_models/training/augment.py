"""What is done to pictures before the networks see them: in batches, on the device.

Every number is drawn from a generator on the CPU that the step's number seeds, so that a run that
goes on, or runs on another device, does the same. Pictures are (B, C, S, S) float; a matte is the
fourth channel, 0..1; regions are those of `training.data.read_regions`.
"""

import hashlib
import math

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor

from photo2cartoon_models.training.config import FastAugment

FULL_TURN = 2 * math.pi
WHITE = 1.0
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear red, green and blue, ITU-R BT.709
DARKEST = 1e-6  # luminance below which the root would be too steep to learn through


class StepRandom:
    """All random numbers of one step, the same however many processes share its batch.

    Every process draws the numbers of the whole batch and keeps those of its own pictures, so that
    two processes with one picture each do what one process with two pictures does.

    Args:
        seed: of the run.
        step: its number.
        rank: which of the processes this is, from 0 up.
        world: how many processes there are; each has as many pictures as the others.
    """

    def __init__(self, seed: int, step: int, rank: int = 0, world: int = 1) -> None:
        digest = hashlib.sha256(f"{seed}/{step}/0".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        self._rank, self._world = rank, world

    def uniform(self, low: float, high: float, count: int, *more: int) -> Tensor:
        """(count, *more) float32 in low..high, on the CPU; `count` is this process's pictures."""
        numbers = torch.rand(self._world * count, *more, generator=self._generator)
        return self._mine(numbers, count) * (high - low) + low

    def integers(self, low: int, high: int, count: int, *more: int) -> Tensor:
        """(count, *more) int64 from `low` to `high`, both included, on the CPU."""
        shape = (self._world * count, *more)
        return self._mine(torch.randint(low, high + 1, shape, generator=self._generator), count)

    def chance(self, count: int, share: float) -> Tensor:
        """(count,) of 0 and 1, on the CPU."""
        return (self.uniform(0, 1, count) < share).float()

    def common(self) -> float:
        """One number in 0..1, the same in every process."""
        return float(torch.rand(1, generator=self._generator))

    def _mine(self, numbers: Tensor, count: int) -> Tensor:
        return numbers[self._rank * count : (self._rank + 1) * count]


def upstream_crop(batch: Tensor, size: int, rng: StepRandom) -> Tensor:
    """Cut a random square of `size` and flip half of them (minivision's and PaddleGAN's rule)."""
    room = batch.shape[2] - size
    corners = rng.integers(0, room, len(batch), 2).tolist()
    flips = rng.chance(len(batch), 0.5).tolist()
    cut = []
    for picture, (top, left), flip in zip(batch, corners, flips, strict=True):
        square = picture[:, top : top + size, left : left + size]
        cut.append(square.flip(2) if flip else square)
    return torch.stack(cut)


def random_affine(count: int, how: FastAugment, rng: StepRandom) -> Tensor:
    """Flip, turn, zoom and shift: (B, 2, 3) from places in the result to places in the picture."""
    angle = rng.uniform(-1, 1, count) * math.radians(how.rotate_degrees)
    scale = 1 + rng.uniform(-1, 1, count) * how.zoom
    flip = 1 - 2 * rng.chance(count, how.flip)
    shift = rng.uniform(-1, 1, count, 2)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack((cos * flip, -sin, sin * flip, cos), 1).reshape(count, 2, 2)
    return torch.cat((theta, 2 * how.shift * shift[:, :, None]), 2)


def warp(batch: Tensor, theta: Tensor) -> Tensor:
    """Look at `batch` through `theta`; what lies outside repeats the border."""
    grid = F.affine_grid(theta.to(batch), list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def move_regions(regions: Tensor, theta: Tensor) -> Tensor:
    """The same ellipses (B, R, 4) in the warped picture; turns are too small to tilt them."""
    linear = theta[:, :, :2]
    back = torch.linalg.inv(linear)
    centres = (regions[:, :, :2] - theta[:, None, :, 2]) @ back.mT
    scale = torch.linalg.det(linear).abs().rsqrt()[:, None, None]
    there = (regions[:, :, 2:3] > 0).float()
    return torch.cat((centres * there, regions[:, :, 2:] * scale), 2)


def ellipse_distance(regions: Tensor, size: int) -> Tensor:
    """(B, R, S, S): 0 at each ellipse's centre, 1 on its line; far away where there is none."""
    axis = (torch.arange(size, device=regions.device) * 2 + 1) / size - 1
    radius = regions[:, :, 2:, None, None].clamp(min=1e-3)
    dx = (axis[None, None, None, :] - regions[:, :, 0, None, None]) / radius[:, :, 0]
    dy = (axis[None, None, :, None] - regions[:, :, 1, None, None]) / radius[:, :, 1]
    return dx * dx + dy * dy


def soft_masks(regions: Tensor, size: int) -> Tensor:
    """(B, R, S, S), 1 at each ellipse's centre, .37 on its line, about 0 outside."""
    return torch.exp(-ellipse_distance(regions, size))


def brighten(photo: Tensor, how: FastAugment, rng: StepRandom) -> Tensor:
    """Change contrast and brightness of the whole photo, -1..1."""
    count = len(photo)
    gain = (1 + rng.uniform(-1, 1, count) * how.brightness).to(photo)[:, None, None, None]
    offset = (rng.uniform(-1, 1, count) * how.brightness / 2).to(photo)[:, None, None, None]
    return ((photo + 1) * gain - 1 + offset).clamp(-1, 1)


def relight(photo: Tensor, face: Tensor, how: FastAugment, rng: StepRandom) -> Tensor:
    """Light some of the photos from one side.

    The head is taken for an ellipsoid over the face's ellipse and lit by Lambert's cosine law, in
    linear light (squared values stand for sRGB's curve); beyond its outline the shade goes on as at
    the outline. The dark side keeps `relight_darkest` of its light at least.

    Args:
        photo: (B, 3, S, S), -1..1.
        face: (B, 4), the ellipse of the face; a photo without one is lit as if it were central.
        how: shares.
        rng: of the step.
    """
    count, size = len(photo), photo.shape[2]
    chosen = rng.chance(count, how.relight).to(photo)[:, None, None]
    angle, height = rng.uniform(0, FULL_TURN, count), rng.uniform(0.0, 0.5, count)
    darkest = rng.uniform(how.relight_darkest, 0.8, count).to(photo)[:, None, None]
    central = torch.tensor([0.0, 0.1, 0.5, 0.6]).to(face)
    face = torch.where(face[:, 2:3] > 0, face, central)
    axis = (torch.arange(size, device=photo.device) * 2 + 1) / size - 1
    nx = (axis[None, None, :] - face[:, 0, None, None]) / (1.3 * face[:, 2, None, None])
    ny = (axis[None, :, None] - face[:, 1, None, None]) / (1.3 * face[:, 3, None, None])
    nz = (1 - nx * nx - ny * ny).clamp(min=0.04).sqrt()
    length = (nx * nx + ny * ny + nz * nz).sqrt()
    light = torch.stack((torch.cos(angle), torch.sin(angle), height), 1)
    lx, ly, lz = (light / light.norm(dim=1, keepdim=True)).to(photo).unbind(1)
    cosine = (nx * lx[:, None, None] + ny * ly[:, None, None] + nz * lz[:, None, None]) / length
    shade = darkest + (1.1 - darkest) * (0.5 + 0.5 * cosine / 0.7).clamp(0, 1)
    gain = (1 + chosen * (shade - 1))[:, None]
    linear = ((photo + 1) / 2).square() * gain
    return linear.clamp(0, 1).sqrt() * 2 - 1


def disturb_matte(matte: Tensor, how: FastAugment, rng: StepRandom) -> Tensor:
    """Widen or narrow some mattes (B, 1, S, S) by a few px, as a matte network errs at hair."""
    count = len(matte)
    chosen = rng.chance(count, how.edge).to(matte)[:, None, None, None]
    amount = rng.uniform(-1, 1, count).to(matte)[:, None, None, None]
    reach = max(3, matte.shape[2] // 64 * 2 + 1)
    wide = F.max_pool2d(matte, reach, 1, reach // 2)
    narrow = -F.max_pool2d(-matte, reach, 1, reach // 2)
    other = F.avg_pool2d(torch.where(amount > 0, wide, narrow), 3, 1, 1)
    return matte + chosen * amount.abs() * (other - matte)


def on_white(photo: Tensor, matte: Tensor) -> Tensor:
    """Lay pictures (B, 3, S, S), -1..1, on white by their mattes (B, 1, S, S).

    `preprocess.composite` without its truncation: these pictures never become bytes.
    """
    return photo * matte + WHITE * (1 - matte)


def lightness(pictures: Tensor) -> Tensor:
    """The gray pictures of the same lightness, (B, 3, S, S), -1..1; gradients pass.

    Gray levels follow the luminance, as Lab's L does; squared values stand for sRGB's curve.
    """
    weights = torch.tensor(LUMINANCE, device=pictures.device)
    linear = ((pictures.float() + 1) / 2).square()
    luminance = torch.einsum("c,bchw->bhw", weights, linear)[:, None]
    gray = (luminance + DARKEST).sqrt().clamp(max=1) * 2 - 1
    return gray.expand(-1, 3, -1, -1)


def darken(drawings: Tensor, how: FastAugment, rng: StepRandom) -> Tensor:
    """Darken the midtones of drawings (B, 3, S, S), -1..1, each to a degree of its own.

    White paper and black ink stay. Drawings that show fair skin only become drawings of all skins.
    """
    exponent = rng.uniform(1, how.judge_darken, len(drawings)).to(drawings)[:, None, None, None]
    return ((drawings + 1) / 2).clamp(0, 1).pow(exponent) * 2 - 1


def diff_augment(pictures: Tensor, how: FastAugment, rng: StepRandom) -> Tensor:
    """Shift all pictures a little and cut a hole into some (Zhao et al. 2020, arXiv 2006.10738).

    DiffAugment: the discriminators memorise less. The same for real and made pictures; gradients
    pass.
    """
    count, _, size, _ = pictures.shape
    largest = int(size * how.judge_shift)
    shift = rng.integers(-largest, largest, count, 2).float() * 2 / size
    theta = torch.eye(2).repeat(count, 1, 1)
    grid = F.affine_grid(
        torch.cat((theta, shift[:, :, None]), 2).to(pictures), list(pictures.shape), False
    )
    moved = F.grid_sample(pictures - WHITE, grid, align_corners=False) + WHITE
    hole = rng.uniform(-1, 1, count, 2)
    chosen = rng.chance(count, how.judge_cutout).to(pictures)[:, None, None, None]
    square = torch.cat((hole, torch.full((count, 2), 1 / 3)), 1)[:, None].to(pictures)
    axis = (torch.arange(size, device=pictures.device) * 2 + 1) / size - 1
    in_x = (axis[None, None, None, :] - square[:, :, 0, None, None]).abs() < square[:, :, 2:3, None]
    in_y = (axis[None, None, :, None] - square[:, :, 1, None, None]).abs() < square[:, :, 3:4, None]
    return moved * (1 - chosen * (in_x & in_y).to(pictures))
