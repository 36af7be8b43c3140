"""Pictures as they are packed, their order, and what augmentation does to them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from photo2cartoon_models.training import augment
from photo2cartoon_models.training.config import FastAugment
from photo2cartoon_models.training.data import (
    DataError,
    Folder,
    drawing,
    order,
    pack,
    pair,
    portrait,
    read_picture,
    read_regions,
    to_unit,
)
from tests.train import toy

CPU = torch.device("cpu")


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:2, :, 3] = 255
    rgba[2, :, 3] = 51  # a fifth
    toy.write(tmp_path / "x.png", rgba)
    image = read_picture(tmp_path / "x.png")
    assert image[0, 0].tolist() == [200, 0, 0]
    assert image[2, 0].tolist() == [244, 204, 204]
    assert image[3, 0].tolist() == [255, 255, 255]


def test_gray_and_deep_pictures(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((4, 4), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4, 3), 257 * 9, np.uint16))
    assert read_picture(tmp_path / "gray.png")[0, 0].tolist() == [77, 77, 77]
    assert read_picture(tmp_path / "deep.png")[0, 0].tolist() == [9, 9, 9]


def test_a_folder_must_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Folder(tmp_path / "none", drawing(32), "k", CPU)
    with pytest.raises(DataError, match="no picture in it"):
        Folder(tmp_path, drawing(32), "k", CPU)
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        Folder(tmp_path, drawing(32), "k", CPU)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png: not a picture"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(DataError, match=r"none\.png: cannot be read"):
        read_picture(tmp_path / "none.png")
    root = toy.make(tmp_path / "toy", count=1)
    (root / "faces.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"faces\.jsonl: not what prepare-data writes"):
        read_regions(root / "trainA", sorted((root / "trainA").iterdir()))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"dataset\.train\.cache=false"):
        pack([root / "trainA" / "00.png"], drawing(32), tmp_path / "file", "k")


def test_packed_once_and_again_when_a_picture_changes(tmp_path: Path) -> None:
    for k in range(3):
        toy.write(tmp_path / "in" / f"{k}.png", toy.portrait(k))
    paths = sorted((tmp_path / "in").iterdir())
    calls: list[Path] = []

    def read(path: Path) -> np.ndarray:
        calls.append(path)
        return drawing(32)(path)

    first = pack(paths, read, tmp_path / "cache", "k")
    assert first.shape == (3, 32, 32, 3)
    second = pack(paths, read, tmp_path / "cache", "k")
    np.testing.assert_array_equal(first, second)
    assert len(calls) == 3
    toy.write(paths[0], toy.portrait(9))
    third = pack(paths, read, tmp_path / "cache", "k")
    assert (third[0] != first[0]).any()
    assert len(calls) == 6
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_prepared_photos_bring_their_matte(tmp_path: Path) -> None:
    root = toy.make(tmp_path, count=1)
    crop = np.full((64, 64, 4), 99, np.uint8)
    toy.write(root / "crops" / "trainA" / "00.png", crop)
    read = portrait(64, root)
    assert read(root / "trainA" / "00.png")[0, 0].tolist() == [99] * 4
    (root / "crops" / "trainA" / "00.png").unlink()
    guessed = read(root / "trainA" / "00.png")
    assert guessed[0, 0].tolist() == [255, 255, 255, 0]
    assert guessed[32, 32, 3] == 255
    toy.write(root / "crops" / "trainA" / "00.png", crop[:, :, :3])
    with pytest.raises(DataError, match="prepare the data again"):
        read(root / "trainA" / "00.png")


def test_pairs_are_cut_in_two(tmp_path: Path) -> None:
    both = np.hstack((toy.portrait(0), toy.cartoon(0)))
    toy.write(tmp_path / "p.png", both)
    found = pair(64)(tmp_path / "p.png")
    np.testing.assert_array_equal(found[:, :, :3], both[:, :64])
    np.testing.assert_array_equal(found[:, :, 4:], both[:, 64:])
    toy.write(tmp_path / "p.png", both[:, :100])
    with pytest.raises(DataError, match="two squares"):
        pair(64)(tmp_path / "p.png")


def test_regions_are_ellipses_around_the_points(tmp_path: Path) -> None:
    root = toy.make(tmp_path, count=2)
    lines = (root / "faces.jsonl").read_text().splitlines()
    (root / "faces.jsonl").write_text(
        "\n".join(
            [*lines[:2], json.dumps({"picture": "trainA/01.png", "size": 64, "points": None})]
        )
    )
    regions = read_regions(root / "trainA", sorted((root / "trainA").iterdir()))
    np.testing.assert_allclose(regions[0, 0], [-0.22, -0.1, 0.09 * 1.6, 0.05 * 1.6], atol=1e-5)
    np.testing.assert_allclose(regions[0, 3], [0, 0.05, 0.55, 0.7], atol=1e-5)
    assert (regions[1] == 0).all()


def test_an_order_depends_on_seed_folder_and_place_only() -> None:
    whole = order(10, 3, "trainA", 0, 30)
    assert whole == [
        place for first in range(0, 30, 5) for place in order(10, 3, "trainA", first, 5)
    ]
    assert all(sorted(whole[k : k + 10]) == list(range(10)) for k in (0, 10, 20))
    assert whole[:10] != whole[10:20]
    assert order(10, 3, "trainB", 0, 10) != whole[:10]


def test_random_numbers_follow_from_the_step() -> None:
    numbers = [
        augment.StepRandom(*place).uniform(0, 1, 3).tolist()
        for place in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    assert numbers[0] == numbers[1]
    assert len({tuple(n) for n in numbers}) == 3


def test_processes_share_the_random_numbers_of_a_step() -> None:
    """What two processes draw for two pictures each is what one draws for four."""

    def drawn(count: int, *share: int) -> list[Tensor]:
        rng = augment.StepRandom(3, 7, *share)
        return [rng.uniform(-1, 1, count, 2), rng.integers(0, 9, count, 2), rng.chance(count, 0.5)]

    both = zip(drawn(2, 0, 2), drawn(2, 1, 2), strict=True)
    for whole, parts in zip(drawn(4), both, strict=True):
        assert torch.equal(whole, torch.cat(parts))
    assert len({augment.StepRandom(3, 7, rank, 2).common() for rank in range(2)}) == 1


def test_regions_move_with_the_picture() -> None:
    """A bright spot and its region are warped alike."""
    how = FastAugment(rotate_degrees=20, zoom=0.2, shift=0.1)
    regions = torch.tensor([[[0.3, -0.2, 0.1, 0.1], [0, 0, 0, 0]]]).repeat(16, 1, 1)
    spots = torch.exp(-8 * augment.ellipse_distance(regions[:, :1], 64))
    theta = augment.random_affine(16, how, augment.StepRandom(0, 0))
    moved, spot = augment.move_regions(regions, theta), augment.warp(spots, theta)
    axis = (torch.arange(64) * 2 + 1) / 64 - 1
    mass = spot.sum((1, 2, 3))
    x = (spot.sum((1, 2)) * axis).sum(1) / mass
    y = (spot.sum((1, 3)) * axis).sum(1) / mass
    torch.testing.assert_close(torch.stack((x, y), 1), moved[:, 0, :2], atol=0.01, rtol=0)
    assert (moved[:, 1] == 0).all()
    size = (spots.sum((1, 2, 3)) / mass).sqrt()
    torch.testing.assert_close(moved[:, 0, 2], 0.1 / size, atol=0.005, rtol=0)


def test_light_comes_from_one_side() -> None:
    photo = torch.full((8, 3, 64, 64), 0.2)
    face = torch.tensor([[0.0, 0.0, 0.5, 0.6]]).repeat(8, 1)
    lit = augment.relight(photo, face, FastAugment(relight=1), augment.StepRandom(0, 1))
    levels = lit.mean((1,))
    for picture in levels:
        assert float(picture.min()) < 0.1
        halves = [picture[:, :32], picture[:, 32:], picture[:32], picture[32:]]
        means = [float(half.mean()) for half in halves]
        assert max(means) - min(means) > 0.1
    same = augment.relight(photo, face, FastAugment(relight=0), augment.StepRandom(0, 0))
    torch.testing.assert_close(same, photo)


def test_mattes_err_at_their_edge_only() -> None:
    matte = torch.zeros(16, 1, 128, 128)
    matte[:, :, 40:90, 40:90] = 1
    changed = augment.disturb_matte(matte, FastAugment(edge=1), augment.StepRandom(0, 0))
    apart = (changed - matte).abs()
    assert float(apart.amax((1, 2, 3)).max()) > 0.5
    assert float(apart[:, :, 50:80, 50:80].max()) < 1e-6
    assert float(apart[:, :, :30].max()) == 0
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert (changed.sum((1, 2, 3)) > matte.sum((1, 2, 3))).any()
    assert (changed.sum((1, 2, 3)) < matte.sum((1, 2, 3))).any()


def test_discriminators_see_shifted_pictures_with_holes_and_gradients_pass() -> None:
    picture = torch.full((20, 3, 64, 64), -0.5, requires_grad=True)
    seen = augment.diff_augment(picture, FastAugment(), augment.StepRandom(0, 0))
    values = {round(v, 3) for v in seen.detach().flatten().tolist()}
    assert values <= {-0.5, 0.0, 1.0}  # as it was, hole, white border
    holes = ((seen.detach() == 0).flatten(1).any(1)).float().mean()
    assert 0 < float(holes) < 0.8
    (slope,) = torch.autograd.grad(seen.sum(), picture)
    assert float(slope.abs().sum()) > 0


def test_gray_pictures_are_as_light_as_colours_are() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    gray = augment.lightness(to_unit(torch.from_numpy(colours).permute(2, 0, 1)[None]))
    assert torch.equal(gray[:, 0], gray[:, 1])
    assert torch.equal(gray[:, 0], gray[:, 2])
    levels = ((gray[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    before, after = (
        cv2.cvtColor(x, cv2.COLOR_RGB2Lab)[:, :, 0].astype(int) for x in (colours, levels)
    )
    assert np.abs(after - before).max() <= 10  # of 255: squares stand for sRGB's curve
    assert np.abs(after - before).mean() < 4
    same = augment.lightness(gray)
    torch.testing.assert_close(same, gray, atol=2e-3, rtol=0)


def test_black_has_a_gradient() -> None:
    black = torch.full((1, 3, 2, 2), -1.0, requires_grad=True)
    (slope,) = torch.autograd.grad(augment.lightness(black + 1e-4).sum(), black)
    assert torch.isfinite(slope).all()


def test_midtones_are_darkened_and_paper_and_ink_are_not() -> None:
    levels = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3).repeat(50, 3, 1, 1)
    how = FastAugment(judge_darken=2)
    dark = (augment.darken(levels * 2 - 1, how, augment.StepRandom(0, 0)) + 1) / 2
    assert torch.equal(dark[..., 0], levels[..., 0])
    assert torch.equal(dark[..., 2], levels[..., 2])
    middle = dark[:, 0, 0, 1]
    assert float(middle.max()) <= 0.5
    assert float(middle.min()) >= 0.25
    assert float(middle.std()) > 0.05
    plain = augment.darken(levels, FastAugment(judge_darken=1), augment.StepRandom(0, 0))
    torch.testing.assert_close(plain, levels)
