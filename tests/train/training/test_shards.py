"""Training data from shards: the folders that they were made of, wherever they lie."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from photo2cartoon.cli.shards import write_shards
from photo2cartoon_models.train import main
from photo2cartoon_models.training.config import load_config
from photo2cartoon_models.training.data import DataError
from photo2cartoon_models.training.shards import UNPACKED, unpack
from tests.train import toy
from tests.train.toy import configured, into

STORE = "memory://store"


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name not in ("shards", "cache")
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = toy.make(tmp_path / "toy", count=6)
    lines = (data / "faces.jsonl").read_text().splitlines()
    (data / "faces.jsonl").write_text("".join(f"{line}\n" for line in sorted(lines)))
    return data


@pytest.fixture
def store(data: Path) -> Iterator[list[Path]]:
    """An object store that has the data as three shards."""
    paths = write_shards(data, 3)
    files = fsspec.filesystem("memory")
    for path in paths:
        files.pipe_file(f"/store/{path.name}", path.read_bytes())
    yield paths
    files.rm("/store", recursive=True)


@pytest.mark.parametrize("names", ["{0000..0002}.tar", "*.tar"])
def test_they_give_the_folder_that_they_were_made_of(
    data: Path, store: list[Path], tmp_path: Path, names: str
) -> None:
    unpack([f"{STORE}/{names}"], tmp_path / "there")
    found = below(tmp_path / "there")
    listed = found.pop(UNPACKED).decode().split()
    assert [name.rpartition("/")[2] for name in listed] == [path.name for path in store]
    assert found == below(data)


def test_what_is_there_is_not_read_again(store: list[Path], tmp_path: Path) -> None:
    """A shard that is damaged stops the run; the next one goes on with that shard."""
    whole = store[1].read_bytes()
    store[1].write_bytes(whole[:2000])
    names = [str(store[0].parent / "{0000..0001}.tar"), str(store[2])]
    with pytest.raises(DataError, match=r"0001\.tar: not what prepare-data writes"):
        unpack(names, tmp_path / "there")
    store[1].write_bytes(whole)
    store[0].unlink()
    unpack(names, tmp_path / "there")
    assert len((tmp_path / "there" / UNPACKED).read_text().split()) == 3
    assert len(list((tmp_path / "there" / "trainA").iterdir())) == 6


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"json": b'{"picture": "../x.png"}', "png": b"x"}, r"a picture named \.\./x\.png"),
        ({"json": b'{"picture": "trainA/../../x.png"}', "png": b"x"}, "a picture named"),
        ({"json": b'{"picture": "/trainA/x.png"}', "png": b"x"}, "a picture named"),
        ({"json": b'{"picture": "trainA/x.so"}', "png": b"x"}, "a picture named"),
        ({"json": b'{"picture": "trainA/x.png"}'}, "KeyError"),
        ({"jpg": b"x", "txt": b"a face"}, "KeyError"),
    ],
)
def test_others_shards_are_refused(tmp_path: Path, sample: dict[str, bytes], words: str) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for kind, content in sample.items():
            entry = tarfile.TarInfo(f"0.{kind}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(DataError, match=rf"x\.tar: not what prepare-data writes: .*{words}"):
        unpack([str(path)], tmp_path / "there")
    assert not list((tmp_path / "there").rglob("x*"))


@pytest.mark.parametrize("name", ["none.tar", "none*.tar", "nothing://x.tar"])
def test_a_shard_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    place = name if "://" in name else str(tmp_path / name)
    with pytest.raises(DataError, match=name.partition(".")[0].replace("*", r"\*")):
        unpack([place], tmp_path)


def test_a_run_unpacks_what_it_lacks(data: Path, store: list[Path], tmp_path: Path) -> None:
    arguments = [*configured("fast", tmp_path / "there", tmp_path), *into(tmp_path / "run")]
    arguments += ["-o", f"dataset.train.shards={STORE}/*.tar", "stages.0.iterations=1"]
    assert main([*arguments, "stages.1.iterations=1"]) == 0
    assert json.loads((tmp_path / "there" / "faces.jsonl").read_text().splitlines()[0])["points"]
    config = load_config(arguments[1], [f"dataset.train.shards=['{STORE}/0.tar', '1.tar']"])
    assert config.dataset.train.shards == [f"{STORE}/0.tar", "1.tar"]
