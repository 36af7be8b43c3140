"""A kept picture is not drawn again, one drawing serves many, and room is bounded."""

import asyncio

import pytest

from photo2cartoon.engine.results import Results
from photo2cartoon.ground.errors import DeadlinePassed, NoFaceFound

pytestmark = pytest.mark.anyio


class Drawing:
    """A drawing that ends when it is told to."""

    def __init__(self, picture: bytes | Exception = b"picture") -> None:
        self.picture = picture
        self.calls = 0
        self.cancelled = 0
        self.finish = asyncio.Event()

    async def __call__(self) -> bytes:
        self.calls += 1
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.picture, Exception):
            raise self.picture
        return self.picture


async def turn() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_without_room_everything_is_drawn() -> None:
    results, drawing = Results(), Drawing()
    drawing.finish.set()
    assert [await results.get("a", drawing) for _ in range(2)] == [b"picture"] * 2
    assert drawing.calls == 2
    assert not results.counts


async def test_a_kept_picture_is_not_drawn_again() -> None:
    results, drawing = Results(max_bytes=100), Drawing()
    drawing.finish.set()
    assert [await results.get("a", drawing) for _ in range(3)] == [b"picture"] * 3
    assert drawing.calls == 1
    assert results.counts == {"miss": 1, "hit": 2}


async def test_the_least_recently_used_goes_first() -> None:
    results = Results(max_bytes=25)

    async def get(name: str) -> None:
        drawing = Drawing(b"0123456789")
        drawing.finish.set()
        await results.get(name, drawing)

    for name in ("a", "b", "a", "c"):
        await get(name)
    assert list(results._kept) == ["a", "c"]
    large = Drawing(b"x" * 26)
    large.finish.set()
    await results.get("large", large)
    assert list(results._kept) == ["a", "c"]
    assert results._kept.currsize == 20


async def test_one_drawing_serves_all_who_ask_meanwhile() -> None:
    results, drawing = Results(max_bytes=100), Drawing()
    asking = [asyncio.create_task(results.get("a", drawing)) for _ in range(5)]
    await turn()
    drawing.finish.set()
    assert await asyncio.gather(*asking) == [b"picture"] * 5
    assert drawing.calls == 1
    assert results.counts == {"miss": 1, "shared": 4}


async def test_it_goes_on_while_anybody_waits_and_stops_when_all_left() -> None:
    results, drawing = Results(max_bytes=100), Drawing()
    asking = [asyncio.create_task(results.get("a", drawing)) for _ in range(3)]
    await turn()
    asking[0].cancel()  # the first, who began it
    await turn()
    assert drawing.cancelled == 0
    asking[1].cancel()
    asking[2].cancel()
    await turn()
    assert drawing.cancelled == 1
    again = Drawing(b"again")
    again.finish.set()
    assert await results.get("a", again) == b"again"


async def test_a_problem_reaches_everyone_and_is_not_kept() -> None:
    results, drawing = Results(max_bytes=100), Drawing(NoFaceFound())
    asking = [asyncio.create_task(results.get("a", drawing)) for _ in range(2)]
    await turn()
    drawing.finish.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NoFaceFound] * 2
    good = Drawing(b"good")
    good.finish.set()
    assert await results.get("a", good) == b"good"


async def test_the_first_ones_deadline_is_not_the_others() -> None:
    results = Results(max_bytes=100)
    late, own = Drawing(DeadlinePassed()), Drawing(b"own")
    late.finish.set()
    own.finish.set()
    first = asyncio.create_task(results.get("a", late))
    second = asyncio.create_task(results.get("a", own))
    answers = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(answers[0], DeadlinePassed)
    assert answers[1] == b"own"
