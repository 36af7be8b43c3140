"""The fast recipe: one direction, and discriminators on features of a network that knows pictures.

Without cycle and second generator nothing ties the cartoon to the photo but the content term: what
is where in the photo, by features of a network that was trained on photographs. Eyes and mouth
count more in it; photos lit from one side, and mattes that err, are drawn towards what the same
photo gives in plain light. Pairs, where there are any, are distilled from.

`docs/training.md` explains each weight, `models/LOG.md` says what each of them did.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from photo2cartoon_models.networks.features import LiteFeatures
from photo2cartoon_models.networks.generator import Generator
from photo2cartoon_models.networks.lite import LiteGenerator
from photo2cartoon_models.networks.picture import Picture
from photo2cartoon_models.readers.weights import read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training import augment, losses
from photo2cartoon_models.training.config import ConfigError, FastConfig, GeneratorSection, Stage
from photo2cartoon_models.training.data import Folder, drawing, order, pair, portrait, to_unit
from photo2cartoon_models.training.discriminators import PatchDiscriminator, ProjectedDiscriminator
from photo2cartoon_models.training.recipe import (
    TOTAL,
    Image,
    Terms,
    Trained,
    lay_out,
    linear_decay,
    load_face_id_network,
    memory_format,
    set_rate,
    spread,
    stack,
    to_pictures,
)

Features = list[dict[int, Tensor]]  # of each feature network: stride -> map
CONTENT_STRIDES = (4, 8, 16)
PAIR_STRIDES = (2, 4, 8, 16)
UNUSED = ("gap_fc.bias", "gmp_fc.bias")  # the attention's logits are no term here
WARM_EMA = 10  # the mean follows closely at first: share of the new is 9 / (10 + step)
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
    rng: torch.Generator


@dataclass(slots=True)
class Seen:
    """Features of one step: of all networks for the discriminators, of the first for content.

    Attributes:
        shown: what was drawn, as the discriminators see it, (B, 3, S, S).
        real: features of real pictures.
        made: features of `shown`.
        wanted: features of plain photos, then of the pairs' cartoons.
        drawn: features of what was drawn of them.
    """

    shown: Tensor
    real: Features
    made: Features
    wanted: dict[int, Tensor]
    drawn: dict[int, Tensor]


class Fast:
    """One run of the recipe; see `training.recipe.Recipe`."""

    def __init__(self, config: FastConfig, fabric: Fabric) -> None:
        self.config, self.fabric, self.w = config, fabric, config.weights
        self.total_steps = sum(stage.iterations for stage in config.stages)
        generator = config.model.generator
        for stage in config.stages:
            if not generator.light and stage.img_size != generator.img_size:
                raise ConfigError("stages: the full variant (light: false) has one size only")
        self.features = [LiteFeatures(v).to(fabric.device) for v in config.model.features]
        self.face_id = self._face_id()
        self._make_networks()
        self._stage: Stage | None = None

    def _face_id(self) -> nn.Module | None:
        if not self.w.face_id:
            return None
        if self.config.face_id is None:
            raise ConfigError("face_id: weights.face_id is above 0, so a network must be named")
        return load_face_id_network(self.config.face_id, self.fabric.device)

    def _make_networks(self) -> None:
        model = self.config.model
        self.generator = create_generator(model.generator)
        lay_out(self.generator, self.config.channels_last)
        for name, parameter in self.generator.named_parameters():
            if name in UNUSED:
                parameter.requires_grad_(False)
        self.mean = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.mean.to(self.fabric.device)
        self.projected = [
            ProjectedDiscriminator(f.channels, model.projected_channels) for f in self.features
        ]
        self.pixel = PatchDiscriminator(model.pixel_ndf)
        lay_out(self.pixel, self.config.channels_last)
        discriminators: dict[str, nn.Module] = {
            f"projected{f.variant}": heads
            for f, heads in zip(self.features, self.projected, strict=True)
        }
        discriminators["pixel"] = self.pixel
        self.networks: dict[str, nn.Module] = {
            "genA2B": self.mean,  # what is shown, exported and served
            "live": self.generator,
            **discriminators,
        }
        self._discriminators = Trained(**discriminators)
        how = self.config.optimizer
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam(
                [p for p in net.parameters() if p.requires_grad],
                how.learning_rate,
                (how.beta1, how.beta2),
            )
            for name, net in (("G", self.generator), ("D", self._discriminators))
        }
        self._learns = [p for p in self._discriminators.parameters() if p.requires_grad]
        trained = Trained(generator=self.generator)
        self._draw, self._optim_g = self.fabric.setup(trained, self.optimisers["G"])
        self._discriminate, self._optim_d = self.fabric.setup(
            self._discriminators, self.optimisers["D"]
        )

    def step(self, number: int) -> Terms:
        """One batch: the generator draws, the discriminators learn, the generator learns."""
        stage = self._enter_stage(number)
        how = self.config.optimizer
        start = round(self.total_steps * (1 - how.decay_share))
        rate = linear_decay(how.learning_rate, number - 1, self.total_steps, start)
        for optimiser in self.optimisers.values():
            set_rate(optimiser, rate)
        batch = self._batch(stage, number)
        made = self._draw(lambda: {"made": self.picture(batch.inputs)})["made"]
        with self.fabric.autocast():
            seen = self._see(batch, made)

        learnt = self._train_discriminators(batch, seen) if batch.adversarial_share else {}
        for parameter in self._learns:  # their gradients would be thrown away
            parameter.requires_grad_(False)
        with self.fabric.autocast():
            drawn = self.generator_terms(batch, made, seen)
        self._optim_g.zero_grad(set_to_none=True)
        self.fabric.backward(drawn[TOTAL])
        self._optim_g.step()
        for parameter in self._learns:
            parameter.requires_grad_(True)
        self._follow(number)
        terms = {name: value.detach() for name, value in drawn.items() if name != TOTAL}
        return terms | learnt | {"g": drawn[TOTAL].detach()}

    def _train_discriminators(self, batch: Batch, seen: Seen) -> Terms:
        terms = self._discriminate(lambda: self.discriminator_terms(batch, seen))
        self._optim_d.zero_grad(set_to_none=True)
        self.fabric.backward(terms[TOTAL])
        self._optim_d.step()
        return {"d": terms[TOTAL].detach()}

    def _adversarial_share(self, number: int) -> float:
        """0 while the photo is learnt first, then up to 1."""
        begun = number - self.w.adversarial_from
        return min(1.0, max(0.0, begun / self.w.adversarial_ramp))

    def _enter_stage(self, number: int) -> Stage:
        """The stage of this step; its pictures are packed when it begins."""
        last = 0
        for stage in self.config.stages:
            last += stage.iterations
            if number <= last:
                break
        if stage is not self._stage:
            self._stage = stage
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

    def _take(self, folder: Folder, salt: str, number: int, count: int) -> tuple[Tensor, list[int]]:
        rank, world, seed = self.fabric.global_rank, self.fabric.world_size, self.config.seed
        here, ahead = (
            order(len(folder), seed, f"{salt}", (n * world + rank) * count, count)
            for n in (number - 1, number)
        )
        return folder.take(here, ahead), here

    def _batch(self, stage: Stage, number: int) -> Batch:
        """Pictures of one step, augmented; everything random follows from its number."""
        how, count = self.config.augment, stage.batch_size
        rng = augment.step_rng(self.config.seed, number, self.fabric.global_rank)
        device, layout = self.fabric.device, memory_format(self.config.channels_last)

        raw, places = self._take(self.photos, SALTS[0], number, count)
        theta = augment.random_affine(count, how, rng)
        photo = augment.warp(_with_matte(raw), theta)
        regions = augment.move_regions(self.photos.regions[places], theta).to(device)
        colours = augment.brighten(photo[:, :3], how, rng)
        plain = augment.on_white(colours, photo[:, 3:])
        lit = augment.relight(colours, regions[:, losses.FACE], how, rng)
        inputs = [augment.on_white(lit, augment.disturb_matte(photo[:, 3:], how, rng))]

        raw, _ = self._take(self.drawings, SALTS[1], number, count)
        real = augment.warp(to_unit(raw), augment.random_affine(count, how, rng))
        target, pair_plain, pair_regions = None, None, None
        if self.pairs is not None:
            raw, places = self._take(self.pairs, SALTS[2], number, count)
            theta = augment.random_affine(count, how, rng)
            both = augment.warp(torch.cat((_with_matte(raw[:, :4]), to_unit(raw[:, 4:])), 1), theta)
            target = both[:, 4:]
            pair_regions = augment.move_regions(self.pairs.regions[places], theta).to(device)
            colours = augment.brighten(both[:, :3], how, rng)
            pair_plain = augment.on_white(colours, both[:, 3:4])
            colours = augment.relight(colours, pair_regions[:, losses.FACE], how, rng)
            inputs.append(augment.on_white(colours, both[:, 3:4]))
        same = None
        if self.w.identity and number % self.w.identity_every == 0:
            same = real
            inputs.append(real)
        if target is not None and float(torch.rand(1, generator=rng)) >= self.config.drawings_share:
            real = target
        return Batch(
            torch.cat(inputs).contiguous(memory_format=layout),
            plain, regions, target, pair_plain, pair_regions, same,
            real=augment.diff_augment(real, how, rng),
            discriminate_pairs=target is not None and number % 2 == 0,
            adversarial_share=self._adversarial_share(number),
            rng=rng,
        )  # fmt: skip

    def picture(self, photo: Tensor) -> Tensor:
        """What the generator draws, (B, 3, S, S), -1..1, float32."""
        answer: Tensor = Picture(self.generator)(photo)
        return answer.float()

    def _see(self, batch: Batch, made: Tensor) -> Seen:
        """Look at everything with the feature networks, once."""
        count = len(batch.plain)
        first = count if batch.discriminate_pairs else 0
        shown = augment.diff_augment(made[first : first + count], self.config.augment, batch.rng)
        drawn = made[: count if batch.target is None else 2 * count]
        wanted = batch.plain if batch.target is None else torch.cat((batch.plain, batch.target))
        with torch.no_grad():
            real = [net(torch.cat((batch.real, wanted))) for net in self.features]
        mine = [net(torch.cat((shown, drawn))) for net in self.features]
        return Seen(
            shown,
            real=[{s: f[:count] for s, f in maps.items()} for maps in real],
            wanted={s: f[count:].float() for s, f in real[0].items()},
            made=[{s: f[:count] for s, f in maps.items()} for maps in mine],
            drawn={s: f[count:].float() for s, f in mine[0].items()},
        )

    def discriminator_terms(self, batch: Batch, seen: Seen) -> Terms:
        """The discriminators' loss: hinge, summed over all of them."""
        total = losses.hinge_discriminator(
            self._heads(seen.real),
            self._heads([{s: f.detach() for s, f in maps.items()} for maps in seen.made]),
        )
        pixels = self.pixel(torch.cat((batch.real, seen.shown.detach())))
        real, made = pixels.chunk(2)
        return {TOTAL: total + losses.hinge_discriminator([real], [made])}

    def _heads(self, features: Features) -> list[Tensor]:
        pairs = zip(self.projected, features, strict=True)
        return [logit for heads, maps in pairs for logit in heads(maps)]

    def generator_terms(self, batch: Batch, made: Tensor, seen: Seen) -> Terms:
        """Every term of the generator's loss, not weighted yet; and their weighted sum."""
        w, count = self.w, len(batch.plain)
        weigh = losses.landmark_weights
        free = made[:count]
        terms = {
            "content": losses.sum_of(
                *(
                    losses.content_apart(
                        seen.drawn[s][:count],
                        seen.wanted[s][:count],
                        weigh(batch.regions, seen.drawn[s].shape[2], w.landmarks),
                    )
                    for s in CONTENT_STRIDES
                )
            ),
        }
        weights = {"content": w.content}
        if batch.adversarial_share:
            taken = losses.hinge_generator(self._heads(seen.made))
            terms["adversarial"] = taken - w.pixel_judge * self.pixel(seen.shown).mean()
            weights["adversarial"] = w.adversarial * batch.adversarial_share
        if w.colour:
            terms["colour"] = losses.colours_apart(
                free, batch.plain, w.colour_darker, w.colour_lighter, w.colour_hue
            )
            weights["colour"] = w.colour
        if self.face_id is not None:
            people = [batch.plain] if batch.pair_plain is None else [batch.plain, batch.pair_plain]
            photos = torch.cat(people)
            terms["face_id"] = losses.persons_apart(self.face_id, made[: len(photos)], photos)
            weights["face_id"] = w.face_id
        if batch.target is not None and batch.pair_regions is not None:
            apart = (made[count : 2 * count] - batch.target).abs()
            terms["pair_pixels"] = losses.weighted_mean(
                apart, weigh(batch.pair_regions, apart.shape[2], w.landmarks)
            )
            terms["pair_features"] = losses.sum_of(
                *(
                    losses.features_apart(seen.drawn[s][count:], seen.wanted[s][count:])
                    for s in PAIR_STRIDES
                )
            )
            weights |= {"pair_pixels": w.pair_pixels, "pair_features": w.pair_features}
        if batch.same is not None:
            terms["identity"] = losses.pixels_apart(made[-len(batch.same) :], batch.same)
            weights["identity"] = w.identity
        weighted = [weights[name] * value for name, value in terms.items()]
        return {TOTAL: losses.sum_of(*weighted), **terms}

    @torch.no_grad()
    def _follow(self, number: int) -> None:
        """Move the running mean of the weights, which is what is kept, towards the weights."""
        keep = min(self.config.model.ema, (1 + number) / (WARM_EMA + number))
        for mean, live in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(live, 1 - keep)

    @torch.no_grad()
    def grids(self) -> dict[str, Image]:
        """Five training and five test photos above what is drawn of them."""
        size = self.config.stages[-1].img_size if self._stage is None else self._stage.img_size
        data = self.config.dataset
        roots = (data.train.dataroot_a, data.test.dataroot_a)
        photos = [photo for root in roots for photo in self._photos(root, size)]
        drawn = [self._draw_mean(photo) for photo in photos]
        return {"A2B": stack([to_pictures(torch.stack(photos)), to_pictures(torch.stack(drawn))])}

    @torch.no_grad()
    def strips(self) -> Iterator[tuple[str, Image]]:
        """Each test photo beside its cartoon."""
        size = self.config.stages[-1].img_size
        for k, photo in enumerate(
            self._photos(self.config.dataset.test.dataroot_a, size, every=True)
        ):
            tiles = to_pictures(torch.stack((photo, self._draw_mean(photo))))
            yield f"A2B_{k}", stack([tiles])

    def _photos(self, root: Path, size: int, *, every: bool = False) -> list[Tensor]:
        if not root.is_dir():
            return []
        folder = Folder(root, drawing(size), "", self.fabric.device, cache=False)
        places = list(range(len(folder))) if every else spread(len(folder))
        return list(to_unit(folder.take(places)))

    def _draw_mean(self, photo: Tensor) -> Tensor:
        answer: Tensor = Picture(self.mean)(photo[None])[0]
        return answer

    def load(self, path: Path) -> list[str]:
        """Take the generator."""
        weights = read_weights(path)
        state = weights.generator().state_dict()
        for net in (self.generator, self.mean):
            mine = net.state_dict()
            if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in mine.items()}:
                raise WeightsError("another network, or another size, than model.generator says")
            net.load_state_dict(state)
        return ["genA2B"]


def create_generator(section: GeneratorSection) -> Generator | LiteGenerator:
    """A new network with torch's initial values."""
    if section.name == "LiteGenerator":
        return LiteGenerator(section.ngf, section.n_blocks)
    return Generator(section.ngf, section.img_size, section.light)


def _with_matte(raw: Tensor) -> Tensor:
    """Bytes (B, 4, S, S) to colours -1..1 and matte 0..1."""
    return torch.cat((to_unit(raw[:, :3]), raw[:, 3:].float() / 255), 1)
