"""The engine on the real models: what decides the bytes of an answer, and what must not."""

import asyncio
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from photo2cartoon.engine import etag
from photo2cartoon.engine.engine import Engine, memory_budget
from photo2cartoon.engine.etag import fingerprint, make_etag
from photo2cartoon.ground.machine import MIB
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import cartoonize_many
from tests.places import ROOT

PNG = Options(format="png")


@pytest.fixture(scope="module")
def batching() -> Iterator[Engine]:
    """Two cores' lanes before batchers, as on a GPU; the networks run on this CPU."""
    engine = Engine(
        Settings(threads=2, max_batch=4, generator=Path(LITE), styles=()), open_pipeline
    )
    yield engine
    engine.close()


def test_batches_give_the_same_bytes_as_one_by_one(
    batching: Engine, pipeline: Pipeline, photo: bytes
) -> None:
    (alone,) = pipeline.cartoonize(photo, PNG)
    assert cartoonize_many(batching, [photo] * 12) == [alone] * 12
    matte, generator = batching.pipeline.batchers
    for batcher, looks in ((matte, 2), (generator, 1)):  # a matte's mirror image as well
        assert sum(size * count for size, count in batcher.sizes.items()) == 12 * looks
    assert any(count for size, count in generator.sizes.items() if size > 1)
    assert batching.lanes.threads == 10


def test_a_batchers_death_is_the_engines(photo: bytes) -> None:
    engine = Engine(
        Settings(threads=1, max_batch=2, generator=Path(LITE), styles=()), open_pipeline
    )
    before = engine.alive
    engine.pipeline.batchers[1].alive = False
    assert (before, engine.alive) == (True, False)
    engine.close()


def test_kept_pictures_are_not_drawn_again(pipeline: Pipeline, photo: bytes) -> None:
    engine = Engine(Settings(threads=1, cache_bytes=1_000_000), lambda _: pipeline)
    (alone,) = pipeline.cartoonize(photo, PNG)
    assert cartoonize_many(engine, [photo] * 5) == [alone] * 5
    assert engine.results.counts == {"miss": 1, "shared": 4}
    assert cartoonize_many(engine, [photo]) == [alone]
    assert engine.results.counts["hit"] == 1
    engine.close()


def test_a_large_photo_is_named_like_a_small_one(pipeline: Pipeline, photo: bytes) -> None:
    engine = Engine(Settings(threads=1), lambda _: pipeline)
    large = photo + bytes(1_000_000)  # a JPEG ends where it ends
    for file in (photo, large):
        assert asyncio.run(engine.name(file, PNG)) == make_etag(file, PNG, engine._fingerprint)
    assert cartoonize_many(engine, [large]) == pipeline.cartoonize(large, PNG)
    engine.close()


def test_the_etag_follows_all_that_decides_the_bytes(pipeline: Pipeline, photo: bytes) -> None:
    device = pipeline.device.describe()
    engine = fingerprint(pipeline.models, device)
    assert engine == fingerprint(pipeline.models, device)
    changed = [replace(pipeline.models[0], sha256="0" * 64), *pipeline.models[1:]]
    engines = [
        engine,
        fingerprint(changed, device),
        fingerprint(pipeline.models, "CUDAExecutionProvider"),
    ]
    etags = {make_etag(photo, PNG, each) for each in engines}
    etags |= {make_etag(photo, Options(format="jpeg"), engine), make_etag(b"x", PNG, engine)}
    assert len(etags) == 5
    assert all(etag.startswith('"') and etag.endswith('"') and len(etag) == 34 for etag in etags)


def test_on_a_gpu_the_etag_promises_no_more_than_likeness(photo: bytes) -> None:
    strong, weak = (make_etag(photo, PNG, b"", weak=weak) for weak in (False, True))
    assert weak == f"W/{strong}"


def test_the_etag_knows_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint([], "cpu")
    monkeypatch.setattr(etag, "version", lambda package: f"{package} of another day")
    assert fingerprint([], "cpu") != before


def test_the_installed_version_is_the_projects() -> None:
    assert f'\nversion = "{version("photo2cartoon")}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, math.inf),  # nothing limits it
        (2000 * MIB, (1800 - 300 - 200) * MIB),  # what the process and the bodies leave
        (600 * MIB, (540 - 300) / 2 * MIB),  # at least half of what the process leaves
        (100 * MIB, 0.5),  # nothing is left, so nothing is drawn
    ],
)
def test_the_budget_is_what_the_limit_leaves(limit: int | None, expected: float) -> None:
    settings = Settings(max_buffered_bytes=200 * MIB)
    assert memory_budget(settings, limit, 300 * MIB) == pytest.approx(expected)
    asked = Settings(max_buffered_bytes=200 * MIB, memory_budget=7 * MIB)
    assert memory_budget(asked, limit, 300 * MIB) == 7 * MIB


def test_the_engine_knows_no_http() -> None:
    words = re.compile(r"header|request|response|http|if-none-match|status", re.IGNORECASE)
    files = list(Path(etag.__file__).parent.glob("*.py"))
    assert len(files) > 3
    for file in files:
        assert not words.findall(file.read_text()), file.name
