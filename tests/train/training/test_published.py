"""The published recipe: its step, its schedule, its clipping, its sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lightning_fabric import Fabric

from photo2cartoon_models.training.config import ConfigError, PublishedConfig
from photo2cartoon_models.training.loop import create_recipe
from photo2cartoon_models.training.published import Published, clip
from photo2cartoon_models.training.recipe import linear_decay
from tests.train import toy

SIZE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy"))


def config(data: Path, **changes: Any) -> PublishedConfig:
    model = {
        "generator": {"ngf": 4, "img_size": SIZE},
        "discriminator_g": {"ndf": 4, "n_layers": 5},
        "discriminator_l": {"ndf": 4, "n_layers": 4},
        "faceid_weight": 0,
        **changes.pop("model", {}),
    }
    train = {"dataroot_a": data / "trainA", "dataroot_b": data / "trainB", "load_size": 36}
    test = {"dataroot_a": data / "testA", "dataroot_b": data / "testB"}
    values = {"dataset": {"train": train | changes.pop("train", {}), "test": test}, "model": model}
    return PublishedConfig.model_validate({"recipe": "published", **values, **changes})


def recipe(settings: PublishedConfig) -> Published:
    made = create_recipe(settings, Fabric(accelerator="cpu", devices=1))
    assert isinstance(made, Published)
    return made


@pytest.mark.parametrize(
    ("step", "rate"),
    [(1, 1e-4), (50, 1e-4), (51, 1e-4 * (1 - 1 / 50)), (75, 0.5e-4), (100, 0.0)],
)
def test_learning_rate(step: int, rate: float) -> None:
    """N = 100: at N/2 still whole, at N/2 + 1 one part of N/2 less, at N nothing."""
    assert linear_decay(1e-4, step, 100, 50) == pytest.approx(rate)


def test_the_step_sets_the_learning_rate_of_both(data: Path) -> None:
    run = recipe(config(data, iterations=4))
    rates = []
    for step in (1, 2, 3, 4):
        run.step(step)
        rates.append([o.param_groups[0]["lr"] for o in run.optimisers.values()])
    assert rates == [[1e-4] * 2, [1e-4] * 2, [pytest.approx(0.5e-4)] * 2, [0.0] * 2]


def test_epochs_count_the_larger_folder(data: Path) -> None:
    assert recipe(config(data, epochs=3)).total_steps == 3 * toy.COUNT
    assert recipe(config(data, epochs=3, train={"batch_size": 2})).total_steps == 30


def test_clipping() -> None:
    net = torch.nn.Module()
    for name, value in (("rho", 3.0), ("w_gamma", -1.0), ("w_beta", 0.4), ("gamma", 7.0)):
        net.register_parameter(name, torch.nn.Parameter(torch.tensor([value, -value])))
    clip(net, 1.0, 0.3)
    found = {name: parameter.tolist() for name, parameter in net.named_parameters()}
    expected = {"rho": [1, 0], "w_gamma": [0, 0.3], "w_beta": [0.3, 0], "gamma": [7, -7]}
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


def test_a_step_clips_what_it_changed(data: Path) -> None:
    run = recipe(config(data, iterations=2, model={"rho_clipper": 0.5, "w_clipper": 0.5}))
    run.step(1)
    named = [(n, p.detach()) for g in (run.a2b, run.b2a) for n, p in g.named_parameters()]
    rho = torch.cat([p.flatten() for name, p in named if name.endswith("rho")])
    mixing = torch.cat([p.flatten() for name, p in named if name.endswith(("w_gamma", "w_beta"))])
    assert float(rho.min()) >= 0
    assert float(rho.max()) == 0.5  # AdaLIN's begin at .9
    assert float(mixing.min()) >= 0
    assert 0 < float(mixing.max()) <= 0.5


def test_terms_are_the_published_sums(data: Path) -> None:
    """Both directions written out with plain torch, Face ID included."""
    run = recipe(config(data, iterations=2))
    run.face_id = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten()).eval()
    run.weights = run.weights.model_copy(update={"faceid_weight": 1.0})
    a, b = run._batch(1)
    for discriminator in run.discriminators:
        discriminator(a)  # the spectral norm of a new one is not settled
        discriminator.eval()
    with torch.no_grad():
        terms = run.generator_terms(a, b)
        fake_b, fake_a = run.a2b(a), run.b2a(b)
        cycle_a, cycle_b = run.b2a(fake_b.image).image, run.a2b(fake_a.image).image
        same_a, same_b = run.b2a(a), run.a2b(b)

        def mse(x: torch.Tensor, target: float) -> torch.Tensor:
            return F.mse_loss(x, torch.full_like(x, target))

        def bce(x: torch.Tensor, target: float) -> torch.Tensor:
            return F.binary_cross_entropy_with_logits(x, torch.full_like(x, target))

        adversarial = torch.tensor(0.0)
        told_apart = torch.tensor(0.0)
        cases = zip(run.discriminators, (a, a, b, b), (fake_a, fake_a, fake_b, fake_b), strict=True)
        for discriminator, real, fake in cases:
            output, truth = discriminator(fake.image), discriminator(real)
            adversarial += mse(output.logit, 1) + mse(output.cam_logit, 1)
            told_apart += mse(truth.logit, 1) + mse(truth.cam_logit, 1)
            told_apart += mse(output.logit, 0) + mse(output.cam_logit, 0)
        cam = bce(fake_a.cam_logit, 1) + bce(same_a.cam_logit, 0)
        cam += bce(fake_b.cam_logit, 1) + bce(same_b.cam_logit, 0)
        face = 2 - sum(
            F.cosine_similarity(run.face_id(x), run.face_id(y)).mean()
            for x, y in ((a, fake_b.image), (b, fake_a.image))
        )
        expected = {
            "adversarial": adversarial,
            "cycle": F.l1_loss(cycle_a, a) + F.l1_loss(cycle_b, b),
            "identity": F.l1_loss(same_a.image, a) + F.l1_loss(same_b.image, b),
            "cam": cam,
            "face_id": face,
        }
        total = expected["adversarial"] + 50 * expected["cycle"] + 10 * expected["identity"]
        total += 1000 * expected["cam"] + expected["face_id"]
        for name, value in (expected | {"total": total}).items():
            torch.testing.assert_close(terms[name], value)
        torch.testing.assert_close(run.discriminator_terms(a, b)["total"], told_apart)


def test_only_their_own_optimiser_changes_networks(data: Path) -> None:
    run = recipe(config(data, iterations=2, lr_scheduler={"learning_rate": 1e-2}))
    before = {n: [p.clone() for p in net.parameters()] for n, net in run.networks.items()}
    run._optim_g.step = lambda: None  # type: ignore[method-assign]
    run.step(1)
    for name, net in run.networks.items():
        same = all(torch.equal(p, q) for p, q in zip(before[name], net.parameters(), strict=True))
        assert same == name.startswith("gen"), name


def test_identity_and_cycle_fall(data: Path) -> None:
    settings = config(
        data,
        iterations=60,
        lr_scheduler={"learning_rate": 3e-3, "start_epoch": 300},
        model={"cam_weight": 1.0},
    )
    run = recipe(settings)
    found = [run.step(step) for step in range(1, 61)]
    for name in ("identity", "cycle"):
        values = [float(terms[name]) for terms in found]
        assert np.mean(values[-10:]) < 0.93 * np.mean(values[:10]), name


def test_batches_work(data: Path) -> None:
    run = recipe(config(data, iterations=2, train={"batch_size": 2}))
    a, b = run._batch(1)
    assert a.shape == b.shape == (2, 3, SIZE, SIZE)
    assert all(torch.isfinite(value) for value in run.step(1).values())


def test_sheets_are_upstreams(data: Path) -> None:
    run = recipe(config(data, iterations=2))
    sheets = run.grids()
    assert set(sheets) == {"A2B", "B2A"}
    assert sheets["A2B"].shape == (7 * SIZE, 8 * SIZE, 3)  # five of training, three tests
    strips = dict(run.strips())
    assert set(strips) == {f"{way}_{k}" for way in ("A2B", "B2A") for k in range(3)}
    assert strips["A2B_0"].shape == (7 * SIZE, SIZE, 3)
    np.testing.assert_array_equal(strips["A2B_0"], sheets["A2B"][:, 5 * SIZE : 6 * SIZE])


def test_what_cannot_be_trained_is_said(data: Path) -> None:
    with pytest.raises(ConfigError, match="attention"):
        recipe(config(data, model={"generator": {"name": "LiteGenerator"}}))
    with pytest.raises(ConfigError, match="load_size"):
        recipe(config(data, train={"load_size": 16}))
    with pytest.raises(ConfigError, match="faceid_weight=0"):
        recipe(config(data, model={"faceid_weight": 1}))
