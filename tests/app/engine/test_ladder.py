"""Under load a smaller portrait before a refusal, for callers who allow it."""

import asyncio
import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from photo2cartoon.engine.engine import Engine
from photo2cartoon.engine.lanes import Lanes
from photo2cartoon.ground.errors import WouldBeLate
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline

ALLOWED = Options(style="comic", format="png", on_overload="smaller")
DEADLINE_S = 30.0


@pytest.fixture
def engine(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine(Settings(threads=1, max_queue=100, cache_bytes=1_000_000), lambda _: pipeline)
    monkeypatch.setattr(Lanes, "predicted_wait_s", 0.0)
    yield engine
    engine.lanes.close()


def wait(engine: Engine, seconds: float) -> None:
    """Have the lanes predict that wait."""
    type(engine.lanes).predicted_wait_s = seconds  # type: ignore[method-assign, assignment]


def size_under(engine: Engine, options: Options, pressure: float) -> int | None:
    """The size that is drawn where the wait is that share of the deadline."""
    wait(engine, pressure * DEADLINE_S)
    fitting = engine.fit(options, Ticket(DEADLINE_S))
    assert fitting.on_overload == "error"
    assert fitting.model_copy(update={"size": None}) == options.model_copy(
        update={"size": None, "on_overload": "error"}
    )
    return fitting.size


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [  # at 0, 0.4, 0.6, 0.8, 1.2 of the wait to a refusal
        (None, [None, None, 256, 256, 256]),
        (256, [256, 256, 256, 256, 256]),
        (512, [512, 512, 256, 256, 256]),
        (1024, [1024, 1024, 512, 256, 256]),
    ],
)
def test_each_step_has_its_pressure(engine: Engine, asked: int | None, drawn: list[int]) -> None:
    options = ALLOWED.model_copy(update={"size": asked})
    pressures = (0, 0.4, 0.6, 0.8, 1.2)
    assert [size_under(engine, options, pressure) for pressure in pressures] == drawn
    assert [size_under(engine, options, pressure) for pressure in pressures[::-1]] == drawn[::-1]


@pytest.mark.parametrize(
    "change",
    [
        {"on_overload": "error"},
        {"compose": "scene", "size": None},
        {"compose": "whole", "size": None},
        {"style": LITE},
    ],
)
def test_what_is_not_allowed_or_has_one_size_stays_as_it_is(
    engine: Engine, change: dict[str, str]
) -> None:
    options = ALLOWED.model_copy(update={"size": 1024, **change})
    assert size_under(engine, options, 0.99) == options.size


def test_the_setting_says_from_when(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lanes, "predicted_wait_s", 0.0)
    large = ALLOWED.model_copy(update={"size": 1024})
    drawn = {}
    for share in (0.01, 1.0):
        engine = Engine(Settings(threads=1, smaller_from=share), lambda _: pipeline)
        drawn[share] = [size_under(engine, large, pressure) for pressure in (0, 0.1, 0.9, 1.1)]
        engine.lanes.close()
    assert drawn == {0.01: [1024, 512, 256, 256], 1.0: [1024, 1024, 1024, 256]}


def test_a_smaller_one_may_be_in_time_where_a_large_one_is_not(engine: Engine) -> None:
    """1024 px take 3.7 s here, 512 px 1 s, 256 px a third of one."""
    engine.lanes.times.mean = 1.0
    wait(engine, 0.3)
    large = ALLOWED.model_copy(update={"size": 1024})
    sizes = [engine.fit(large, Ticket(seconds)).size for seconds in (6.0, 3.0, 1.0)]
    assert sizes == [1024, 512, 256]


def test_a_full_queue_presses_too(engine: Engine) -> None:
    wait(engine, 0.001)
    job = SimpleNamespace(weight=0)
    for waiting, size in ((49, 1024), (50, 512), (74, 512), (75, 256), (100, 256)):
        engine.lanes._waiting.extend([job] * waiting)  # type: ignore[list-item]
        ticket = Ticket(DEADLINE_S)
        drawn = engine.fit(ALLOWED.model_copy(update={"size": 1024}), ticket).size
        assert (drawn, ticket.facts.get("smaller")) == (size, None if size == 1024 else size)
        engine.lanes._waiting.clear()


def test_the_picture_is_named_by_the_size_that_is_drawn(engine: Engine) -> None:
    def choose(options: Options, pressure: float, *known: str) -> tuple[int | None, str]:
        wait(engine, pressure * DEADLINE_S)
        chosen = engine.choose(b"photo", options, Ticket(DEADLINE_S), known.__contains__)
        fitting, etag = asyncio.run(chosen)
        return fitting.size, etag

    asked, small = (
        asyncio.run(engine.name(b"photo", Options(style="comic", format="png", size=size)))
        for size in (512, 256)
    )
    allowed = ALLOWED.model_copy(update={"size": 512})
    assert choose(allowed, 0) == (512, asked)
    assert choose(allowed, 0.9) == (256, small)
    assert choose(allowed, 0.9, small) == (256, small)
    assert choose(allowed, 0.9, asked) == (512, asked)  # the caller has it: nothing is drawn
    assert choose(allowed.model_copy(update={"on_overload": "error"}), 0.9) == (512, asked)
    engine.results._kept[asked] = b"kept"
    assert choose(allowed, 0.9) == (512, asked)


def test_the_pressure_is_one_where_a_job_is_refused(engine: Engine) -> None:
    lanes = engine.lanes
    lanes.times.mean, lanes.lateness.value = 2.0, 0.5
    assert lanes.pressure(1.0, cost=1.0) == 0  # a free lane refuses nobody
    wait(engine, 3.0)
    for cost in (0.5, 1.0, 4.0):
        limit = 3.0 + 2.0 * cost + 0.5
        assert lanes.pressure(limit, cost) == pytest.approx(1)
        assert lanes.check_room(limit + 0.001, cost=cost) == 3.0
        with pytest.raises(WouldBeLate):
            lanes.check_room(limit - 0.001, cost=cost)
    assert math.isinf(lanes.pressure(2.0, cost=1.0))
