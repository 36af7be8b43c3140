"""Photos, drawings and pairs into training data: right places, right pixels, no work twice."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.cli.prepare import CONTOURS, Kind, Prepared, Split, plan, prepare, write_png
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.preprocess import to_image

Folders = dict[Kind, Path]


@pytest.fixture
def folders(tmp_path: Path, photo: bytes) -> Folders:
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "sub/a.jpg", "b.jpg", "b.jpeg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(photo)
    (tmp_path / "photos" / "broken.png").write_text("no picture")
    noise = rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "photos" / "noise.png"), noise)
    for k in range(5):
        drawing = np.full((80, 80, 4), k * 20, np.uint8)
        drawing[:40, :, 3], drawing[40:, :, 3] = 0, 255
        path = tmp_path / "drawings" / ("testB" if k > 2 else "trainB") / f"{k:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), drawing)
    return {"A": tmp_path / "photos", "B": tmp_path / "drawings"}


def run(
    pipeline: Pipeline, folders: Folders, out: Path, split: Split, *, again: bool = False
) -> dict[str, Prepared]:
    items = plan(folders, out, split)
    results = list(prepare(pipeline, items, out, size=256, threads=2, again=again))
    assert len(results) == len(items)
    return {result.item.target: result for result in results}


def read(path: Path) -> NDArray[np.uint8]:
    """A PNG as it was written, RGB or RGBA."""
    with Image.open(path) as image:
        return np.asarray(image)


def below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_everything_in_its_place(pipeline: Pipeline, folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = run(pipeline, folders, out, Split(share=0, last_b=2))
    photos = ["trainA/a.png", "trainA/b.jpeg.png", "trainA/b.jpg.png", "trainA/sub/a.png"]
    drawings = [f"trainB/trainB/00{k}.png" for k in range(3)]
    kept = [f"testB/testB/00{k}.png" for k in (3, 4)]
    crops = [f"crops/{name}" for name in photos]
    expected = [*photos, *drawings, *kept, *crops, "faces.jsonl", "skipped.csv"]
    assert below(out) == sorted(expected)
    skipped = {r.item.name: r.code for r in results.values() if r.status == "skipped"}
    assert skipped == {"broken.png": "unsupported_format", "noise.png": "no_face"}
    with (out / "skipped.csv").open(newline="") as file:
        rows = [(row["photo"], row["code"]) for row in csv.DictReader(file)]
    assert sorted(rows) == sorted(skipped.items())


def test_photos_are_what_the_generator_will_see(
    pipeline: Pipeline, folders: Folders, tmp_path: Path, photo: bytes
) -> None:
    out = tmp_path / "out"
    run(pipeline, {"A": folders["A"]}, out, Split(share=0))
    _, (portrait,) = pipeline.prepare(photo, Options(), Ticket())
    found = read(out / "trainA" / "a.png")
    assert found.shape == (256, 256, 3)
    np.testing.assert_array_equal(found, to_image(portrait.tensor).round().astype(np.uint8))
    crop = read(out / "crops" / "trainA" / "a.png")
    np.testing.assert_array_equal(crop[:, :, :3], portrait.cut.crop.pixels)
    np.testing.assert_allclose(crop[:, :, 3] / 255, portrait.matte, atol=0.5 / 255 + 1e-6)


def test_points_lie_on_the_face(pipeline: Pipeline, folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pipeline, {"A": folders["A"]}, out, Split(share=0))
    lines = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    assert [line["picture"] for line in lines] == sorted(line["picture"] for line in lines)
    entry = lines[0]
    assert entry["size"] == 256
    assert set(entry["points"]) == set(CONTOURS)
    middle = {name: np.mean(points, axis=0) for name, points in entry["points"].items()}
    left, right, mouth, oval = (middle[n] for n in ("left_eye", "right_eye", "mouth", "oval"))
    assert left[0] < 115 < 140 < right[0]
    assert abs(left[1] - right[1]) < 4  # the square is level
    assert abs(mouth[0] - 128) < 20
    assert mouth[1] > left[1] + 25
    assert left[1] < oval[1] < mouth[1]


def test_drawings_are_laid_on_white(pipeline: Pipeline, folders: Folders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pipeline, {"B": folders["B"]}, out, Split())
    image = read(out / "trainB" / "trainB" / "002.png")
    assert image.shape == (80, 80, 3)
    assert (image[:40] == 255).all()
    assert (image[40:] == 40).all()


def test_pairs_stay_and_get_points(pipeline: Pipeline, folders: Folders, tmp_path: Path) -> None:
    run(pipeline, {"A": folders["A"]}, tmp_path / "first", Split(share=0))
    portrait = read(tmp_path / "first" / "trainA" / "a.png")
    for k in range(3):
        write_png(tmp_path / "pairs" / f"{k}.png", np.hstack((portrait, portrait // 2)))
    write_png(tmp_path / "pairs" / "odd.png", portrait)
    out = tmp_path / "out"
    results = run(pipeline, {"P": tmp_path / "pairs"}, out, Split(last_p=2))
    assert {t: r.code for t, r in results.items() if r.status == "skipped"} == {
        "testP/odd.png": "not_a_pair"
    }
    assert below(out) == [
        "faces.jsonl", "skipped.csv", "testP/2.png", "trainP/0.png", "trainP/1.png",
    ]  # fmt: skip
    assert read(out / "trainP" / "0.png").shape == (256, 512, 3)
    first = json.loads((tmp_path / "first" / "faces.jsonl").read_text().splitlines()[0])
    pair = json.loads((out / "faces.jsonl").read_text().splitlines()[0])
    apart = np.subtract(first["points"]["mouth"], pair["points"]["mouth"])
    assert abs(apart).max() < 3  # the matte changed the background only


def test_a_second_call_does_what_is_missing(
    pipeline: Pipeline, folders: Folders, tmp_path: Path, photo: bytes
) -> None:
    out = tmp_path / "out"
    first = run(pipeline, folders, out, Split(share=0))
    faces = (out / "faces.jsonl").read_text()
    # Killed while writing: one picture without its line, and half a line.
    lines = faces.splitlines(keepends=True)
    (out / "faces.jsonl").write_text("".join(lines[1:]) + lines[0][:20])
    (folders["A"] / "new.jpg").write_bytes(photo)
    second = run(pipeline, folders, out, Split(share=0))
    status = {target: result.status for target, result in second.items()}
    done = sorted(target for target, value in status.items() if value == "done")
    assert done == ["trainA/a.png", "trainA/new.png"]
    assert {t: s for t, s in status.items() if s == "skipped"} == {
        t: r.status for t, r in first.items() if r.status == "skipped"
    }
    assert len((out / "faces.jsonl").read_text().splitlines()) == 5
    third = run(pipeline, {"A": folders["A"]}, out, Split(share=0), again=True)
    assert {result.status for result in third.values()} == {"done", "skipped"}


def test_a_picture_never_is_in_both_parts(
    pipeline: Pipeline, folders: Folders, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(pipeline, folders, out, Split(share=0))
    run(pipeline, folders, out, Split(share=0, last_b=1, names=frozenset({"a.jpg", "sub/a"})))
    files = below(out)
    for name in ("A/a.png", "A/sub/a.png", "B/testB/004.png"):
        assert f"test{name}" in files
        assert f"train{name}" not in files
    assert "crops/trainA/a.png" not in files
    lines = (out / "faces.jsonl").read_text().splitlines()
    pictures = {json.loads(line)["picture"] for line in lines}
    assert pictures == {"testA/a.png", "testA/sub/a.png", "trainA/b.jpeg.png", "trainA/b.jpg.png"}


def test_the_split_depends_on_names_only() -> None:
    names = [f"{k}.jpg" for k in range(1000)]
    chosen = Split(share=0.2).tests("A", names)
    assert 150 < len(chosen) < 250
    assert Split(share=0.2).tests("A", names[:500]) == chosen & set(names[:500])
    assert Split(share=0).tests("A", names) == set()
    assert Split(last_p=2).tests("P", ["x/1.jpg", "a/3.jpg", "b/2.jpg"]) == {"a/3.jpg", "b/2.jpg"}


def test_the_command(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    (tmp_path / "list.txt").write_text("a.jpg\n\n b.jpg \n")
    out = tmp_path / "out"
    words = ["prepare-data", folders["A"], out, "--cartoons", folders["B"], "--test-cartoons", "1",
             "--test-share", "0", "--holdout", tmp_path / "list.txt", "--jobs", "2"]  # fmt: skip
    result = CliRunner().invoke(commands, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "9 done, 0 there, 2 skipped" in result.output
    assert (out / "testA" / "a.png").exists()
    assert (out / "testA" / "b.jpg.png").exists()
    assert (out / "trainA" / "sub" / "a.png").exists()
    again = CliRunner().invoke(commands, [str(word) for word in words])
    assert "0 done, 9 there, 2 skipped" in again.output
    check_shards(out, [str(word) for word in words])
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(commands, ["prepare-data", str(tmp_path / "empty"), str(out)])
    assert empty.exit_code == 2


def check_shards(out: Path, words: list[str]) -> None:
    """All that was prepared, in samples of WebDataset, the same bytes each time."""
    for count in (4, 2):
        made = CliRunner().invoke(commands, [*words, "--shards", str(count)])
        assert f"{count} shards" in made.output
        paths = sorted((out / "shards").iterdir())
        assert [path.name for path in paths] == [f"{k:04}.tar" for k in range(count)]
    before = [path.read_bytes() for path in paths]
    CliRunner().invoke(commands, [*words, "--shards", "2"])
    assert [path.read_bytes() for path in paths] == before
    found = {}
    for path in paths:
        with tarfile.open(path) as tar:
            entries = {name: tar.extractfile(name) for name in tar.getnames()}
            contents = {name: file.read() for name, file in entries.items() if file}
        # A sample's name ends at the first dot; its files follow each other.
        keys = [name.partition(".")[0] for name in contents]
        assert [key for key, _ in groupby(keys)] == [*dict.fromkeys(keys)]
        for key in dict.fromkeys(keys):
            line = json.loads(contents[f"{key}.json"])
            found[line["picture"]] = contents[f"{key}.png"]
            assert ("points" in line) == (f"{key}.crop.png" in contents) == ("A/" in key)
    pictures = [path for path in below(out) if path[:5] in ("train", "testA", "testB")]
    assert found == {name: (out / name).read_bytes() for name in pictures}


def test_a_name_that_is_no_utf8_is_escaped(
    pipeline: Pipeline, tmp_path: Path, photo: bytes
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Path(os.fsdecode(os.fsencode(photos) + b"/caf\xe9.jpg")).write_bytes(photo)
    Path(os.fsdecode(os.fsencode(photos) + b"/\xe9.jpg")).write_text("no picture")
    for _ in range(2):  # the second time from the lists that the first one wrote
        results = run(pipeline, {"A": photos}, tmp_path / "out", Split(share=0))
        assert results["trainA/caf\\xe9.png"].status in ("done", "there")
        assert results["trainA/\\xe9.png"].code == "unsupported_format"
    assert results["trainA/caf\\xe9.png"].status == "there"
    assert (tmp_path / "out" / "trainA" / "caf\\xe9.png").is_file()
