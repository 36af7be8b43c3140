"""Bulk between URLs: the same folders as by path, whole files, and nothing drawn twice."""

import csv
import io
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from photo2cartoon.cli import bulk_sources
from photo2cartoon.cli.bulk import Shard
from photo2cartoon.cli.main import commands
from photo2cartoon.cli.objects import Folder, Work, draw_here
from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.pipeline import Pipeline

STORE = fsspec.filesystem("memory")
NAMES = ("a.jpg", "sub/b.JPEG", "sub/c d.jpg")
CARTOONS = ["a-cartoon.png", "sub/b-cartoon.png", "sub/c d-cartoon.png"]


@pytest.fixture(autouse=True)
def opened(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)


@pytest.fixture
def bucket(photo: bytes) -> Iterator[str]:
    """A store with three photos and two files that are none."""
    for name in NAMES:
        STORE.pipe_file(f"/bucket/in/{name}", photo)
    STORE.pipe_file("/bucket/in/text.png", b"no picture")
    STORE.pipe_file("/bucket/in/notes.txt", b"not a photo")
    yield "memory://bucket"
    STORE.rm("/bucket", recursive=True)


def bulk(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(commands, ["bulk", *words])
    return done.exit_code, done.output


def rows(content: bytes) -> dict[str, str]:
    reader = csv.DictReader(io.StringIO(content.decode(), newline=""))
    return {row["photo"]: row["status"] for row in reader}


def test_urls_give_what_paths_give(bucket: str, photo: bytes, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(photo)
    (tmp_path / "in" / "text.png").write_text("no picture")
    assert bulk(str(tmp_path / "in"), str(tmp_path / "out"))[0] == 1
    code, output = bulk(f"{bucket}/in", f"{bucket}/out")
    assert code == 1
    assert "3 done, 0 skipped, 1 failed" in output
    out = Folder(f"{bucket}/out")
    assert out.names() == [*CARTOONS[:1], "report.csv", *CARTOONS[1:]]
    for name in CARTOONS:
        assert out.read(name) == (tmp_path / "out" / name).read_bytes()
    failed = {"text.png": "failed"}
    assert rows(out.read("report.csv")) == dict.fromkeys(NAMES, "done") | failed


def test_a_second_run_does_only_what_is_missing(bucket: str) -> None:
    bulk(f"{bucket}/in", f"{bucket}/out")
    STORE.rm("/bucket/out/a-cartoon.png")
    STORE.pipe_file("/bucket/out/sub/b-cartoon.png", b"mine")
    report = f"{bucket}/reports/second.csv"
    code, output = bulk(f"{bucket}/in", f"{bucket}/out", "--report", report)
    assert (code, "1 done, 2 skipped, 1 failed" in output) == (1, True)
    assert STORE.cat_file("/bucket/out/sub/b-cartoon.png") == b"mine"
    assert rows(STORE.cat_file("/bucket/reports/second.csv"))["sub/b.JPEG"] == "skipped"
    bulk(f"{bucket}/in", f"{bucket}/out", "--again")
    assert STORE.cat_file("/bucket/out/sub/b-cartoon.png") != b"mine"


def test_cartoons_inside_the_source_are_no_photos(bucket: str) -> None:
    bulk(f"{bucket}/in", f"{bucket}/in/cartoons")
    _, output = bulk(f"{bucket}/in", f"{bucket}/in/cartoons")
    assert "0 done, 3 skipped, 1 failed" in output


def test_several_pictures_are_all_there_when_the_first_is(bucket: str) -> None:
    out = Folder(f"{bucket}/out")
    written: list[str] = []
    real = out.files.pipe_file

    class Spy(type(out.files)):  # type: ignore[misc]
        def pipe_file(self, path: str, value: bytes) -> None:
            written.append(path)
            real(path, value)

    object.__setattr__(out, "files", Spy())
    out.write([b"1", b"2", b"3"], "x-cartoon.png")
    assert [path.rpartition("-")[2] for path in written] == ["3.png", "2.png", "1.png"]
    assert out.has("x-cartoon.png")
    assert not out.has("y-cartoon.png")


def test_a_tar_file_is_a_folder_and_its_names_stay_inside(photo: bytes, tmp_path: Path) -> None:
    """A shard of WebDataset; with one name that would leave the target, and one of a folder."""
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for name in ("000/a.jpg", "../../outside.jpg", "b.jpg"):
            entry = tarfile.TarInfo(name)
            entry.size = len(photo)
            shard.addfile(entry, io.BytesIO(photo))
    code, output = bulk(f"tar://::file://{tmp_path}/shard.tar", str(tmp_path / "deep" / "out"))
    assert code == 0, output
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert found == ["deep/out/000/a-cartoon.png", "deep/out/b-cartoon.png"]
    code, output = bulk(str(tmp_path / "deep"), f"tar://::file://{tmp_path}/shard.tar")
    assert code == 2
    assert "only object stores" in output


def test_shards_are_the_whole_and_do_not_meet(bucket: str) -> None:
    source, target = Folder(f"{bucket}/in"), Folder(f"{bucket}/out")
    parts = [Work.plan(source, target, Options(), Shard(i, 3), ".png").places for i in range(3)]
    assert sum(map(len, parts)) == 4
    assert {*parts[0], *parts[1], *parts[2]} == {*NAMES, "text.png"}


def test_what_a_store_cannot_do_is_an_outcome(
    bucket: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("the line is down")

    source, target = Folder(f"{bucket}/in"), Folder(f"{bucket}/out")
    work = Work.plan(source, target, Options(), Shard(0, 1), ".png")
    monkeypatch.setattr(type(STORE), "pipe_file", breaks)
    outcomes = list(draw_here(pipeline, work, threads=1, again=False))
    assert {outcome.code for outcome in outcomes} == {"unwritable_file", "unsupported_format"}
    assert "RuntimeError: the line is down" in {outcome.detail for outcome in outcomes}
    monkeypatch.setattr(type(STORE), "cat_file", breaks)
    outcomes = list(draw_here(pipeline, work, threads=1, again=False))
    assert {outcome.code for outcome in outcomes} == {"unreadable_file"}


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("{}/empty", "{}/out", "no photo"),
        ("{}/in", "{}/in", "of their own"),
        ("nowhere://in", "{}/out", "nowhere"),
        ("gs://in", "{}/out", "gcsfs"),
    ],
)
def test_a_wrong_call(bucket: str, source: str, target: str, why: str) -> None:
    code, output = bulk(source.format(bucket), target.format(bucket))
    assert code == 2
    assert why in " ".join(output.replace("│", "").split())


def test_without_fsspec_one_line_names_it(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bulk_sources, "find_spec", lambda name: None if name == "fsspec" else find_spec(name)
    )
    code, output = bulk(f"{bucket}/in", f"{bucket}/out")
    assert code == 2
    assert "fsspec" in output
