"""A folder in, a folder out: whole files, a true report, and no work twice."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from photo2cartoon.cli.bulk import (
    Outcome,
    Shard,
    plan_targets,
    run_bulk,
    write_pictures,
    write_report,
)
from photo2cartoon.cli.main import commands
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon_models.files import find_photos
from tests.app.pipeline.pictures import dots
from tests.places import ROOT


@pytest.fixture
def folder(tmp_path: Path, photo: bytes) -> Path:
    source = tmp_path / "in"
    for name in ("a.jpg", "sub/b.JPEG", "sub/c d.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(photo)
    (source / "text.png").write_text("no picture")
    (source / "notes.txt").write_text("not a photo")
    return source


def bulk(pipeline: Pipeline, source: Path, target: Path, **choices: object) -> list[Outcome]:
    given: dict[str, object] = {"threads": 2, "again": False} | choices
    targets = plan_targets(find_photos(source, outside=target), source, target, ".png")
    work = run_bulk(pipeline, targets, source, Options(), **given)  # type: ignore[arg-type]
    return sorted(work, key=lambda outcome: outcome.photo)


def test_every_photo_has_one_outcome(pipeline: Pipeline, folder: Path, tmp_path: Path) -> None:
    outcomes = bulk(pipeline, folder, tmp_path / "out")
    found = [(outcome.photo, outcome.status, outcome.code) for outcome in outcomes]
    assert found == [
        ("a.jpg", "done", ""),
        ("sub/b.JPEG", "done", ""),
        ("sub/c d.jpg", "done", ""),
        ("text.png", "failed", "unsupported_format"),
    ]
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    names = [str(path.relative_to(tmp_path / "out")) for path in files]
    assert names == ["a-cartoon.png", "sub/b-cartoon.png", "sub/c d-cartoon.png"]
    for path in files:
        with Image.open(path) as image:
            assert image.size == (256, 256)


def test_a_drawing_in_which_nothing_is_seen_is_a_failure_of_its_own(
    pipeline: Pipeline, tmp_path: Path, photo: bytes
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "dots.png").write_bytes(dots(photo))
    (outcome,) = bulk(pipeline, source, tmp_path / "out")
    assert (outcome.status, outcome.code) == ("failed", "no_face")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_utf8_is_escaped_in_the_report(
    monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, tmp_path: Path, photo: bytes
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.jpg").write_bytes(photo)
    (source / "._a.jpg").write_bytes(b"\0\5\x16\7")  # macOS: not a photo
    Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.jpg")).write_bytes(photo)
    done = CliRunner().invoke(commands, ["bulk", str(source), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    names = sorted(os.listdir(os.fsencode(tmp_path / "out")))
    assert names == [b"a-cartoon.png", b"caf\xe9-cartoon.png", b"report.csv"]
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8", newline="") as file:
        assert [row["photo"] for row in csv.DictReader(file)] == ["a.jpg", "caf\\xe9.jpg"]


def test_a_second_run_does_only_what_is_missing(
    pipeline: Pipeline, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    bulk(pipeline, folder, target)
    (target / "a-cartoon.png").unlink()
    (target / "sub" / "b-cartoon.png").write_bytes(b"mine")
    statuses = [outcome.status for outcome in bulk(pipeline, folder, target)]
    assert statuses == ["done", "skipped", "skipped", "failed"]
    assert (target / "sub" / "b-cartoon.png").read_bytes() == b"mine"
    statuses = [outcome.status for outcome in bulk(pipeline, folder, target, again=True)]
    assert statuses == ["done", "done", "done", "failed"]
    assert (target / "sub" / "b-cartoon.png").read_bytes() != b"mine"


def test_cartoons_of_an_earlier_run_are_no_photos(
    pipeline: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    inside = folder / "cartoons"
    first = bulk(pipeline, folder, inside)
    again = bulk(pipeline, folder, inside)
    assert [outcome.photo for outcome in again] == [outcome.photo for outcome in first]
    onto_itself = CliRunner().invoke(commands, ["bulk", str(folder), str(folder)])
    assert onto_itself.exit_code == 2
    assert not (folder / "report.csv").exists()


def test_photos_inside_the_folder_of_the_cartoons(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    (folder / "text.png").unlink()
    call = ["bulk", str(folder), str(folder.parent)]
    for counts in ("3 done, 0 skipped, 0 failed", "0 done, 3 skipped, 0 failed"):
        done = CliRunner().invoke(commands, call)
        assert (done.exit_code, counts in done.stdout) == (0, True)
    assert (folder.parent / "sub" / "b-cartoon.png").exists()
    (folder / "in").mkdir()  # in/in/x.jpg would become in/x-cartoon.png, a photo of the next run
    refused = CliRunner().invoke(commands, call)
    assert refused.exit_code == 2
    assert "would lie among the photos" in re.sub(r"[│\s]+", " ", refused.stderr)


def test_a_photo_without_a_face_is_drawn_if_the_call_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, faceless: bytes
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "hidden.png").write_bytes(faceless)
    call = ["bulk", str(tmp_path / "in"), str(tmp_path / "out")]
    done = CliRunner().invoke(commands, call)
    assert (done.exit_code, "(no_face)" in done.stderr) == (1, True)
    assert CliRunner().invoke(commands, [*call, "--on-no-face", "centre"]).exit_code == 0
    with Image.open(tmp_path / "out" / "hidden-cartoon.png") as image:
        assert image.size == (256, 256)
    one = ["run", str(tmp_path / "in" / "hidden.png"), "-o", str(tmp_path / "one.png")]
    assert CliRunner().invoke(commands, one).exit_code == 1
    assert CliRunner().invoke(commands, [*one, "--on-no-face", "centre"]).exit_code == 0
    assert CliRunner().invoke(commands, [*one, "--on-no-face", "draw"]).exit_code == 2


def test_names_that_differ_in_the_suffix_only_do_not_meet(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("x.jpg", "x.png", "y.png", "s/x.jpg")]
    targets = plan_targets(photos, tmp_path, Path("out"), ".webp")
    assert [str(path) for path in targets.values()] == [
        "out/x.jpg-cartoon.webp",
        "out/x.png-cartoon.webp",
        "out/y-cartoon.webp",
        "out/s/x-cartoon.webp",
    ]


def test_disk_failures_are_outcomes(pipeline: Pipeline, folder: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").unlink()
    (folder / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    target = tmp_path / "out"
    target.mkdir()
    (target / "sub").write_text("in the way")
    codes = {outcome.photo: outcome.code for outcome in bulk(pipeline, folder, target)}
    assert "a.jpg" not in codes  # a dangling link is no file
    assert codes["sub/b.JPEG"] == "unwritable_file"


def test_a_bug_costs_one_photo_only(
    pipeline: Pipeline, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = pipeline.cartoonize, []

    def fails_once(photo: bytes, options: Options) -> list[bytes]:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("a bug")
        return real(photo, options)

    monkeypatch.setattr(pipeline, "cartoonize", fails_once)
    outcomes = bulk(pipeline, folder, tmp_path / "out", threads=1)
    assert [outcome.code for outcome in outcomes].count("internal_error") == 1
    assert [outcome.status for outcome in outcomes].count("done") == 2


def test_several_pictures_are_all_there_when_the_first_is(tmp_path: Path) -> None:
    places = write_pictures([b"1", b"2", b"3"], tmp_path / "new" / "x-cartoon.png")
    assert [place.name for place in places] == [f"x-cartoon-{number}.png" for number in (1, 2, 3)]
    assert [place.read_bytes() for place in places] == [b"1", b"2", b"3"]
    times = [place.stat().st_ctime_ns for place in places]
    assert times == sorted(times, reverse=True)
    assert not list(tmp_path.rglob("*.part"))


def test_reports(tmp_path: Path) -> None:
    outcomes = [
        Outcome("b.jpg", "failed", "no_face", "No face, sorry"),
        Outcome("a.jpg", "done", pictures=1, seconds=0.1),
    ]
    write_report(outcomes, tmp_path / "r.csv")
    write_report(outcomes, tmp_path / "r.json")
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo"] for row in rows] == ["a.jpg", "b.jpg"]
    assert rows[1]["detail"] == "No face, sorry"
    assert json.loads((tmp_path / "r.json").read_text())[1]["code"] == "no_face"


def test_the_command_reports_and_exits_by_outcome(
    pipeline: Pipeline, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    target = tmp_path / "out"
    failed = CliRunner().invoke(commands, ["bulk", str(folder), str(target), "--format", "jpeg"])
    assert failed.exit_code == 1
    assert "text.png: " in failed.output
    assert "3 done, 0 skipped, 1 failed" in failed.output
    assert (target / "report.csv").exists()
    (folder / "text.png").unlink()
    report = tmp_path / "r.json"
    fine = CliRunner().invoke(
        commands, ["bulk", str(folder), str(target), "--format", "jpeg", "--report", str(report)]
    )
    assert fine.exit_code == 0
    assert {row["status"] for row in json.loads(report.read_text())} == {"skipped"}


def test_shards_are_the_whole_and_do_not_meet(
    pipeline: Pipeline, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    target = tmp_path / "out"
    reported = []
    for index in range(3):
        call = ["bulk", str(folder), str(target), "--shard", f"{index}/3"]
        code = CliRunner().invoke(commands, call).exit_code
        with (target / f"report-{index}.csv").open(newline="") as file:
            reported.append({row["photo"]: row["status"] for row in csv.DictReader(file)})
        assert code == (1 if "text.png" in reported[-1] else 0)  # it fails, in one of them
    assert sum(map(len, reported)) == 4
    whole = {photo: status for part in reported for photo, status in part.items()}
    assert whole == {
        **dict.fromkeys(("a.jpg", "sub/b.JPEG", "sub/c d.jpg"), "done"),
        "text.png": "failed",
    }
    assert not (target / "report.csv").exists()


def test_a_shard_is_told_by_the_name_alone() -> None:
    names = [f"{number}.jpg" for number in range(1000)]
    parts = [{name for name in names if Shard(index, 4).has(name)} for index in range(4)]
    assert set().union(*parts) == set(names)
    assert all(200 < len(part) < 300 for part in parts)
    assert Shard(0, 1).has("a\udcff.jpg")  # a name that is no UTF-8


@pytest.mark.parametrize("shard", ["", "1", "1/1", "-1/4", "4/4", "0/0", "a/b"])
def test_a_wrong_shard_is_a_wrong_call(folder: Path, tmp_path: Path, shard: str) -> None:
    call = ["bulk", str(folder), str(tmp_path / "out"), "--shard", shard]
    assert CliRunner().invoke(commands, call).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing", "empty", "file"])
def test_a_wrong_source_is_a_wrong_call(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    result = CliRunner().invoke(commands, ["bulk", str(tmp_path / name), str(tmp_path / "out")])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_stopped_run_leaves_whole_files_and_goes_on(tmp_path: Path, photo: bytes) -> None:
    source, target, count = tmp_path / "in", tmp_path / "out", 16
    source.mkdir()
    one_lane = {**os.environ, "P2C_THREADS": "1"}  # many cores would be done before the signal
    for number in range(count):
        (source / f"{number:02}.jpg").write_bytes(photo)
    # A shell that runs the tests in the background has told them, and so their children, to ignore
    # Ctrl-C; the command must hear it here.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from photo2cartoon.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "bulk", str(source), str(target)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=one_lane, stdout=pipe, stderr=pipe)
    while len(list(target.glob("*.png"))) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    first = {path.name: path.stat().st_mtime_ns for path in target.glob("*.png")}
    assert 4 <= len(first) < count
    for path in target.glob("*.png"):
        with Image.open(path) as image:
            image.load()
    again = subprocess.run(
        command, cwd=ROOT, env=one_lane, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert f"{count - len(first)} done, {len(first)} skipped, 0 failed" in again.stdout
    assert all((target / name).stat().st_mtime_ns == when for name, when in first.items())
    assert len(find_photos(target)) == count
