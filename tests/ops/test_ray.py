"""Bulk on a real Ray cluster of two nodes, from S3 to S3, while its processes are killed.

Ray, an S3 server (moto) and s3fs live in an environment of their own, which `make test-ops` builds:
requirements/ray.in. `benchmarks.ray_bulk` does the same with 1,000 photos.
"""

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ray_bulk import digest, draw_under_fire, make_photos, start_bulk
from benchmarks.ray_cluster import PROGRAMS, Store, cluster
from tests.places import PHOTO

COUNT = 30
# A photo whose name holds `poison` ends the process that draws it, as a bug in native code would.
POISONED = """
import os, signal, sys
from photo2cartoon.cli import main, on_ray

class Drawer(on_ray.Drawer):
    def draw(self, photo, place):
        if "poison" in photo:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().draw(photo, place)

on_ray.Drawer = Drawer
begin = on_ray.connect

def connect(address):
    begin(address)
    from ray._common.usage import usage_lib
    from ray._private.worker import _global_node as node
    assert not usage_lib.usage_stats_enabled()
    assert not node.webui_url
    print("session", node.get_session_dir_path())

on_ray.connect = connect
main.main()
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """S3 with `COUNT` photos that all differ."""
    assert (PROGRAMS / "ray").exists(), "`make test-ops` builds .venv-ray"
    folder = tmp_path_factory.mktemp("photos")
    make_photos(PHOTO.parent, folder, COUNT)
    with Store() as store:
        store.transfer("put", f"{folder}/", "bucket/in/")
        yield store


def get(store: Store, target: str, folder: Path) -> dict[str, str]:
    store.transfer("get", f"bucket/{target}/", f"{folder / target}/")
    return digest(folder / target)


def test_kills_lose_nothing_and_double_nothing(store: Store, tmp_path: Path) -> None:
    with cluster(store) as (address, nodes):
        options = (
            "--engine",
            "ray",
            "--address",
            address,
            "--report",
            f"{tmp_path}/report.parquet",
        )
        there, said = draw_under_fire(store, "fire", COUNT, nodes, *options)
        refused = start_bulk(store, "none", *options[:4], "--style", "none")
        said_of_it = refused.communicate()[1]
        assert "style must be one of" in said_of_it
        assert "a worker" not in said_of_it
        assert refused.returncode == 2
    assert 20 <= there < COUNT
    assert f"{COUNT - there} done, {there} skipped, 0 failed" in said
    on_one_machine = start_bulk(store, "local")
    on_one_machine.communicate()
    assert on_one_machine.returncode == 0
    local = get(store, "local", tmp_path)
    assert len(local) == COUNT
    assert get(store, "fire", tmp_path) == local
    program = "import sys, pyarrow.parquet; print(pyarrow.parquet.read_table(sys.argv[1]).num_rows)"
    read: list[str | Path] = [PROGRAMS / "python", "-c", program, tmp_path / "report.parquet"]
    assert subprocess.run(read, capture_output=True, check=True).stdout == b"%d\n" % COUNT


def test_a_photo_that_kills_workers_costs_itself(store: Store, tmp_path: Path) -> None:
    """On a cluster that the command starts, between paths; it tells nobody and leaves nothing."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    names = ["a.jpg", "poison.jpg", "sub/b.jpg", "sub/c.jpg"]
    for name in names:
        (folder / name).write_bytes(PHOTO.read_bytes())
    command: list[str | Path] = [
        PROGRAMS / "python",
        "-c",
        POISONED,
        "bulk",
        "in",
        "out",
        "--engine",
        "ray",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=store.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 done, 0 skipped, 1 failed" in done.stdout
    with (tmp_path / "out" / "report.csv").open(newline="") as file:
        rows = {row["photo"]: (row["status"], row["code"]) for row in csv.DictReader(file)}
    well = ("done", "")
    assert rows == dict.fromkeys(names, well) | {"poison.jpg": ("failed", "worker_lost")}
    session = Path(done.stdout.split("session ")[1].split()[0])
    assert session.is_dir()
    assert not list(session.rglob("usage_stats.json"))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert str(session).encode() not in (process / "cmdline").read_bytes(), process
        except OSError:
            continue  # it has ended meanwhile
