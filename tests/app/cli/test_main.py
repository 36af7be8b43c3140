"""The command line: photos in, files out, exit codes that scripts can use."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from photo2cartoon import __version__
from photo2cartoon.cli.main import commands
from photo2cartoon.ground.errors import UnsupportedFormat
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.pipeline.pictures import dots
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


def test_a_drawing_in_which_nothing_is_seen_is_not_written(tmp_path: Path, photo: bytes) -> None:
    blank = tmp_path / "dots.png"
    blank.write_bytes(dots(photo))
    code, output = run(PHOTO, blank, "-o", tmp_path / "out")
    assert code == 1
    assert f"{blank}: A face was found, but nobody around it stands out" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["astronaut-cartoon.png"]


def test_many_photos_into_a_folder(tmp_path: Path, photo: bytes) -> None:
    second = tmp_path / "second.jpg"
    second.write_bytes(photo)
    code, _ = run(PHOTO, second, "-o", tmp_path / "out", "--format", "jpeg")
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["astronaut-cartoon.jpg", "second-cartoon.jpg"]


def test_without_an_output_the_cartoon_lies_beside_the_photo(tmp_path: Path, photo: bytes) -> None:
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    first.write_bytes(photo)
    second.write_bytes(photo)
    (tmp_path / "b-cartoon.png").write_bytes(b"mine")
    assert run(first, second)[0] == 0
    assert run(first, "--format", "webp")[0] == 0
    assert run(first)[0] == 0
    names = {path.name for path in tmp_path.iterdir()} - {"a.jpg", "b.jpg"}
    assert names == {
        "a-cartoon.png", "a-cartoon_2.png", "a-cartoon.webp", "b-cartoon.png", "b-cartoon_2.png",
    }  # fmt: skip
    assert (tmp_path / "b-cartoon.png").read_bytes() == b"mine"
    both = run(first, tmp_path / "a.jpg")
    assert both[0] == 2


def test_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, photo: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = pipeline.cartoonize(photo, pipeline.styles.settle(Options(format="jpeg")))[0]
    call = ["run", "-", "--format", "jpeg"]
    for more in ([], ["-o", "-"]):
        piped = CliRunner().invoke(commands, [*call, *more], input=photo)
        assert (piped.exit_code, piped.stdout_bytes) == (0, expected)
    from_file = CliRunner().invoke(commands, ["run", str(PHOTO), "--format", "jpeg", "-o", "-"])
    assert (from_file.exit_code, from_file.stdout_bytes) == (0, expected)
    assert list(tmp_path.iterdir()) == []
    for target, name in (("x.jpg", "x.jpg"), ("new.folder/", "new.folder/stdin-cartoon.jpg")):
        assert CliRunner().invoke(commands, [*call, "-o", target], input=photo).exit_code == 0
        assert (tmp_path / name).read_bytes() == expected
    empty = CliRunner().invoke(commands, call, input=b"")
    assert (empty.exit_code, empty.stdout_bytes) == (1, b"")
    assert "unsupported_format" in empty.stderr


def test_a_wrong_suffix_a_folder_and_a_misspelt_option_are_explained(tmp_path: Path) -> None:
    code, output = run(PHOTO, "-o", tmp_path / "x.gif")
    assert code == 2
    said = "no picture can be written as .gif: the name must end in .png, .jpg, .jpeg or .webp, or"
    assert said in re.sub(r"[│\s]+", " ", output)
    code, output = run(tmp_path, "-o", tmp_path / "out")
    assert (code, "photo2cartoon bulk draws a whole folder" in output) == (1, True)
    code, output = run(PHOTO, "--stlye", "comic")
    assert (code, "--style" in output) == (2, True)


def test_version_and_help_in_short() -> None:
    told = CliRunner().invoke(commands, ["--version"])
    assert (told.exit_code, told.stdout.strip()) == (0, __version__)
    for call in (["-h"], ["run", "-h"], ["models", "list", "-h"]):
        assert "Usage" in CliRunner().invoke(commands, call).stdout


def test_a_name_that_is_no_utf8_is_drawn_and_shown(tmp_path: Path, photo: bytes) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    Path(name).write_bytes(photo)
    code, output = run(name, "-o", tmp_path / "out")
    assert (code, "caf\\xe9.jpg -> " in output) == (0, True)
    (drawn,) = os.listdir(os.fsencode(tmp_path / "out"))
    assert drawn == b"caf\xe9-cartoon.png"


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
        [PHOTO, PHOTO.parent / "other.jpg", "-o", "one.png"],
        [PHOTO, "-o", "x.gif"],
        [PHOTO, "-o", "new/x.TIFF"],
        [PHOTO, PHOTO.parent / "other.jpg", "-o", "-"],
        ["-", "--faces", "all"],
        [PHOTO, "--stlye", "comic"],
        [PHOTO, PHOTO.parent / ".." / "photos" / PHOTO.name, "-o", "folder"],
        [PHOTO, "-o", PHOTO],
        [PHOTO, "-o", "x.png", "--format", "jpeg"],
        [PHOTO, "-o", "out", "--format", "gif"],
    ],
    ids=[
        "two into one file",
        "a suffix that is no format",
        "another one",
        "two into one stream",
        "all faces into one stream",
        "no such option",
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
