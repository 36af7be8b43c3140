"""The fast recipe: its step learns, each term has its part, and its light may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from photo2cartoon_models.training import augment
from photo2cartoon_models.training.config import ConfigError, FastConfig
from photo2cartoon_models.training.fast import Fast
from photo2cartoon_models.training.loop import create_recipe
from tests.train import toy

SIZE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make(tmp_path_factory.mktemp("toy"))


def config(data: Path, *, pairs: bool = True, **changes: Any) -> FastConfig:
    train = {
        "dataroot_a": data / "trainA",
        "dataroot_b": data / "trainB",
        "dataroot_p": data / "trainP" if pairs else None,
    }
    test = {"dataroot_a": data / "testA", "dataroot_b": data / "testB"}
    return FastConfig.model_validate(
        {
            "precision": "32-true",
            "dataset": {"train": train, "test": test},
            "model": {"generator": {"name": "LiteGenerator", "ngf": 4, "n_blocks": 2}},
            "stages": [{"img_size": SIZE, "iterations": 30, "batch_size": 2}],
            **changes,
        }
    )


def recipe(settings: FastConfig) -> Fast:
    fabric = Fabric(accelerator="cpu", devices=1, precision=settings.precision)
    made = create_recipe(settings, fabric)
    assert isinstance(made, Fast)
    return made


def test_pairs_are_learnt(data: Path) -> None:
    run = recipe(config(data, optimizer={"learning_rate": 2e-3}))
    found = [run.step(step) for step in range(1, 31)]
    for name in ("pair_pixels", "pair_features", "content"):
        values = [float(terms[name]) for terms in found]
        assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5]), name


def test_without_pairs_drawings_must_stay(data: Path) -> None:
    run = recipe(
        config(
            data,
            pairs=False,
            optimizer={"learning_rate": 2e-3},
            weights={"identity_every": 1, "adversarial": 0.1},
        )
    )
    found = [run.step(step) for step in range(1, 31)]
    assert not {"pair_pixels", "pair_features"} & found[0].keys()
    values = [float(terms["identity"]) for terms in found]
    assert np.mean(values[-5:]) < 0.6 * np.mean(values[:5])


def test_terms_come_and_go_with_their_weights(data: Path) -> None:
    run = recipe(config(data, weights={"identity_every": 2, "colour": 0}))
    first, second = run.step(1), run.step(2)
    assert "identity" not in first
    assert "identity" in second
    assert "colour" not in first
    run.face_id = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten())
    assert "face_id" in run.step(3)


def test_the_total_is_the_weighted_sum(data: Path) -> None:
    weights = {"content": 2.0, "adversarial": 3.0, "colour": 5.0, "pair_pixels": 7.0,
               "pair_features": 11.0, "identity": 13.0, "identity_every": 1}  # fmt: skip
    run = recipe(config(data, weights=weights | {"adversarial_from": 1, "adversarial_ramp": 2}))
    for step, adversarial in ((1, 0.0), (2, 1.5), (3, 3.0), (4, 3.0)):
        terms = run.step(step)
        weights["adversarial"] = adversarial
        assert ("adversarial" in terms) == ("d" in terms) == (step > 1)
        total = sum(float(terms[key]) * weight for key, weight in weights.items() if key in terms)
        assert float(terms["g"]) == pytest.approx(total, rel=1e-5)


def test_discriminators_and_generator_learn_apart(data: Path) -> None:
    run = recipe(config(data))
    projections = [
        p.clone() for discriminator in run.projected for p in discriminator.projections.parameters()
    ]
    before = {n: [p.clone() for p in net.parameters()] for n, net in run.networks.items()}
    run._optim_g.step = lambda: None  # type: ignore[method-assign]
    run.step(1)
    for name in ("pixel", "projected0"):
        changed = run.networks[name].parameters()
        assert any(not torch.equal(p, q) for p, q in zip(before[name], changed, strict=True))
    for name in ("live", "genA2B"):
        same = run.networks[name].parameters()
        assert all(torch.equal(p, q) for p, q in zip(before[name], same, strict=True))
    after = [p for discriminator in run.projected for p in discriminator.projections.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(projections, after, strict=True))


def test_the_mean_follows(data: Path) -> None:
    small = {"name": "LiteGenerator", "ngf": 4, "n_blocks": 1}
    run = recipe(config(data, model={"generator": small, "ema": 0.9}))
    mean, live = (net.get_parameter("out.weight") for net in (run.mean, run.generator))
    before = mean.clone()
    run.step(1)  # follows by 1 - 2/11 at first
    torch.testing.assert_close(mean, before + (live.detach() - before) * (1 - 2 / 11))


def test_light_changes_what_is_drawn_and_not_what_is_wanted(data: Path) -> None:
    plain = {"rotate_degrees": 0, "zoom": 0, "shift": 0, "flip": 0, "brightness": 0, "edge": 0}
    run = recipe(config(data, pairs=False, augment={**plain, "relight": 1.0}))
    batch = run.batches.take(run.batches.enter_stage(1), 1)
    photo, wanted = batch.inputs[:2], batch.plain
    assert float((photo - wanted).abs().max()) > 0.3
    white = wanted == 1
    assert torch.equal(photo[white], wanted[white])  # the background stays
    run = recipe(config(data, pairs=False, augment={**plain, "relight": 0.0}))
    batch = run.batches.take(run.batches.enter_stage(1), 1)
    torch.testing.assert_close(batch.inputs[:2], batch.plain)


def test_with_the_colours_of_the_photo_only_lightness_counts(data: Path) -> None:
    settings: dict[str, Any] = {
        "colours": "photo",
        "weights": {"identity_every": 1, "flats": 1.0},
    }
    run = recipe(config(data, **settings))
    batch = run.batches.take(run.batches.enter_stage(1), 1)
    drawn = run.picture(batch.inputs).detach()
    judged = (batch.plain, batch.target, batch.pair_plain, batch.same, batch.real, drawn)
    for picture in judged:
        assert picture is not None
        assert float((picture[:, 0] - picture[:, 2]).abs().max()) < 1e-5
    assert float((batch.inputs[:, 0] - batch.inputs[:, 2]).abs().max()) > 0.2  # it sees colours
    coloured = recipe(config(data, weights=settings["weights"]))
    colours = coloured.batches.take(coloured.batches.enter_stage(1), 1)
    torch.testing.assert_close(colours.inputs, batch.inputs)
    torch.testing.assert_close(augment.lightness(colours.plain), batch.plain)
    assert float(batch.real.mean()) < float(augment.lightness(colours.real).mean())  # darkened
    terms = run.step(1)
    assert {"colour", "flats"} <= terms.keys()
    assert all(torch.isfinite(value) for value in terms.values())
    sheet = run.grids()["A2B"]
    assert np.abs(sheet[SIZE:, :, 0].astype(int) - sheet[SIZE:, :, 2]).max() <= 1


def test_the_weight_of_flats_makes_flat(data: Path) -> None:
    off = {"content": 0, "adversarial_from": 99, "colour": 0, "identity": 0}
    rate = {"learning_rate": 2e-3}
    how: dict[str, Any] = {"colours": "photo", "optimizer": rate, "weights": off | {"flats": 1}}
    run = recipe(config(data, pairs=False, **how))
    found = [float(run.step(step)["flats"]) for step in range(1, 21)]
    assert np.mean(found[-3:]) < 0.7 * np.mean(found[:3])


def test_the_real_network_trains_in_half_precision(data: Path) -> None:
    settings = config(
        data,
        precision="bf16-mixed",
        channels_last=True,
        model={"generator": {"ngf": 4}, "features": [0, 1]},
        stages=[{"img_size": 32, "iterations": 2}, {"img_size": 64, "iterations": 2}],
    )
    run = recipe(settings)
    frozen = [n for n, p in run.generator.named_parameters() if not p.requires_grad]
    assert frozen == ["gap_fc.bias", "gmp_fc.bias"]
    for step in (1, 2, 3):
        assert all(torch.isfinite(value) for value in run.step(step).values())
    assert run.grids()["A2B"].shape == (2 * 64, 8 * 64, 3)
    assert [name for name, _ in run.strips()] == ["A2B_0", "A2B_1", "A2B_2"]


def test_what_cannot_be_trained_is_said(data: Path) -> None:
    with pytest.raises(ConfigError, match="face_id"):
        recipe(config(data, weights={"face_id": 1}))
    full = {"generator": {"ngf": 4, "light": False, "img_size": 64}}
    with pytest.raises(ConfigError, match="one size only"):
        recipe(config(data, model=full, stages=[{"img_size": 32}]))
