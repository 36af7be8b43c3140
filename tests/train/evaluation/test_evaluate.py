"""A whole evaluation of a generator whose figures are known beforehand, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon_models.evaluation.evaluate import Request, evaluate, open_inputs
from photo2cartoon_models.evaluation.measures import to_gray
from photo2cartoon_models.evaluation.pictures import (
    EvaluationError,
    Image,
    read_drawing,
    read_groups,
    read_picture,
)
from tests.places import PHOTO
from tests.train import evaluations

PHOTOS, PAIRS = 24, 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """12 photos of each of two groups; the pairs' own cartoons are their photos."""
    folder = tmp_path_factory.mktemp("world")
    photos = evaluations.portraits(PHOTOS)
    evaluations.write(folder / "photos", photos)
    pairs = [np.hstack([photo, photo]) for photo in evaluations.portraits(PAIRS, seed=1)]
    evaluations.write(folder / "pairs", pairs)
    drawings = [255 - drawing for drawing in evaluations.portraits(4, seed=2)]
    evaluations.write(folder / "cartoons", drawings)
    with (folder / "groups.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "path"])
        for i in range(PHOTOS):
            group = "male/black" if i < PHOTOS // 2 else "female/asian"
            writer.writerow([f"p{i}.jpg", f"original_images/{group}/{i}-unsplash.jpg"])
    return Request(
        evaluations.same(folder / "same.onnx"),
        folder / "photos",
        folder / "cartoons",
        folder / "out",
        folder / "pairs",
        folder / "groups.csv",
        evaluations.looker(folder / "looker.onnx"),
    )


def _run(request: Request) -> dict[str, Any]:
    return evaluate(request, lambda *_: None)


@pytest.fixture(scope="module")
def report(world: Request) -> dict[str, Any]:
    return _run(world)


def _values(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["what"]: row["value"] for row in rows}


def test_a_generator_that_draws_the_photo(report: dict[str, Any]) -> None:
    """Every figure that must be zero is, up to the grey level that the service cuts off."""
    assert report["counts"] == {"photos": PHOTOS, "pairs": PAIRS, "drawings": 4, "served": 0}
    kid = _values(report["kid"]["rows"])
    assert kid["photos: this model"] == pytest.approx(kid["photos: before"], rel=0.02)
    assert kid["pairs: this model"] == pytest.approx(kid["pairs: their own cartoons"], rel=0.05)
    assert kid["pairs: this model less their own"] == pytest.approx(
        kid["pairs: this model"] - kid["pairs: their own cartoons"]
    )
    assert kid["photos: before"] > 0  # the drawings are negatives
    rows = {row["what"]: row for row in report["identity"]["rows"]}
    for what in ("photos: this model", "pairs: this model", "pairs: their own cartoons"):
        assert rows[what]["value"] == pytest.approx(0, abs=1e-4)
        assert rows[what]["found"]["value"] == 1
        assert rows[what]["strangers"] > 0.001
    gray, blurred = (rows[f"photos: themselves, {how}"]["value"] for how in ("gray", "blurred"))
    assert gray > blurred > 0
    (colours,) = report["colours"]["sets"]
    assert (colours["what"], colours["sides"]) == ("as drawn", [256])
    assert colours["figures"]["order"]["value"] > 0.95
    assert colours["figures"]["lift"]["value"] == pytest.approx(0, abs=1)
    pairs = _values(report["pairs"])
    assert pairs["pixels"] < 1 / 127.5
    assert pairs["pixels, blurred"] < 1 / 127.5
    assert pairs["features"] < 0.05


def test_a_generator_that_draws_negatives(world: Request, report: dict[str, Any]) -> None:
    """Nearer to the drawings, which are negatives as well, and far from the people."""
    model = evaluations.negative(world.out.parent / "negative.onnx")
    other = _run(replace(world, model=model, out=world.out.parent / "negative"))
    kid = _values(other["kid"]["rows"])
    assert kid["photos: this model"] < 0.5 * kid["photos: before"]
    assert kid["pairs: this model less their own"] < 0
    assert other["identity"]["rows"][0]["value"] > 1
    assert all(row["value"] > 0.1 for row in other["pairs"])
    before = _values(report["kid"]["rows"])["photos: before"]
    assert kid["photos: before"] == pytest.approx(before)


def test_kid_in_gray_does_not_see_colours(world: Request) -> None:
    """Photos in other colours of the same lightness are as far from the drawings as before."""
    folder = world.out.parent
    photos = evaluations.portraits(6)
    evaluations.write(folder / "coloured", [np.roll(photo, 1, 2) for photo in photos])
    evaluations.write(folder / "grayed", [to_gray(np.roll(photo, 1, 2)) for photo in photos])
    bare = replace(world, pairs=None, groups=None, identity=None, out=folder / "gray")
    coloured, grayed = (
        {row["what"]: row for row in _run(replace(bare, photos=folder / name))["kid"]["rows"]}
        for name in ("coloured", "grayed")
    )
    for what in ("photos: before", "photos: this model"):
        gray = coloured[what]["gray"]["value"]
        assert gray == pytest.approx(grayed[what]["gray"]["value"], rel=0.1)
        assert gray != coloured[what]["value"]
        assert coloured[what]["gray"]["low"] < gray < coloured[what]["gray"]["high"]


def test_groups(report: dict[str, Any]) -> None:
    groups = report["groups"]
    counts = {row["group"]: row["count"] for row in groups["counts"]}
    assert counts == {"male/black": 12, "female/asian": 12}
    names = ["photos: this model", "photos: themselves, gray", "photos: themselves, blurred"]
    assert [compared["what"] for compared in groups["sets"]] == names
    for row in (row for compared in groups["sets"] for row in compared["rows"]):
        assert row["low"] <= row["value"] <= row["high"]
        assert row["count"] == counts[row["group"]]


def test_a_sample_has_as_many_of_each_group(world: Request) -> None:
    request = replace(world, pairs=None, identity=None, sample=3)
    drawn = [
        {photo.name for photo in open_inputs(replace(request, seed=seed)).photos}
        for seed in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    for names in drawn:
        assert len(names) == 6
        assert sum(int(name[1:]) < PHOTOS // 2 for name in names) == 3  # male/black
    report = _run(replace(request, seed=7, out=world.out.parent / "sample"))
    assert report["sample"] == {"most": 3, "seed": 7}
    assert report["counts"]["photos"] == 6
    assert "at most 3 of each group" in (world.out.parent / "sample" / "report.html").read_text()


@pytest.fixture(scope="module")
def served(world: Request) -> tuple[Request, dict[str, Any]]:
    """A service that leaves one photo out and draws the others darker, but one twice as large."""
    raw = evaluations.write(world.out.parent / "raw", evaluations.portraits(PHOTOS))
    (raw / "p0.png").write_bytes(b"no face")
    small = (raw / "p1.png").read_bytes()

    def serve(data: bytes) -> tuple[Image, Image] | None:
        if data == b"no face":
            return None
        side = 256 if data == small else 512
        with Pillow.open(io.BytesIO(data)) as file:
            photo = np.asarray(file.resize((side, side)))
        return photo, (photo * 0.8).astype(np.uint8)

    request = replace(world, pairs=None, raw=raw, out=world.out.parent / "served")
    return request, evaluate(request, lambda *_: None, serve)


def test_what_the_service_draws_is_measured(served: tuple[Request, dict[str, Any]]) -> None:
    request, report = served
    assert report["counts"]["served"] == PHOTOS - 1
    drawn, by_service = report["colours"]["sets"]
    assert (by_service["what"], by_service["sides"]) == ("as served", [256, 512])
    assert drawn["figures"]["lift"]["value"] == pytest.approx(0, abs=1)
    assert by_service["figures"]["lift"]["value"] < -5
    assert by_service["figures"]["lift"]["count"] == PHOTOS - 1
    groups = {row["group"]: row["figures"]["lift"] for row in report["colours"]["groups"]}
    assert {name: lift["count"] for name, lift in groups.items()} == {
        "male/black": 11,
        "female/asian": 12,
    }
    assert all(lift["value"] < -5 for lift in groups.values())  # of the last set
    assert _values(report["kid"]["rows"])["photos: as served"] > 0
    by_group = {compared["what"]: compared["rows"] for compared in report["groups"]["sets"]}
    assert sum(row["count"] for row in by_group["photos: as served"]) == PHOTOS - 1
    rows = {row["what"]: row["count"] for row in report["identity"]["rows"]}
    assert rows["photos: as served"] == PHOTOS - 1
    assert read_picture(request.out / "served" / "p3.png").shape == (512, 512, 3)
    assert not (request.out / "served" / "p0.png").exists()


def test_html_tells_what_the_service_draws(served: tuple[Request, dict[str, Any]]) -> None:
    request, report = served
    page = _Page()
    page.feed((request.out / "report.html").read_text())
    assert not page.open
    assert len(page.sources) == 2
    for set_ in report["colours"]["sets"]:
        for name in ("lift_darkest", "lift_fairest"):
            assert f"{set_['figures'][name]['value']:+.1f}" in page.cells
    for row in report["colours"]["groups"]:
        assert f"{row['figures']['lift']['value']:+.1f}" in page.cells


def test_a_raw_photo_that_is_missing_is_told(world: Request, tmp_path: Path) -> None:
    raw = evaluations.write(tmp_path / "raw", evaluations.portraits(PHOTOS - 1))
    with pytest.raises(EvaluationError, match=f"lacks the photos p{PHOTOS - 1}"):
        _run(replace(world, raw=raw, out=tmp_path / "out"))


def test_a_service_that_draws_nothing_is_told(world: Request, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=f"of {PHOTOS} raw photos the service draws 0"):
        evaluate(
            replace(world, pairs=None, raw=world.photos, out=tmp_path / "out"),
            lambda *_: None,
            lambda _: None,
        )


def test_worst_group_by_best(world: Request) -> None:
    model = evaluations.negative(world.out.parent / "negative.onnx")
    out = world.out.parent / "ratio"
    groups = _run(replace(world, model=model, pairs=None, out=out))["groups"]
    compared = groups["sets"][0]
    values = [row["value"] for row in compared["rows"]]
    assert values == sorted(values)
    ratio = compared["ratio"]
    assert ratio["value"] == pytest.approx(values[-1] / values[0])
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert (ratio["nearest"], ratio["furthest"]) == tuple(row["group"] for row in compared["rows"])
    said = f"times the nearest's ({ratio['nearest']})"
    assert said in (out / "report.html").read_text()


def test_files(world: Request, report: dict[str, Any]) -> None:
    assert json.loads((world.out / "report.json").read_text()) == report
    drawn = read_picture(world.out / "cartoons" / "photos" / "p3.png")
    np.testing.assert_allclose(drawn, read_picture(world.photos / "p3.png"), atol=1)
    with Pillow.open(world.out / "sheet.png") as sheet:
        assert sheet.width > 12 * 160
        assert sheet.height == 4 * (160 + 24)  # two groups, the furthest, the pairs


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def test_html_is_one_file_with_every_table(world: Request, report: dict[str, Any]) -> None:
    page = _Page()
    page.feed((world.out / "report.html").read_text())
    assert not page.open
    assert len(page.sources) == 1
    assert page.sources[0].startswith("data:image/png;base64,")
    for row in [*report["kid"]["rows"], *report["identity"]["rows"], *report["pairs"]]:
        assert row["what"] in page.cells
    assert "female/asian" in page.cells
    assert f"{report['identity']['rows'][0]['strangers']:.3f}" in page.cells


def test_same_again(world: Request, report: dict[str, Any]) -> None:
    before = (world.out / "report.json").read_bytes()
    assert _run(world) == report
    assert (world.out / "report.json").read_bytes() == before


def test_with_nothing_but_photos_and_drawings(world: Request) -> None:
    request = replace(world, pairs=None, groups=None, identity=None, out=world.out.parent / "bare")
    report = _run(request)
    assert report["identity"] is None
    assert report["groups"] is None
    assert report["pairs"] == []
    text = (request.out / "report.html").read_text()
    assert "identity: not measured (no second net given)" in text


def test_groups_without_identity_are_counted(world: Request) -> None:
    request = replace(world, pairs=None, identity=None, out=world.out.parent / "counted")
    rows = _run(request)["groups"]["counts"]
    assert rows == [{"group": "female/asian", "count": 12}, {"group": "male/black", "count": 12}]
    assert "male/black" in (request.out / "report.html").read_text()


def test_file_names_cannot_write_html(world: Request, tmp_path: Path) -> None:
    model = tmp_path / "<b>x&.onnx"
    model.write_bytes(world.model.read_bytes())
    _run(replace(world, model=model, pairs=None, groups=None, identity=None, out=tmp_path / "o"))
    text = (tmp_path / "o" / "report.html").read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;x&amp;.onnx" in text


def test_drawings_lie_on_white_and_shrink(tmp_path: Path) -> None:
    drawing = np.zeros((512, 512, 4), np.uint8)
    drawing[:, :256] = (255, 0, 0, 255)
    Pillow.fromarray(drawing).save(tmp_path / "d.png")
    image = read_drawing(tmp_path / "d.png")
    assert image.shape == (256, 256, 3)
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, -1].tolist() == [255, 255, 255]


def test_groups_by_column(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("file,group\na.jpg,glasses\nb.png,\n")
    assert read_groups(path) == {"a": "glasses", "b": ""}
    path.write_text("file,path\na.jpg,images/1.jpg\n")
    with pytest.raises(EvaluationError, match="names no group"):
        read_groups(path)
    path.write_text("name\na.jpg\n")
    with pytest.raises(EvaluationError, match="columns file"):
        read_groups(path)


def _command(request: Request, **changes: Path | None) -> list[str]:
    request = replace(request, **changes)  # type: ignore[arg-type]
    words = ["evaluate", str(request.model), str(request.photos)]
    for name in ("cartoons", "out", "pairs", "groups", "identity"):
        value = getattr(request, name)
        words += [f"--{name}", str(value)] if value else []
    return words


def test_command(world: Request, tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, _command(world, out=tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "out" / "report.html") in result.stdout.replace("\n", "")
    assert (tmp_path / "out" / "report.html").exists()


def test_command_draws_raw_photos_with_a_generator_of_the_manifest(
    world: Request, tmp_path: Path
) -> None:
    raw, photos = tmp_path / "raw", tmp_path / "photos"
    raw.mkdir()
    for name in ("p0", "p1"):
        (raw / f"{name}.jpg").write_bytes(PHOTO.read_bytes())
    evaluations.write(photos, evaluations.portraits(2))
    words = ["evaluate", "photo2cartoon-lite", str(photos), "--cartoons", str(world.cartoons)]
    words += ["--raw", str(raw), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(commands, words)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"]["served"] == 2
    served = report["colours"]["sets"][1]["figures"]
    assert served["stains"]["value"] < 0.15  # drawn, they are more than a third


def test_command_errors(world: Request, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    raw = evaluations.write(tmp_path / "raw", [np.zeros((300, 200, 3), np.uint8)] * 5)
    one = evaluations.write(tmp_path / "one", evaluations.portraits(1))
    broken = tmp_path / "broken.png"
    wide = evaluations.network(tmp_path / "wide.onnx", "Identity", ("N", 3, 128, 128))
    infinite = evaluations.network(tmp_path / "infinite.onnx", "Log", ("N", 3, 256, 256))
    thin = evaluations.network(
        tmp_path / "thin.onnx", "ReduceMean", ("N", 3, 256, 256), axes=[1], keepdims=1
    )
    out = tmp_path / "out"
    cases: list[tuple[dict[str, Path], str]] = [
        ({"photos": empty}, "there is no picture in"),
        ({"photos": tmp_path / "none"}, "is not a folder"),
        ({"photos": raw}, "must have 256x256 px, as prepare-data writes them: p0.png 200x300"),
        ({"photos": one}, "has one picture: two are needed at least"),
        ({"pairs": world.photos}, "must have 512x256 px"),
        ({"cartoons": raw}, "must be squares: p0.png 200x300"),
        ({"model": tmp_path / "none.onnx"}, "cannot read"),
        ({"model": world.groups or out}, "is not an ONNX file that runs"),
        ({"model": wide}, "not float32 (N, 3, 256, 256)"),
        ({"model": infinite}, "infinite.onnx gives (1, 3, 256, 256), not finite"),
        ({"model": thin}, "thin.onnx gives (1, 1, 256, 256), not finite"),
        ({"groups": tmp_path / "none.csv"}, "cannot read"),
        ({"identity": tmp_path / "none.tflite"}, "cannot read"),
        ({"out": world.photos / "out"}, "must not lie among the pictures"),
        ({"out": world.model / "out"}, "cannot make"),
    ]
    for changes, message in cases:
        result = CliRunner().invoke(commands, _command(world, **{"out": out, **changes}))
        said = " ".join(result.stderr.split())
        assert result.exit_code == 2, message
        assert message in said
        assert not (out / "report.json").exists()
    broken.write_bytes(b"not a picture")
    (raw / "p9.png").write_bytes(b"not a picture")
    result = CliRunner().invoke(commands, _command(world, photos=raw, out=out))
    assert result.exit_code == 2
    assert "cannot read" in " ".join(result.stderr.split())


def test_a_photo_in_two_forms_is_told(world: Request, tmp_path: Path) -> None:
    photos = evaluations.write(tmp_path / "photos", evaluations.portraits(2))
    Pillow.open(photos / "p0.png").save(photos / "p0.webp")
    with pytest.raises(EvaluationError, match="differ by their suffix only"):
        _run(replace(world, photos=photos, groups=None, out=tmp_path / "out"))


def test_a_manifest_of_other_photos_is_told(world: Request, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("file,group\nx.jpg,glasses\n")
    with pytest.raises(EvaluationError, match="gives no photo"):
        _run(replace(world, groups=groups, out=tmp_path / "out"))
