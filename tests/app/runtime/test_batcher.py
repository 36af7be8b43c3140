"""The batching policy, on a network whose every run the test controls."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from photo2cartoon.ground.errors import DeadlinePassed, InternalError
from photo2cartoon.ground.ticket import Abandoned, Ticket
from photo2cartoon.runtime.batcher import BUCKETS, Batcher
from photo2cartoon_models.manifest import Model, load_manifest
from tests.app.fakes import kill

Tensor = NDArray[np.float32]

POISON, KILLER = 666, 667


class FakeNetwork:
    """Doubles its input. A run waits until the test lets it go; poison fails its whole batch."""

    nodes: Mapping[str, int] = {"CPUExecutionProvider": 1}
    precision = "float32"

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.free = False

    @property
    def model(self) -> Model:
        return load_manifest()["selfie"]

    def probe(self) -> Tensor:
        return np.zeros((1, 3), np.float32)

    def run(self, batch: Tensor, ticket: Ticket | None = None) -> list[Tensor]:
        self.batches.append(batch[:, 0].tolist())
        self.entered.release()
        if not self.free:
            assert self.gate.acquire(timeout=10)
        if KILLER in batch:
            raise SystemExit
        if POISON in batch:
            raise ValueError("poison")
        return [batch * 2, batch.sum(axis=1)]

    def place(self, size: int) -> None:
        return None

    def warm_up(self) -> None:
        self.thread = threading.current_thread().name
        self.run(self.probe())


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
def batcher(network: FakeNetwork) -> Iterator[Batcher]:
    batcher = Batcher(network, max_batch=8)
    yield batcher
    network.free = True
    network.gate.release(1000)
    batcher.close()


class Watched(Ticket):
    """Says when its input is in the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = threading.Event()

    @contextmanager
    def awaiting(self, future: Future[Any]) -> Iterator[None]:
        self.queued.set()
        with super().awaiting(future):
            yield


Submit = Callable[..., Future[list[Tensor]]]


@pytest.fixture
def submit(network: FakeNetwork, batcher: Batcher) -> Iterator[Submit]:
    """Bring an input from a thread of its own; returns when the batcher has it."""
    with ThreadPoolExecutor(64) as pool:

        def submit(value: float, ticket: Watched | None = None, size: int = 3) -> Any:
            ticket = ticket or Watched()
            future = pool.submit(batcher.run, np.full((1, size), value, np.float32), ticket)
            assert ticket.queued.wait(10)
            return future

        yield submit
        network.gate.release(1000)


def test_a_lone_input_runs_at_once(network: FakeNetwork, batcher: Batcher) -> None:
    network.free = True
    doubled, summed = batcher.run(np.array([[1, 2, 3]], np.float32))
    assert doubled.tolist() == [[2, 4, 6]]
    assert summed.tolist() == [6]
    assert network.batches == [[1]]


def test_what_comes_while_the_network_is_busy_is_the_next_batch(
    network: FakeNetwork, submit: Submit
) -> None:
    first = submit(1)
    assert network.entered.acquire(timeout=10)
    rest = [submit(value) for value in (2, 3, 4)]
    network.gate.release(2)
    answers = [future.result(10)[0][0, 0] for future in (first, *rest)]
    assert answers == [2, 4, 6, 8]  # each its own
    assert network.batches == [[1], [2, 3, 4, 4]]  # padded up to 4


def test_no_batch_exceeds_the_largest_bucket_and_order_is_kept(
    network: FakeNetwork, submit: Submit, batcher: Batcher
) -> None:
    first = submit(0)
    assert network.entered.acquire(timeout=10)
    rest = [submit(value) for value in range(1, 12)]
    network.gate.release(3)
    for value, future in enumerate([first, *rest]):
        assert future.result(10)[0][0, 0] == 2 * value
    assert network.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 11]]
    assert {size: count for size, count in batcher.sizes.items() if count} == {1: 1, 3: 1, 8: 1}


def test_shapes_are_a_closed_set(network: FakeNetwork, submit: Submit) -> None:
    for count in range(1, 9):
        opener = submit(0)
        assert network.entered.acquire(timeout=10)
        rest = [submit(1) for _ in range(count)]
        network.gate.release(2)
        for future in (opener, *rest):
            future.result(10)
        assert network.entered.acquire(timeout=10)
    assert {len(batch) for batch in network.batches} == {1, 2, 4, 8}


def test_inputs_of_other_shapes_wait_for_a_batch_of_their_own(
    network: FakeNetwork, submit: Submit
) -> None:
    first = submit(1)
    assert network.entered.acquire(timeout=10)
    futures = [submit(2), submit(3, size=5), submit(4)]
    network.free = True
    network.gate.release()
    assert [future.result(10)[0].shape for future in (first, *futures)] == [
        (1, 3),
        (1, 3),
        (1, 5),
        (1, 3),
    ]
    assert network.batches == [[1], [2, 4], [3]]


def test_several_inputs_of_one_caller_come_back_together(
    network: FakeNetwork, batcher: Batcher
) -> None:
    network.free = True
    doubled, summed = batcher.run(np.arange(30, dtype=np.float32).reshape(10, 3))
    assert doubled.tolist() == (np.arange(30).reshape(10, 3) * 2).tolist()
    assert summed.shape == (10,)
    assert [len(batch) for batch in network.batches] in ([8, 2], [1, 8, 1], [2, 8])


def test_poison_costs_its_own_caller_only(
    network: FakeNetwork, submit: Submit, batcher: Batcher
) -> None:
    first = submit(0)
    assert network.entered.acquire(timeout=10)
    futures = [submit(value) for value in (1, POISON, 3)]
    network.free = True
    network.gate.release()
    first.result(10)
    assert futures[0].result(10)[0][0, 0] == 2
    assert futures[2].result(10)[0][0, 0] == 6
    with pytest.raises(ValueError, match="poison"):
        futures[1].result(10)
    assert network.batches[1:] == [[1, POISON, 3, 3], [1], [POISON], [3]]  # retried once, alone
    assert batcher.retried == 3
    assert batcher.alive


def test_a_caller_that_leaves_is_skipped(network: FakeNetwork, submit: Submit) -> None:
    first, ticket = submit(1), Watched()
    assert network.entered.acquire(timeout=10)
    leaving, staying = submit(2, ticket=ticket), submit(3)
    ticket.abandon()
    with pytest.raises(Abandoned):
        leaving.result(10)  # at once: its lane is free while the network is still busy
    network.gate.release(2)
    assert staying.result(10)[0][0, 0] == 6
    first.result(10)
    assert network.batches == [[1], [3]]


def test_a_deadline_that_passed_in_the_queue_is_not_run(
    network: FakeNetwork, submit: Submit
) -> None:
    first, ticket = submit(1), Watched()
    assert network.entered.acquire(timeout=10)
    late, staying = submit(2, ticket=ticket), submit(3)
    ticket.due_in(0)
    network.gate.release(2)
    with pytest.raises(DeadlinePassed):
        late.result(10)
    assert staying.result(10)[0][0, 0] == 6
    first.result(10)
    assert network.batches == [[1], [3]]


def test_a_killed_batcher_answers_everyone_and_shows(
    network: FakeNetwork, submit: Submit, batcher: Batcher
) -> None:
    running = submit(KILLER)
    assert network.entered.acquire(timeout=10)
    waiting = submit(2)
    network.gate.release()
    for future in (running, waiting):
        with pytest.raises(InternalError):
            future.result(10)
    assert not batcher.alive
    with pytest.raises(InternalError):
        batcher.run(np.zeros((1, 3), np.float32))


def test_an_idle_batcher_that_is_killed_shows(batcher: Batcher) -> None:
    kill(batcher._worker)
    batcher._worker.join(10)
    assert not batcher.alive


def test_closing_finishes_what_was_brought(
    network: FakeNetwork, submit: Submit, batcher: Batcher
) -> None:
    futures = [submit(value) for value in (1, 2, 3)]
    network.free = True
    network.gate.release()
    batcher.close()
    assert [future.result(10)[0][0, 0] for future in futures] == [2, 4, 6]
    with pytest.raises(InternalError):
        batcher.run(np.zeros((1, 3), np.float32))


def test_every_bucket_is_warm_and_measured_before_the_first_request(
    network: FakeNetwork, batcher: Batcher
) -> None:
    assert batcher.fastest_s == 0
    network.free = True
    batcher.warm_up()
    assert network.thread == "batcher"  # CUDA learns by thread
    assert [len(batch) for batch in network.batches] == [1, 1, 1, 2, 2, 4, 4, 8, 8]
    assert all(times.mean > 0 for times in batcher.times.values())
    assert batcher.fastest_s == min(times.mean / size for size, times in batcher.times.items())


def test_a_warm_up_that_fails_tells_its_caller(network: FakeNetwork) -> None:
    batcher = Batcher(network, max_batch=2)
    network.free = True
    network.probe = lambda: np.full((1, 3), POISON, np.float32)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="poison"):
        batcher.warm_up()
    batcher.close()


def test_the_buckets_are_those_up_to_the_largest(network: FakeNetwork) -> None:
    for largest in BUCKETS:
        batcher = Batcher(network, largest)
        assert batcher.buckets == BUCKETS[: BUCKETS.index(largest) + 1]
        batcher.close()
