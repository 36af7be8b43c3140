"""What a step of the fast recipe sees: pictures in order, augmented, and what the losses want.

Photos are brightened, lit from one side and given mattes that err; what the content term wants is
the same photo in plain light with its own matte. Where a drawing's colours are the photo's, the
generator still sees colours; all that its drawing is compared with is gray.
"""

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from photo2cartoon_models.training import augment, losses
from photo2cartoon_models.training.config import FastConfig, Stage
from photo2cartoon_models.training.data import Folder, drawing, order, pair, portrait, to_unit
from photo2cartoon_models.training.recipe import memory_format

SALTS = ("unpaired", "drawings", "pairs")


@dataclass(slots=True)
class Batch:
    """What one step sees; B pictures of each kind, (B, 3, S, S), -1..1.

    Attributes:
        inputs: what the generator draws: photos, then pairs' photos, then drawings, where present.
        plain: the photos in their own light with their own matte: what the content term wants.
        regions: (B, 4, 4) eyes, mouth and face of the photos.
        target: the pairs' cartoons.
        pair_plain: as `plain`, the pairs' photos.
        pair_regions: as `regions`, of the pairs.
        same: drawings that have to stay as they are.
        real: what the discriminators are shown as real.
        discriminate_pairs: whether they see what was drawn of the pairs, or of the photos.
        adversarial_share: share of the adversarial weight, 0..1; at 0 they do not learn either.
        rng: of the step.
    """

    inputs: Tensor
    plain: Tensor
    regions: Tensor
    target: Tensor | None
    pair_plain: Tensor | None
    pair_regions: Tensor | None
    same: Tensor | None
    real: Tensor
    discriminate_pairs: bool
    adversarial_share: float
    rng: augment.StepRandom


class Batches:
    """Makes the batch of every step.

    Attributes:
        stage: the stage whose pictures are packed; None before the first step.
    """

    def __init__(self, config: FastConfig, fabric: Fabric) -> None:
        self.config, self.fabric = config, fabric
        self.stage: Stage | None = None

    def _adversarial_share(self, number: int) -> float:
        """0 while the photo is learnt first, then rising to 1."""
        weights = self.config.weights
        begun = number - weights.adversarial_from
        return min(1.0, max(0.0, begun / weights.adversarial_ramp))

    def enter_stage(self, number: int) -> Stage:
        """Return the stage of this step; its pictures are packed when it begins."""
        last = 0
        for stage in self.config.stages:
            last += stage.iterations
            if number <= last:
                break
        if stage is not self.stage:
            self.stage = stage
            self.photos, self.drawings, self.pairs = self._folders(stage.img_size)
        return stage

    def _folders(self, size: int) -> tuple[Folder, Folder, Folder | None]:
        data, device = self.config.dataset.train, self.fabric.device
        root_a, root_b, root_p = data.dataroot_a, data.dataroot_b, data.dataroot_p
        photos = Folder(
            root_a, portrait(size, root_a.parent), f"rgba{size}", device, cache=data.cache
        )
        drawings = Folder(root_b, drawing(size), f"rgb{size}", device, cache=data.cache)
        if root_p is None:
            return photos, drawings, None
        return photos, drawings, Folder(root_p, pair(size), f"pair{size}", device, cache=data.cache)

    def _take_from(
        self, folder: Folder, salt: str, number: int, count: int
    ) -> tuple[Tensor, list[int]]:
        rank, world, seed = self.fabric.global_rank, self.fabric.world_size, self.config.seed
        here, ahead = (
            order(len(folder), seed, f"{salt}", (n * world + rank) * count, count)
            for n in (number - 1, number)
        )
        return folder.take(here, ahead), here

    def take(self, stage: Stage, number: int) -> Batch:
        """Return the pictures of one step, augmented; its number decides all that is random."""
        how, count = self.config.augment, stage.batch_size
        rng = augment.StepRandom(
            self.config.seed, number, self.fabric.global_rank, self.fabric.world_size
        )
        device, layout = self.fabric.device, memory_format(self.config.channels_last)

        raw, places = self._take_from(self.photos, SALTS[0], number, count)
        theta = augment.random_affine(count, how, rng)
        photo = augment.warp(_with_matte(raw), theta)
        regions = augment.move_regions(self.photos.regions[places], theta).to(device)
        colours = augment.brighten(photo[:, :3], how, rng)
        plain = augment.on_white(colours, photo[:, 3:])
        lit = augment.relight(colours, regions[:, losses.FACE], how, rng)
        inputs = [augment.on_white(lit, augment.disturb_matte(photo[:, 3:], how, rng))]

        raw, _ = self._take_from(self.drawings, SALTS[1], number, count)
        real = augment.warp(to_unit(raw), augment.random_affine(count, how, rng))
        target, pair_plain, pair_regions = None, None, None
        if self.pairs is not None:
            raw, places = self._take_from(self.pairs, SALTS[2], number, count)
            theta = augment.random_affine(count, how, rng)
            both = augment.warp(torch.cat((_with_matte(raw[:, :4]), to_unit(raw[:, 4:])), 1), theta)
            target = both[:, 4:]
            pair_regions = augment.move_regions(self.pairs.regions[places], theta).to(device)
            colours = augment.brighten(both[:, :3], how, rng)
            pair_plain = augment.on_white(colours, both[:, 3:4])
            colours = augment.relight(colours, pair_regions[:, losses.FACE], how, rng)
            inputs.append(augment.on_white(colours, both[:, 3:4]))
        same = None
        weights = self.config.weights
        if weights.identity and number % weights.identity_every == 0:
            same = real
            inputs.append(real)
        if target is not None and rng.common() >= self.config.drawings_share:
            real = target
        if self.config.colours == "photo":
            plain, real = augment.lightness(plain), augment.lightness(real)
            target, pair_plain, same = (
                picture if picture is None else augment.lightness(picture)
                for picture in (target, pair_plain, same)
            )
            real = augment.darken(real, how, rng)
        return Batch(
            torch.cat(inputs).contiguous(memory_format=layout),
            plain, regions, target, pair_plain, pair_regions, same,
            real=augment.diff_augment(real, how, rng),
            discriminate_pairs=target is not None and number % 2 == 0,
            adversarial_share=self._adversarial_share(number),
            rng=rng,
        )  # fmt: skip


def _with_matte(raw: Tensor) -> Tensor:
    """Bytes (B, 4, S, S) to colours -1..1 and matte 0..1."""
    return torch.cat((to_unit(raw[:, :3]), raw[:, 3:].float() / 255), 1)
