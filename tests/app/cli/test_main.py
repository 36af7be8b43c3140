"""The command line: photos in, files out, exit codes that scripts can use."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.ground.errors import UnsupportedFormat
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.places import PHOTO


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(commands, ["run", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.JPEG", "JPEG"), ("d.webp", "WEBP")]
)
def test_one_photo_into_a_file_of_its_format(tmp_path: Path, name: str, kind: str) -> None:
    code, output = run(PHOTO, "-o", tmp_path / "new" / name)
    assert code == 0
    assert name in output
    with Image.open(tmp_path / "new" / name) as image:
        assert (image.format, image.size) == (kind, (256, 256))


def test_the_file_is_what_http_would_answer(
    tmp_path: Path, pipeline: Pipeline, photo: bytes
) -> None:
    run(PHOTO, "-o", tmp_path / "x.webp")
    assert [(tmp_path / "x.webp").read_bytes()] == pipeline.cartoonize(
        photo, Options(format="webp")
    )


def test_many_photos_into_a_folder(tmp_path: Path, photo: bytes) -> None:
    second = tmp_path / "second.jpg"
    second.write_bytes(photo)
    code, _ = run(PHOTO, second, "-o", tmp_path / "out", "--format", "jpeg")
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["astronaut-cartoon.jpg", "second-cartoon.jpg"]


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    text, missing = tmp_path / "text.jpg", tmp_path / "missing.jpg"
    text.write_text("no picture")
    code, output = run(text, missing, tmp_path, PHOTO, "-o", tmp_path / "out")
    assert code == 1
    assert f"{text}: {UnsupportedFormat.default_detail} (unsupported_format)" in output
    assert f"{missing}: No such file or directory" in output
    assert f"{tmp_path}: Is a directory" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["astronaut-cartoon.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        [PHOTO],
        [PHOTO, PHOTO.parent / "other.jpg", "-o", "one.png"],
        [PHOTO, PHOTO.parent / ".." / "photos" / PHOTO.name, "-o", "folder"],
        [PHOTO, "-o", PHOTO],
        [PHOTO, "-o", "x.png", "--format", "jpeg"],
        [PHOTO, "-o", "out", "--format", "gif"],
    ],
    ids=[
        "no output",
        "two into one file",
        "two with one name",
        "onto itself",
        "two formats",
        "no such format",
    ],
)
def test_a_wrong_call_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str | Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _ = run(*arguments)
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, output = run(PHOTO, "-o", tmp_path / "file" / "x.png")
    assert code == 1
    assert "in the way" not in output
    assert str(tmp_path / "file") in output


def test_a_style_and_a_size_by_name(tmp_path: Path) -> None:
    code, _ = run(PHOTO, "-o", tmp_path / "whole.png", "--style", "comic", "--compose", "whole")
    assert code == 0
    with Image.open(tmp_path / "whole.png") as image:
        assert image.size == (512, 512)
    code, _ = run(PHOTO, "-o", tmp_path / "small.png", "--size", "1024")
    assert code == 0
    with Image.open(tmp_path / "small.png") as image:
        assert image.size == (256, 256)  # the photo has no more
    code, output = run(PHOTO, "-o", tmp_path / "no.png", "--style", "oil")
    assert code == 2
    assert "style must be one of: photo2cartoon-lite, comic." in " ".join(output.split())
    assert not (tmp_path / "no.png").exists()
