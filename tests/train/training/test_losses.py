"""Each term against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from photo2cartoon_models.networks.discriminator import DiscriminatorOutput
from photo2cartoon_models.training import losses


def output(logit: list[float], cam: list[float]) -> DiscriminatorOutput:
    return DiscriminatorOutput(
        torch.tensor(logit).reshape(1, 1, 1, -1), torch.tensor([cam]), torch.zeros(1)
    )


def test_lsgan_of_a_discriminator() -> None:
    real, made = output([1.0, 3.0], [2.0, 1.0]), output([0.5, -0.5], [1.0, 3.0])
    # ((0 + 4) / 2) + (.25 + .25) / 2 + (1 + 0) / 2 + (1 + 9) / 2
    assert float(losses.lsgan_discriminator(real, made)) == pytest.approx(2 + 0.25 + 0.5 + 5)


def test_lsgan_of_a_generator() -> None:
    # ((.25 + 2.25) / 2) + (0 + 4) / 2
    assert float(losses.lsgan_generator(output([0.5, -0.5], [1.0, 3.0]))) == pytest.approx(3.25)


def test_cam_term() -> None:
    foreign, own = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -1.0]])
    soft = [math.log(2), math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-1))]
    expected = (soft[0] + soft[1]) / 2 + (soft[2] + soft[3]) / 2
    assert float(losses.told_apart(foreign, own)) == pytest.approx(expected)


def test_face_id_is_the_mean_over_the_batch() -> None:
    one = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    other = torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    # cosines 24/25 and 0
    assert float(losses.faces_apart(one, other)) == pytest.approx((1 / 25 + 1) / 2)
    distance = losses.persons_apart(lambda x: x, one, other)
    assert float(distance) == pytest.approx((math.sqrt(2) + math.sqrt(5)) / 2)


def test_hinge() -> None:
    real, made = [torch.tensor([2.0, 0.0])], [torch.tensor([-3.0, 0.5])]
    # (0 + 1) / 2 + (0 + 1.5) / 2
    assert float(losses.hinge_discriminator(real, made)) == pytest.approx(1.25)
    two = [torch.tensor([1.0]), torch.tensor([2.0, 4.0])]
    assert float(losses.hinge_generator(two)) == pytest.approx(-1 - 3)


def test_content_ignores_strength_and_offset() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 8, 8)
    flat = torch.ones(2, 1, 8, 8)
    changed = losses.content_apart(features, features * 5 + 2, flat)
    assert float(changed) == pytest.approx(0, abs=2e-2)
    assert float(losses.content_apart(features, features.flip(3), flat)) > 0.5


def test_weights_move_attention_and_not_the_total() -> None:
    values = torch.zeros(1, 2, 2, 2)
    values[:, :, 0, 0] = 1
    weights = torch.ones(1, 1, 2, 2)
    assert float(losses.weighted_mean(values, weights)) == pytest.approx(1 / 4)
    weights[0, 0, 0, 0] = 5
    assert float(losses.weighted_mean(values, weights)) == pytest.approx(5 / 8)


def regions(*, face: bool = True) -> Tensor:
    ellipses = [
        (-0.3, -0.2, 0.15, 0.1),
        (0.3, -0.2, 0.15, 0.1),
        (0, 0.4, 0.2, 0.1),
        (0, 0, 0.7, 0.8),
    ]
    return torch.tensor([ellipses]) * float(face)


def test_eyes_and_mouth_weigh_more() -> None:
    weights = losses.landmark_weights(regions(), 64, 4.0)[0, 0]
    eye, mouth, corner = weights[25, 22], weights[44, 32], weights[0, 0]
    assert float(eye) == pytest.approx(5, abs=0.2)
    assert float(mouth) == pytest.approx(5, abs=0.2)
    assert float(corner) == pytest.approx(1)
    assert torch.equal(
        losses.landmark_weights(regions(face=False), 64, 4.0), torch.ones(1, 1, 64, 64)
    )


def test_colours_may_change_a_little_and_hardly_darker() -> None:
    photo = torch.full((1, 3, 32, 32), -0.2)
    apart = [
        float(losses.colours_apart(photo + change, photo, 0.1, 0.6, 0.15))
        for change in (0.0, 0.5, 1.0, -0.1, -0.5)
    ]
    assert apart == pytest.approx([0, 0, 0.4, 0, 0.4], abs=1e-3)  # gray: only luma changes
    reddish = photo.clone()
    reddish[:, 0] += 0.5  # luma .15, Cb -.0845, Cr .25
    found = losses.colours_apart(reddish, photo, 0.1, 0.6, 0.15)
    assert float(found) == pytest.approx(0.1, abs=1e-3)


def test_colours_count_where_they_are_and_lines_do_not() -> None:
    photo = torch.zeros(1, 3, 64, 64)
    cell, line = photo.clone(), photo.clone()
    cell[:, :, :4, :4] -= 0.5  # one of 16 x 16
    line[:, :, :, 8] -= 0.4  # one of four columns in a cell
    assert float(losses.colours_apart(cell, photo, 0.1, 0.6, 0.15)) == pytest.approx(0.4 / 256)
    assert float(losses.colours_apart(line, photo, 0.1, 0.6, 0.15)) == pytest.approx(0, abs=1e-6)


def test_tone_may_be_lifted_less_where_the_photo_is_dark() -> None:
    def beyond(level: float, change: float) -> float:
        """What a drawing pays that leaves the wanted tone of a gray photo by `change`, -1..1."""
        photo = torch.full((1, 3, 32, 32), level * 2 - 1)
        drawing = torch.full((1, 3, 32, 32), level**0.5 * 2 - 1 + change)
        return float(losses.tones_apart(drawing, photo, 0.1, 0.4, 0.5))

    assert [beyond(0.25, x) for x in (-0.5, -0.1, 0, 0.1, 0.5)] == pytest.approx(
        [0.4, 0, 0, 0, 0.4], abs=1e-6
    )
    assert [beyond(0.64, x) for x in (-0.1, 0.25, 0.356)] == pytest.approx([0, 0, 0.1], abs=1e-6)
    assert beyond(1, 0) == 0  # white paper is wanted white


def test_tone_is_free_within_a_cell() -> None:
    photo = torch.zeros(1, 3, 64, 64)
    drawing = torch.full_like(photo, 2 * 0.5**0.75 - 1)
    drawing[:, :, :, ::2] -= 0.4
    drawing[:, :, :, 1::2] += 0.4
    assert float(losses.tones_apart(drawing, photo, 0.1, 0.4, 0.75)) == pytest.approx(0, abs=1e-6)


def test_hatching_costs_more_than_ink() -> None:
    flat = torch.zeros(1, 3, 32, 32)
    line, hatching = flat.clone(), flat.clone()
    line[:, :, :, 16] -= 1  # two steps of 1 in each row
    hatching[:, :, :, ::2] -= 0.1  # 31 steps of .1 in each row
    assert float(losses.unevenness(flat)) == 0
    assert float(losses.unevenness(line)) == pytest.approx(2 / 31 * (1 / 1.1) / 2)
    assert float(losses.unevenness(hatching)) == pytest.approx(0.5 / 2)
