"""The published recipe: U-GAT-IT both ways, with photo2cartoon's weights and Face ID term.

Two generators (A photo, B cartoon), a global and a local discriminator for each kind. What comes
from where: minivision-ai/photo2cartoon @ 6204e27 `models/UGATIT_sender.py` for losses, order and
schedule, PaddlePaddle/PaddleGAN for the keys of the configuration. Upstream lets the gradient of
the discriminators' loss run into the generators and throws it away; here their pictures are made
without gradients, which gives the same numbers for less work.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from photo2cartoon_models.networks.discriminator import Discriminator
from photo2cartoon_models.networks.generator import Generator, Translation
from photo2cartoon_models.readers.apart import read_networks, read_weights
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training import losses
from photo2cartoon_models.training.augment import StepRandom, upstream_crop
from photo2cartoon_models.training.config import AdamSection, ConfigError, PublishedConfig
from photo2cartoon_models.training.data import Folder, drawing, order, to_unit
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
    to_heatmaps,
    to_pictures,
)

GENERATORS = ("genA2B", "genB2A")
DISCRIMINATORS = ("disGA", "disLA", "disGB", "disLB")  # global and local, of photos and of cartoons
CLIPPED_RHO, CLIPPED_W = ("rho",), ("w_gamma", "w_beta")


class Published:
    """One run of the recipe; see `training.recipe.Recipe`."""

    def __init__(self, config: PublishedConfig, fabric: Fabric) -> None:
        if config.model.generator.name != "ResnetUGATITP2CGenerator":
            raise ConfigError(
                "model.generator.name: this recipe trains an attention, which only "
                "ResnetUGATITP2CGenerator has; recipe: fast trains LiteGenerator"
            )
        self.config, self.fabric, self.weights = config, fabric, config.model
        self.size, self.batch = config.model.generator.img_size, config.dataset.train.batch_size
        if config.dataset.train.load_size < self.size:
            raise ConfigError("dataset.train.load_size: smaller than model.generator.img_size")
        self.a, self.b = self._folders(config)
        largest = max(len(self.a), len(self.b))
        self.total_steps = config.iterations or max(
            1, config.epochs * largest // (self.batch * fabric.world_size)
        )
        schedule = config.lr_scheduler
        parts = schedule.start_epoch + schedule.decay_epochs
        self.decay_start = self.total_steps * schedule.start_epoch // parts
        self.face_id = self._face_id()
        self._make_networks()

    def _folders(self, config: PublishedConfig) -> tuple[Folder, Folder]:
        train = config.dataset.train
        size, how = train.load_size, train.interpolation
        return tuple(  # type: ignore[return-value]
            Folder(
                root,
                drawing(size, how),
                f"rgb{size}{how}",
                self.fabric.device,
                cache=train.cache,
            )
            for root in (train.dataroot_a, train.dataroot_b)
        )

    def _face_id(self) -> nn.Module | None:
        if not self.weights.faceid_weight:
            return None
        if self.config.face_id is None:
            raise ConfigError(
                "face_id: name a face recognition network (docs/training.md), or leave the term "
                "out with model.faceid_weight=0"
            )
        return load_face_id_network(self.config.face_id, self.fabric.device)

    def _make_networks(self) -> None:
        model = self.weights
        section = model.generator
        self.a2b, self.b2a = (
            Generator(section.ngf, section.img_size, section.light) for _ in GENERATORS
        )
        sections = (model.discriminator_g, model.discriminator_l) * 2
        self.discriminators = [Discriminator(s.n_layers, s.ndf) for s in sections]
        named = zip(
            (*GENERATORS, *DISCRIMINATORS), (self.a2b, self.b2a, *self.discriminators), strict=True
        )
        self.networks: dict[str, nn.Module] = dict(named)
        for network in self.networks.values():
            lay_out(network, self.config.channels_last)
        generators = Trained(**{name: self.networks[name] for name in GENERATORS})
        discriminators = Trained(**{name: self.networks[name] for name in DISCRIMINATORS})
        rate = self.config.lr_scheduler.learning_rate
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "G": _adam(generators, self.config.optimizer.optimG, rate),
            "D": _adam(discriminators, self.config.optimizer.optimD, rate),
        }
        self._draw, self._optim_g = self.fabric.setup(generators, self.optimisers["G"])
        self._discriminate, self._optim_d = self.fabric.setup(discriminators, self.optimisers["D"])

    def step(self, number: int) -> Terms:
        """Decay, discriminators, generators, clipping: upstream's order."""
        rate = linear_decay(
            self.config.lr_scheduler.learning_rate, number, self.total_steps, self.decay_start
        )
        for optimiser in self.optimisers.values():
            set_rate(optimiser, rate)
        a, b = self._batch(number)

        answer = self._discriminate(lambda: self.discriminator_terms(a, b))
        self._optim_d.zero_grad(set_to_none=True)
        self.fabric.backward(answer[TOTAL])
        self._optim_d.step()

        for discriminator in self.discriminators:  # their gradients would be thrown away
            discriminator.requires_grad_(False)
        drawn = self._draw(lambda: self.generator_terms(a, b))
        self._optim_g.zero_grad(set_to_none=True)
        self.fabric.backward(drawn[TOTAL])
        self._optim_g.step()
        for discriminator in self.discriminators:
            discriminator.requires_grad_(True)
        clip(self.a2b, self.weights.rho_clipper, self.weights.w_clipper)
        clip(self.b2a, self.weights.rho_clipper, self.weights.w_clipper)

        terms = {name: value.detach() for name, value in drawn.items() if name != TOTAL}
        return terms | {"d": answer[TOTAL].detach(), "g": drawn[TOTAL].detach()}

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        rank, world, seed = self.fabric.global_rank, self.fabric.world_size, self.config.seed
        rng = StepRandom(seed, number, rank, world)
        pictures = []
        for folder in (self.a, self.b):
            here, ahead = (
                order(len(folder), seed, folder.salt, (n * world + rank) * self.batch, self.batch)
                for n in (number - 1, number)
            )
            crop = upstream_crop(to_unit(folder.take(here, ahead)), self.size, rng)
            pictures.append(crop.contiguous(memory_format=memory_format(self.config.channels_last)))
        return pictures[0], pictures[1]

    def discriminator_terms(self, a: Tensor, b: Tensor) -> Terms:
        """The four discriminators' loss on photos `a` and cartoons `b`, (B, 3, S, S), -1..1."""
        with torch.no_grad():
            made_a, made_b = self.b2a(b).image, self.a2b(a).image
        pairs = zip(
            self.discriminators, (a, a, b, b), (made_a, made_a, made_b, made_b), strict=True
        )
        each = [
            losses.lsgan_discriminator(discriminator(real), discriminator(made))
            for discriminator, real, made in pairs
        ]
        return {TOTAL: self.weights.adv_weight * losses.sum_of(*each)}

    def generator_terms(self, a: Tensor, b: Tensor) -> Terms:
        """The generators' loss: each term summed over both directions, not weighted yet."""
        made_b, made_a = self.a2b(a), self.b2a(b)
        again_a, again_b = self.b2a(made_b.image), self.a2b(made_a.image)
        same_a, same_b = self.b2a(a), self.a2b(b)
        pictures = (made_a.image, made_a.image, made_b.image, made_b.image)
        outputs = [
            discriminator(made)
            for discriminator, made in zip(self.discriminators, pictures, strict=True)
        ]
        terms = {
            "adversarial": losses.sum_of(*map(losses.lsgan_generator, outputs)),
            "cycle": losses.pixels_apart(again_a.image, a) + losses.pixels_apart(again_b.image, b),
            "identity": losses.pixels_apart(same_a.image, a) + losses.pixels_apart(same_b.image, b),
            "cam": losses.told_apart(made_a.cam_logit, same_a.cam_logit)
            + losses.told_apart(made_b.cam_logit, same_b.cam_logit),
        }
        w = self.weights
        weights = [w.adv_weight, w.cycle_weight, w.identity_weight, w.cam_weight]
        if self.face_id is not None:
            vectors = [self.face_id(x).float() for x in (a, made_b.image, b, made_a.image)]
            terms["face_id"] = losses.faces_apart(*vectors[:2]) + losses.faces_apart(*vectors[2:])
            weights.append(w.faceid_weight)
        weighted = [weight * t for weight, t in zip(weights, terms.values(), strict=True)]
        return {TOTAL: losses.sum_of(*weighted), **terms}

    @torch.no_grad()
    def grids(self) -> dict[str, Image]:
        """Upstream's two sheets: 7 rows, five training pictures and five test pictures."""
        test = self.config.dataset.test
        photos = torch.cat((self._first(self.a), self._tests(test.dataroot_a)))
        cartoons = torch.cat((self._first(self.b), self._tests(test.dataroot_b)))
        return {
            "A2B": stack(self._rows(photos, self.b2a, self.a2b)),
            "B2A": stack(self._rows(cartoons, self.a2b, self.b2a)),
        }

    @torch.no_grad()
    def strips(self) -> Iterator[tuple[str, Image]]:
        """For each test picture upstream's seven tiles, one above the other."""
        test = self.config.dataset.test
        ways = (("A2B", test.dataroot_a, self.b2a, self.a2b),
                ("B2A", test.dataroot_b, self.a2b, self.b2a))  # fmt: skip
        for name, root, keep, make in ways:
            pictures = self._tests(root, every=True)
            for k, picture in enumerate(pictures):
                yield f"{name}_{k}", stack(self._rows(picture[None], keep, make))

    def _first(self, folder: Folder) -> Tensor:
        return self._at_size(to_unit(folder.take(spread(len(folder)))))

    def _tests(self, root: Path, *, every: bool = False) -> Tensor:
        if not root.is_dir():
            return torch.empty(0, 3, self.size, self.size, device=self.fabric.device)
        folder = Folder(root, drawing(self.size), "", self.fabric.device, cache=False)
        return to_unit(folder.take(list(range(len(folder))) if every else spread(len(folder))))

    def _at_size(self, batch: Tensor) -> Tensor:
        return nn.functional.interpolate(
            batch.contiguous(), size=(self.size, self.size), mode="bilinear", antialias=True
        )

    def _rows(self, pictures: Tensor, keep: nn.Module, make: nn.Module) -> list[list[Image]]:
        """Input; heatmap and picture of `keep` on it, of `make` on it, of `keep` on that."""
        same = _one_by_one(keep, pictures)
        made = _one_by_one(make, pictures)
        again = _one_by_one(keep, made.image)
        rows = [to_pictures(pictures)]
        for answer in (same, made, again):
            rows += [to_heatmaps(answer.heatmap, self.size), to_pictures(answer.image)]
        return rows

    def load(self, path: Path) -> list[str]:
        """Take generators, and discriminators where the file has them."""
        found = []
        holds = read_networks(path)
        for name in GENERATORS:
            if name in holds or (name == GENERATORS[0] and not holds):
                weights = read_weights(path, name)
                self.networks[name].load_state_dict(_fitting(weights.generator(), self, name))
                found.append(name)
        for name in DISCRIMINATORS:
            if name in holds:
                try:
                    self.networks[name].load_state_dict(holds[name])
                except (RuntimeError, TypeError) as error:
                    raise WeightsError(f"{name}: {error}") from error
                found.append(name)
        return found


def _fitting(net: nn.Module, recipe: Published, name: str) -> dict[str, Tensor]:
    state = net.state_dict()
    mine = recipe.networks[name].state_dict()
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in mine.items()}:
        raise WeightsError(f"{name}: another size of network than model.generator says")
    return state


def _one_by_one(net: nn.Module, pictures: Tensor) -> Translation:
    """A batch without the memory of a batch."""
    answers = [net(picture[None]) for picture in pictures]
    return Translation(*(torch.cat(parts) for parts in zip(*answers, strict=True)))


def _adam(net: nn.Module, how: AdamSection, rate: float) -> torch.optim.Optimizer:
    """Adam with L2 in the gradient, on every parameter, as upstream (rho and w too)."""
    return torch.optim.Adam(
        net.parameters(), rate, (how.beta1, how.beta2), weight_decay=how.weight_decay
    )


@torch.no_grad()
def clip(net: nn.Module, rho: float, w: float) -> None:
    """Keep every rho within 0..`rho` and every w_gamma, w_beta within 0..`w`."""
    for name, parameter in net.named_parameters():
        if name.endswith(CLIPPED_RHO):
            parameter.clamp_(0, rho)
        elif name.endswith(CLIPPED_W):
            parameter.clamp_(0, w)
