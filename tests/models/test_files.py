"""Which files are photos, and files that are whole or not there."""

import threading
from pathlib import Path

import pytest

from photo2cartoon_models.files import find_photos, write_file, write_together, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_photos_are_found_by_suffix_below_the_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.TIF", "a.jpg", "s/c.heic", "notes.txt", "out/d.png", "folder.png/e.gif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "._a.jpg").write_bytes(bytes.fromhex("00051607") + bytes(4000))
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in find_photos(tmp_path)]
    assert found == ["a.jpg", "b.TIF", "folder.png/e.gif", "out/d.png", "s/c.heic"]
    outside = find_photos(tmp_path, outside=tmp_path / "out")
    assert [path.name for path in outside] == ["a.jpg", "b.TIF", "e.gif", "c.heic"]
    assert find_photos(tmp_path / "none") == []


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".heif", ".hif", ".avif", ".dib"])
def test_rarer_suffixes_are_photos_too(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    assert [path.suffix for path in find_photos(tmp_path)] == [suffix]


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_gets_its_name_when_all_of_it_is_written(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with write_whole(path, sync=sync) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["x", "x.part"]
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, b"old")

    def fail() -> None:
        with write_whole(path, "w") as stream:
            stream.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_text_is_utf8_with_the_line_ends_that_were_asked_for(tmp_path: Path) -> None:
    with write_whole(tmp_path / "x", "w", newline="\r\n") as stream:
        stream.write("\u00e4\n")
    assert (tmp_path / "x").read_bytes() == b"\xc3\xa4\r\n"


def test_two_writers_with_parts_of_their_own_do_not_meet(tmp_path: Path) -> None:
    path, opened = tmp_path / "x", threading.Barrier(2, timeout=30)

    def write(mark: bytes) -> None:
        with write_whole(path, part=f".{mark.decode()}.part") as stream:
            opened.wait()
            stream.write(mark * 9)

    other = threading.Thread(target=write, args=(b"b",))
    other.start()
    write(b"a")
    other.join()
    assert path.read_bytes() in (b"a" * 9, b"b" * 9)
    assert names(tmp_path) == ["x"]


def test_of_several_files_none_is_new_if_one_cannot_be_written(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "none" / "second"
    write_file(first, b"old")
    with pytest.raises(FileNotFoundError):
        write_together({first: b"new", second: b"new"})
    assert first.read_bytes() == b"old"
    assert names(tmp_path) == ["first"]
    second.parent.mkdir()
    write_together({first: b"1", second: b"2"})
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert second.stat().st_ctime_ns <= first.stat().st_ctime_ns
