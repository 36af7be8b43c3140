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
from photo2cartoon_models.readers.apart import read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training import augment, losses
from photo2cartoon_models.training.config import ConfigError, FastConfig, GeneratorSection
from photo2cartoon_models.training.data import Folder, drawing, to_unit
from photo2cartoon_models.training.discriminators import PatchDiscriminator, ProjectedDiscriminator
from photo2cartoon_models.training.fast_batch import Batch, Batches
from photo2cartoon_models.training.recipe import (
    TOTAL,
    Image,
    Terms,
    Trained,
    lay_out,
    linear_decay,
    load_face_id_network,
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
        self.batches = Batches(config, fabric)

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
        stage = self.batches.enter_stage(number)
        how = self.config.optimizer
        start = round(self.total_steps * (1 - how.decay_share))
        rate = linear_decay(how.learning_rate, number - 1, self.total_steps, start)
        for optimiser in self.optimisers.values():
            set_rate(optimiser, rate)
        batch = self.batches.take(stage, number)
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

    def picture(self, photo: Tensor) -> Tensor:
        """What the generator draws, as the losses see it: (B, 3, S, S), -1..1, float32."""
        return self._shown(Picture(self.generator)(photo).float())

    def _shown(self, drawing: Tensor) -> Tensor:
        """All of a drawing that counts: with the photo's colours, its lightness."""
        return augment.lightness(drawing) if self.config.colours == "photo" else drawing

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
            terms["colour"] = self._colours_apart(free, batch.plain)
            weights["colour"] = w.colour
        if w.flats:
            terms["flats"] = losses.unevenness(free)
            weights["flats"] = w.flats
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

    def _colours_apart(self, drawn: Tensor, photo: Tensor) -> Tensor:
        w = self.w
        if self.config.colours == "photo":
            return losses.tones_apart(drawn, photo, w.colour_darker, w.colour_lighter, w.tone_lift)
        return losses.colours_apart(drawn, photo, w.colour_darker, w.colour_lighter, w.colour_hue)

    @torch.no_grad()
    def _follow(self, number: int) -> None:
        """Move the running mean of the weights, which is what is kept, towards the weights."""
        keep = min(self.config.model.ema, (1 + number) / (WARM_EMA + number))
        for mean, live in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(live, 1 - keep)

    @torch.no_grad()
    def grids(self) -> dict[str, Image]:
        """Five training and five test photos above what is drawn of them."""
        size = (self.batches.stage or self.config.stages[-1]).img_size
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
        return self._shown(Picture(self.mean)(photo[None]))[0]

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
