"""Distillation: pairs drawn once, a loss that falls, exact continuation, and the ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from photo2cartoon_models import distil as command
from photo2cartoon_models.cutout import UNITS, cut_out, firm
from photo2cartoon_models.teachers.comic import draw
from photo2cartoon_models.training import pairs as teaching
from photo2cartoon_models.training.checkpoint import ResumeError
from photo2cartoon_models.training.data import DataError, read_picture
from photo2cartoon_models.training.distil import (
    LAST,
    Plan,
    Student,
    edges_agree,
    load_student,
    measure,
    read_pair,
    run,
    take_batch,
)
from photo2cartoon_models.training.pairs import change_light, draw_pairs
from tests.train import toy

pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
SIZES = (96, 64)
PLAN = Plan(steps=6, batch=2, side=64, dims=(4, 4, 6, 8), blocks=(1, 1, 1, 1), warm_up=1)


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pairs", "distil"):
        monkeypatch.setattr(f"photo2cartoon_models.training.{module}.SIZES", SIZES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prepared photos, with a background that the matte takes away."""
    for part, count in (("trainA", 6), ("testA", 2)):
        for k in range(count):
            photo = toy.portrait(k, SIZES[0])
            matte = np.where(photo.min(axis=2) < 250, 255, 0).astype(np.uint8)
            name = f"{part}/{part}{k}.png"
            toy.write(tmp_path / "data" / name, photo)
            (tmp_path / "data" / "crops" / part).mkdir(parents=True, exist_ok=True)
            bgra = np.dstack((cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), matte))
            assert cv2.imwrite(str(tmp_path / "data" / "crops" / name), bgra)
    return tmp_path / "data"


@pytest.fixture
def pairs(data: Path, tmp_path: Path) -> Path:
    list(draw_pairs(data, tmp_path / "pairs", limit=None, jobs=1))
    return tmp_path / "pairs"


def test_every_photo_is_drawn_at_both_sizes(pairs: Path) -> None:
    for part, count in (("train", 6), ("test", 2)):
        for size in SIZES:
            files = sorted((pairs / part / str(size)).glob("*.png"))
            assert len(files) == count
            assert {read_picture(path).shape for path in files} == {(size, 2 * size, 3)}


def test_a_test_photo_is_drawn_as_it_is(data: Path, pairs: Path) -> None:
    """The student sees the photo, or the cutout; its goal is the drawing of that, not outlined."""
    path = pairs / "test" / str(SIZES[0]) / "testA0.png"
    seen, drawing = read_pair(path)
    photo = toy.portrait(0, SIZES[0])
    crop = cv2.imread(str(data / "crops" / "testA" / "testA0.png"), cv2.IMREAD_UNCHANGED)
    assert crop is not None
    matte = crop[:, :, 3].astype(np.float32) / np.float32(255)
    unit = SIZES[0] / UNITS
    cut = cut_out(photo, firm(matte, unit), unit)
    on_white = cut, draw(photo, matte, unit=unit, outlined=False)
    whole = photo, draw(photo, unit=unit, outlined=False)
    right = [np.array_equal(seen, a) and np.array_equal(drawing, b) for a, b in (whole, on_white)]
    assert any(right)


def test_what_is_drawn_stays(data: Path, pairs: Path) -> None:
    kept = next((pairs / "train" / str(SIZES[0])).glob("*.png"))
    lost = pairs / "train" / str(SIZES[1]) / "trainA3.png"
    before = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    done = list(draw_pairs(data, pairs, limit=None, jobs=1))
    assert len(done) == 8
    assert lost.read_bytes() == before[1]
    if kept.name != lost.name:
        assert kept.stat().st_mtime_ns == before[0]


def test_photos_that_are_too_small_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "SIZES", (128, 64))
    with pytest.raises(DataError, match="prepare the photos at 128 px"):
        list(draw_pairs(data, tmp_path / "more", limit=1, jobs=1))


def test_changed_light_keeps_the_picture_recognisable() -> None:
    photo = toy.portrait(0)
    rng = np.random.default_rng(0)
    changed = [change_light(photo, rng) for _ in range(8)]
    assert all(c.shape == photo.shape and c.dtype == np.uint8 for c in changed)
    grays = [np.corrcoef(c.mean(axis=2).ravel(), photo.mean(axis=2).ravel())[0, 1] for c in changed]
    assert min(grays) > 0.95
    assert not any(np.array_equal(c, photo) for c in changed)


def test_a_batch_holds_photo_and_drawing_of_the_same_place(pairs: Path) -> None:
    paths = sorted((pairs / "train" / str(SIZES[0])).glob("*.png"))
    seen, target = take_batch(paths, PLAN, 1)
    assert seen.shape == target.shape == (2, 3, PLAN.side, PLAN.side)
    for photo, drawing in zip(seen.numpy(), target.numpy(), strict=True):
        gray = np.corrcoef(photo.mean(axis=0).ravel(), drawing.mean(axis=0).ravel())[0, 1]
        assert gray > 0.5
    again, _ = take_batch(paths, PLAN, 1)
    assert torch.equal(seen, again)
    other, _ = take_batch(paths, PLAN, 2)
    assert not torch.equal(seen, other)


def test_the_student_comes_nearer_to_the_teacher(pairs: Path) -> None:
    """On one batch, seen again and again: that much even a small network can learn."""
    student = Student(replace(PLAN, steps=1000, rate=2e-3, dims=(16, 24, 32, 48)))
    paths = sorted((pairs / "train" / str(SIZES[0])).glob("*.png"))
    batch = take_batch(paths, student.plan, 1)
    losses = [float(student.learn(*batch)) for _ in range(150)]
    assert losses[-1] < 0.9 * losses[0]


def test_the_student_is_measured_beside_the_photo(pairs: Path) -> None:
    found = measure(Student(PLAN).generator(), pairs, SIZES[1])
    assert found["count"] == 2
    assert found["off"] < 1.1 * found["photo_off"]  # it begins as the photo itself


def test_a_stopped_run_continues_exactly(pairs: Path, tmp_path: Path) -> None:
    whole = Student(PLAN)
    run(whole, pairs, tmp_path / "whole", lambda _: None)
    first = Student(PLAN)
    run(first, pairs, tmp_path / "parts", lambda _: None, max_minutes=0)
    paths = sorted((pairs / "train" / str(SIZES[0])).glob("*.png"))
    for step in (1, 2, 3):
        first.learn(*take_batch(paths, PLAN, step))
    first.save(tmp_path / "parts" / LAST)
    second = load_student(tmp_path / "parts" / LAST)
    assert second.step == 3
    run(second, pairs, tmp_path / "parts", lambda _: None)
    assert second.step == whole.step == PLAN.steps
    for one, other in ((whole.net, second.net), (whole.mean, second.mean)):
        for name, weight in one.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name]), name


def test_a_sheet_and_a_checkpoint_now_and_then(pairs: Path, tmp_path: Path) -> None:
    run(Student(replace(PLAN, steps=1)), pairs, tmp_path / "out", lambda _: None, save_minutes=0)
    (sheet,) = (tmp_path / "out" / "samples").glob("sheet_*.png")
    assert read_picture(sheet).shape[1] == 3 * SIZES[0]
    assert load_student(tmp_path / "out" / LAST).step == 1


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_other_files_are_no_checkpoints(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(ResumeError, match="not a checkpoint"):
        load_student(tmp_path / LAST)


def test_edges_agree_within_a_pixel() -> None:
    picture = toy.portrait(0, 128)
    beside, far = (np.roll(picture, shift, axis=1) for shift in (1, 9))
    assert edges_agree(picture, picture) == 1
    assert edges_agree(picture, beside) > 0.95
    assert edges_agree(picture, far) < 0.6
    blank = np.full_like(picture, 255)
    assert edges_agree(picture, blank) == 0
    assert edges_agree(blank, blank) == 1


def test_the_command_draws_trains_and_writes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "Plan", lambda seed=0: replace(PLAN, seed=seed))
    monkeypatch.setattr(command, "SIZES", SIZES)
    out = tmp_path / "out"
    words = [str(data), str(out), "--jobs", "1", "--steps", "2", "--licence", "MIT"]
    assert command.main(words) == 0
    session = onnxruntime.InferenceSession(str(out / "comic.onnx"))
    (drawn,) = session.run(None, {"input": np.zeros((1, 3, 48, 80), np.float32)})
    assert np.asarray(drawn).shape == (1, 3, 48, 80)
    assert session.get_modelmeta().custom_metadata_map["licence"] == "MIT"
    assert command.main(words) == 2
    assert "--resume auto" in capsys.readouterr().err
    assert command.main([*words, "--resume", "auto", "--steps", "3"]) == 0
    assert load_student(out / LAST).step == 3
