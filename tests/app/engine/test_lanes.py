"""Jobs run beside the event loop; a full or late queue refuses at once; nobody is left waiting."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from photo2cartoon.engine.lanes import STUCK_AFTER_S, Lanes
from photo2cartoon.ground.errors import (
    DeadlinePassed,
    Draining,
    InternalError,
    NoFaceFound,
    Overloaded,
    TooMuchMemory,
    WouldBeLate,
)
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.ticket import Stage, Ticket
from tests.app.fakes import Clock, kill

pytestmark = pytest.mark.anyio


class Gate:
    """A job that holds its lane until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.opened.wait(10)
        return "through"


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads change it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def held(lanes: Lanes) -> AsyncIterator[Gate]:
    """Inside, every lane is busy."""
    gate = Gate()
    jobs = [asyncio.create_task(lanes.run(gate, Ticket())) for _ in range(lanes.threads)]
    await until(lambda: lanes.running == lanes.threads)
    try:
        yield gate
    finally:
        gate.opened.set()
        await asyncio.gather(*jobs)


async def test_results_return_to_their_own_callers() -> None:
    lanes = Lanes(threads=3, max_queue=100)

    def job(number: int) -> int:
        time.sleep(0.001 * (number % 5))
        return number

    jobs = (lanes.run(partial(job, number), Ticket()) for number in range(60))
    assert list(await asyncio.gather(*jobs)) == list(range(60))
    lanes.close()


async def test_no_more_threads_than_asked_for_work_at_once() -> None:
    lanes = Lanes(threads=2, max_queue=10)
    running, most, lock = 0, 0, threading.Lock()

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(lanes.run(job, Ticket()) for _ in range(8)))
    assert most == 2
    lanes.close()


async def test_more_lanes_than_cores_share_them_and_free_them_while_they_wait() -> None:
    lanes = Lanes(threads=4, max_queue=10, cores=1)
    computing, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4)

    def job(ticket: Ticket) -> None:
        nonlocal computing, most
        with lock:
            computing += 1
            most = max(most, computing)
        time.sleep(0.01)
        with lock:
            computing -= 1
        with ticket.awaiting(Future()):
            together.wait(10)  # all four are in here at the same time, or this breaks

    tickets = [Ticket() for _ in range(4)]
    await asyncio.gather(*(lanes.run(partial(job, ticket), ticket) for ticket in tickets))
    assert most == 1
    lanes.close()


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    async with held(lanes):
        waiting = asyncio.create_task(lanes.run(lambda: "waited", Ticket()))
        await until(lambda: lanes.waiting == 1)
        with pytest.raises(Overloaded) as refusal:
            await lanes.run(lambda: True, Ticket())
        assert int(refusal.value.headers["Retry-After"]) >= 1
    assert await waiting == "waited"
    assert await lanes.run(lambda: "room again", Ticket()) == "room again"
    lanes.close()


async def test_the_predicted_wait_follows_every_lane() -> None:
    lanes = Lanes(threads=2, max_queue=10, clock=Clock())
    assert lanes.predicted_wait_s == 0
    lanes.times.mean = 2.0
    async with held(lanes):
        first, second = lanes._running
        first.started, second.started = 99.5, 98.2
        assert lanes.predicted_wait_s == pytest.approx(0.2)  # the second lane is free first
        waits = []
        for _ in range(3):
            lanes._waiting.append(first)
            waits.append(lanes.predicted_wait_s)
        assert waits == pytest.approx([1.5, 2.2, 3.5])  # in turn, then once more round
        first.started = 90.0  # long overdue: it is expected to take as long again
        assert lanes.predicted_wait_s == pytest.approx(0.2 + 3 * 2.0)
        lanes._waiting.clear()
    lanes.close()


async def test_jobs_of_several_costs_are_forecast_by_their_costs() -> None:
    clock = Clock()
    lanes = Lanes(threads=1, max_queue=10, clock=clock)

    def job(seconds: float) -> None:
        clock.now += seconds

    for cost in (1.0, 4.0, 0.25):
        await lanes.run(partial(job, 2.0 * cost), Ticket(), cost=cost)
        assert lanes.times.mean == pytest.approx(2.0)  # the same for all: it is that of cost 1
    lanes.lateness.value = 0.0
    async with held(lanes):
        waiting = [
            asyncio.create_task(lanes.run(lambda: None, Ticket(), cost=cost))
            for cost in (4.0, 0.25)
        ]
        await until(lambda: lanes.waiting == 2)
        assert lanes.predicted_wait_s == pytest.approx(2.0 + 8.0 + 0.5)
        with pytest.raises(WouldBeLate):
            lanes.check_room(timeout_s=12.0, cost=1.0)
        lanes.check_room(timeout_s=12.0, cost=0.5)
        usual = lanes.usual_cost  # where a cost is not known yet, it is that of the last jobs
        lanes.check_room(timeout_s=10.51 + 2.0 * usual)
        with pytest.raises(WouldBeLate):
            lanes.check_room(timeout_s=10.49 + 2.0 * usual)
    await asyncio.gather(*waiting)
    lanes.close()


async def test_who_would_be_late_is_told_when_to_return(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Lanes(threads=2, max_queue=10)
    lanes.times.mean = 2.0
    async with held(lanes):
        lanes.lateness.value = 0.5
        monkeypatch.setattr(Lanes, "predicted_wait_s", 3.5)
        with pytest.raises(WouldBeLate) as refusal:
            lanes.check_room(timeout_s=4.0)
        assert refusal.value.retry_after_s == 3.5 + 2 + 0.5 - 4
        assert refusal.value.headers["Retry-After"] == "2"
        lanes.check_room(timeout_s=6.1)
        monkeypatch.undo()
    lanes.close()


async def test_the_door_learns_how_late_its_predictions_are() -> None:
    lanes = Lanes(threads=1, max_queue=10)
    lanes.times.mean = 0.001
    await lanes.run(partial(time.sleep, 0.05), Ticket())  # 50 times as long as predicted
    learnt = lanes.lateness.value
    assert learnt > 0
    lanes.times.mean = 60.0
    await lanes.run(lambda: None, Ticket())  # early is not late
    assert lanes.lateness.value < learnt
    lanes.close()


async def test_what_the_lanes_share_bounds_the_prediction() -> None:
    lanes = Lanes(threads=2, max_queue=10, fastest_s=lambda: 3.0)
    lanes.times.mean = 2.0
    async with held(lanes):
        assert lanes.predicted_wait_s == pytest.approx(2.0, abs=0.5)
        lanes.times.mean = 0  # before the first photo
        assert lanes.predicted_wait_s == 1.5
        lanes.check_room(timeout_s=1.6)
        with pytest.raises(WouldBeLate):
            lanes.check_room(timeout_s=1.4)
    lanes.close()


async def test_a_free_lane_refuses_nobody() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    lanes.times.mean = 100.0  # an estimate that would refuse everybody, and could never mend
    assert await lanes.run(lambda: "ran", Ticket(timeout_s=1)) == "ran"
    assert lanes.times.mean < 100
    lanes.close()


async def test_a_deadline_that_passed_in_the_queue_is_not_run() -> None:
    lanes = Lanes(threads=1, max_queue=5)
    ran: list[str] = []
    async with held(lanes):
        late = asyncio.create_task(lanes.run(lambda: ran.append("late"), Ticket(timeout_s=0.02)))
        patient = asyncio.create_task(lanes.run(lambda: ran.append("patient"), Ticket()))
        await until(lambda: lanes.waiting == 2)
        await asyncio.sleep(0.03)
    with pytest.raises(DeadlinePassed):
        await late
    await patient
    assert ran == ["patient"]
    lanes.close()


@pytest.mark.parametrize(("mean_s", "runs"), [(0.01, True), (60.0, False)])
async def test_what_waited_and_cannot_be_done_in_time_is_not_begun(
    mean_s: float, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = Lanes(threads=1, max_queue=5)
    lanes.times.mean = 0.01
    ran: list[str] = []
    async with held(lanes):
        job = asyncio.create_task(lanes.run(lambda: ran.append("it"), Ticket(timeout_s=20)))
        await until(lambda: lanes.waiting == 1)
        monkeypatch.setattr(lanes.times, "add", lambda _: None)
        lanes.times.mean = mean_s
    (answer,) = await asyncio.gather(job, return_exceptions=True)
    assert isinstance(answer, DeadlinePassed) is not runs
    assert ran == (["it"] if runs else [])
    lanes.close()


async def test_whoever_waits_behind_a_long_job_is_told_at_the_deadline() -> None:
    lanes = Lanes(threads=1, max_queue=5)
    async with held(lanes):
        waits = lanes.run(lambda: "too late", Ticket(timeout_s=0.02))
        with pytest.raises(DeadlinePassed):
            await asyncio.wait_for(waits, 5)  # the lane is never free before
        assert lanes.waiting == 0
        assert lanes.lateness.value == 0  # no job has ended yet, so there is no step to learn by
    assert await lanes.run(lambda: "free", Ticket()) == "free"
    lanes.close()


async def test_the_caller_of_a_job_that_hangs_is_told_at_the_deadline() -> None:
    lanes = Lanes(threads=1, max_queue=5)
    gate = Gate()
    with pytest.raises(DeadlinePassed):
        await asyncio.wait_for(lanes.run(gate, Ticket(timeout_s=0.02)), 5)
    assert lanes.running == 1
    gate.opened.set()
    await until(lambda: lanes.running == 0)
    lanes.close()


async def test_the_age_of_what_runs_is_part_of_the_forecast() -> None:
    clock = Clock()
    lanes = Lanes(threads=1, max_queue=10, clock=clock)
    lanes.times.mean = 0.1
    async with held(lanes):
        (job,) = lanes._running
        job.started = clock() - 60.0
        assert lanes.predicted_wait_s == pytest.approx(59.9)
        with pytest.raises(WouldBeLate):
            lanes.check_room(timeout_s=30)
    lanes.close()


async def test_what_never_fits_is_refused_at_once() -> None:
    lanes = Lanes(threads=1, max_queue=0, budget=100)
    with pytest.raises(TooMuchMemory):
        await lanes.run(lambda: None, Ticket(), 101)
    assert await lanes.run(lambda: "fits", Ticket(), 100) == "fits"
    lanes.close()


async def test_light_jobs_pass_a_heavy_one_that_waits_for_memory() -> None:
    lanes = Lanes(threads=4, max_queue=10, budget=100)
    first, second, light = Gate(), Gate(), Gate()
    light.opened.set()
    jobs = [asyncio.create_task(lanes.run(first, Ticket(), 70))]
    await until(lambda: lanes.running == 1)
    jobs.append(asyncio.create_task(lanes.run(second, Ticket(), 70)))
    await until(lambda: lanes.waiting == 1)
    assert await lanes.run(light, Ticket(), 30) == "through"
    assert not second.entered.is_set()
    first.opened.set()
    await until(second.entered.is_set)
    second.opened.set()
    await asyncio.gather(*jobs)
    lanes.close()


async def test_light_jobs_never_keep_a_heavy_one_waiting() -> None:
    """What passes must fit beside the one that waits, also once what ran before has ended."""
    lanes = Lanes(threads=4, max_queue=10, budget=100)
    before, heavy, passing, third = Gate(), Gate(), Gate(), Gate()
    jobs = [asyncio.create_task(lanes.run(before, Ticket(), 50))]
    await until(before.entered.is_set)
    jobs.append(asyncio.create_task(lanes.run(heavy, Ticket(), 80)))
    jobs.append(asyncio.create_task(lanes.run(passing, Ticket(), 20)))
    await until(passing.entered.is_set)
    jobs.append(asyncio.create_task(lanes.run(third, Ticket(), 20)))  # would fit now: 50 + 20 + 20
    await until(lambda: lanes.waiting == 2)
    before.opened.set()
    await until(heavy.entered.is_set)
    assert not third.entered.is_set()
    for gate in (heavy, passing, third):
        gate.opened.set()
    await asyncio.gather(*jobs)
    lanes.close()


async def test_a_heavy_job_that_leaves_the_queue_lets_the_others_run() -> None:
    lanes = Lanes(threads=2, max_queue=10, budget=100)
    before, behind = Gate(), Gate()
    behind.opened.set()
    first = asyncio.create_task(lanes.run(before, Ticket(), 60))
    await until(before.entered.is_set)
    heavy = asyncio.create_task(lanes.run(lambda: None, Ticket(timeout_s=0.05), 90))
    waits = asyncio.create_task(lanes.run(behind, Ticket(), 40))
    with pytest.raises(DeadlinePassed):
        await heavy
    assert await asyncio.wait_for(waits, 5) == "through"
    before.opened.set()
    await first
    lanes.close()


async def test_the_wait_for_memory_is_forecast() -> None:
    clock = Clock()
    lanes = Lanes(threads=2, max_queue=10, budget=100, clock=clock)
    lanes.times.mean = 10.0
    gate = Gate()
    job = asyncio.create_task(lanes.run(gate, Ticket(), 80))
    await until(gate.entered.is_set)
    assert lanes.check_room(weight=20) == 0  # beside it, on the free lane
    assert lanes.check_room(weight=50) == pytest.approx(8.0)
    with pytest.raises(WouldBeLate):
        lanes.check_room(timeout_s=12, weight=50)
    gate.opened.set()
    await job
    lanes.close()


async def test_a_failing_job_fails_its_own_caller_only() -> None:
    lanes = Lanes(threads=1, max_queue=10)

    def fail() -> None:
        raise NoFaceFound

    results = await asyncio.gather(
        *(lanes.run(job, Ticket()) for job in (lambda: 1, fail, lambda: 3)), return_exceptions=True
    )
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], NoFaceFound)
    lanes.close()


async def test_a_caller_that_leaves_the_queue_frees_its_place_at_once() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    ran: list[str] = []
    async with held(lanes):
        leaving = asyncio.create_task(lanes.run(lambda: ran.append("left"), Ticket()))
        await until(lambda: lanes.waiting == 1)
        leaving.cancel()
        await until(lambda: lanes.waiting == 0)
        late = asyncio.create_task(lanes.run(lambda: ran.append("its place"), Ticket()))
        await until(lambda: lanes.waiting == 1)
    await late
    assert ran == ["its place"]
    lanes.close()


async def test_a_caller_that_leaves_stops_its_work_at_the_next_stage() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    gate, stages, ticket = Gate(), list[str](), Ticket()

    def work() -> None:
        with ticket.stage(Stage.DECODE):
            stages.append("first")
            gate()
        with ticket.stage(Stage.DETECT):
            stages.append("second")

    leaving = asyncio.create_task(lanes.run(work, ticket))
    await until(gate.entered.is_set)
    leaving.cancel()
    await until(leaving.done)
    gate.opened.set()
    assert await lanes.run(lambda: "free", Ticket()) == "free"
    assert stages == ["first"]
    assert ticket.at is Stage.DECODE
    lanes.close()


async def test_a_killed_lane_shows_and_the_others_work_on() -> None:
    lanes = Lanes(threads=2, max_queue=4)
    assert lanes.alive
    kill(lanes._workers[0])
    await until(lambda: not lanes.alive)  # an idle lane wakes once a second
    assert await lanes.run(lambda: "still", Ticket()) == "still"
    lanes.close()


async def test_the_last_lane_to_die_answers_everyone() -> None:
    lanes = Lanes(threads=1, max_queue=4)

    def die() -> None:
        raise SystemExit

    results = await asyncio.gather(
        lanes.run(die, Ticket()), lanes.run(lambda: 1, Ticket()), return_exceptions=True
    )
    assert [type(result) for result in results] == [InternalError, Draining]
    assert not lanes.alive
    with pytest.raises(Draining):
        lanes.check_room()
    lanes.close()


async def test_a_lane_that_hangs_shows() -> None:
    clock = Clock()
    lanes = Lanes(threads=1, max_queue=4, clock=clock)
    async with held(lanes):
        clock.now += STUCK_AFTER_S
        before = lanes.alive
        clock.now += 1
        assert (before, lanes.alive) == (True, False)
    assert lanes.alive
    lanes.close()


async def test_closing_answers_everyone() -> None:
    lanes = Lanes(threads=1, max_queue=10)
    gate = Gate()
    running = asyncio.create_task(lanes.run(gate, Ticket()))
    waiting = [asyncio.create_task(lanes.run(lambda: 1, Ticket())) for _ in range(3)]
    await until(lambda: lanes.waiting == 3)
    lanes.stop()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Draining] * 3
    with pytest.raises(Draining):
        await lanes.run(lambda: 1, Ticket())
    gate.opened.set()
    assert await running == "through"
    lanes.close()
    assert lanes.alive  # it ended because it was asked to


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1)]
)
def test_cores_respect_a_containers_quota(tmp_path: Path, quota: str, expected: int | None) -> None:
    unlimited = available_cores(tmp_path / "missing")
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert available_cores(file) == (expected or unlimited)
    assert unlimited >= 1
