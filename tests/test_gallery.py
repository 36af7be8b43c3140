"""The command that makes the README's picture: it shows what may be shown, with its credit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from examples import gallery
from tests.places import PHOTO

HEAD = "file,licence,repo,path\n"
COMMAND = typer.Typer(add_completion=False)
COMMAND.command()(gallery.main)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(PHOTO.read_bytes())
    return folder


def test_a_row_for_the_photo_and_each_style(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "credits.csv"
    rows = "a.jpg,Public domain,nasa,a\nb.jpg,MIT,x/y,b\nc.jpg,Unsplash licence,z,c\n"
    manifest.write_text(HEAD + rows)
    out = tmp_path / "gallery.jpg"
    call = [str(folder), str(manifest), "--style", "photo2cartoon-lite", "--out", str(out)]
    result = CliRunner().invoke(COMMAND, [*call, "--only", "b.jpg", "--only", "a.jpg"])
    assert result.exit_code == 0, result.output
    lines = out.with_suffix(".txt").read_text().splitlines()[2:]
    assert lines == ["b.jpg: x/y, b; MIT", "a.jpg: nasa, a; Public domain"]
    step, below = gallery.TILE + gallery.GAP, gallery.LABEL + gallery.TILE
    with Image.open(out) as picture:
        assert picture.size == (2 * step + gallery.GAP, 2 * below + gallery.GAP)
        grid = np.asarray(picture).astype(int)
    tiles = grid[gallery.LABEL : below, gallery.GAP :], grid[below + gallery.LABEL :, gallery.GAP :]
    photo, cartoon = (tile[: gallery.TILE, : gallery.TILE] for tile in tiles)
    twin = tiles[0][: gallery.TILE, step : step + gallery.TILE]
    assert np.abs(photo - twin).mean() < 3  # the same photo twice
    assert np.abs(photo - cartoon).mean() > 20
    assert cartoon[:8, :8].min() > 240  # on white


@pytest.mark.parametrize(
    ("row", "message"),
    [("a.jpg,Unsplash licence,z,a", "its licence is Unsplash"), ("b.jpg,MIT,z,b", "no credit")],
)
def test_what_may_not_be_shown_is_not(folder: Path, tmp_path: Path, row: str, message: str) -> None:
    manifest = tmp_path / "credits.csv"
    manifest.write_text(f"{HEAD}{row}\n")
    out = tmp_path / "gallery.jpg"
    call = [str(folder), str(manifest), "--style", "photo2cartoon-lite", "--out", str(out)]
    result = CliRunner().invoke(COMMAND, [*call, "--only", "a.jpg"])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not out.exists()


def test_the_file_is_bounded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    sharp = gallery.encode_within(noise, 10**6)
    small = gallery.encode_within(noise, len(sharp) - 1)
    assert len(small) < len(sharp)
    with pytest.raises(typer.BadParameter, match="choose fewer photos"):
        gallery.encode_within(noise, 1000)
