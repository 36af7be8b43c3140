"""Batcher: inputs of many threads as one batch, formed at the moment the network is free.

There is no timer: a lone input runs at once, and while one batch runs, the next gathers by itself.
Waiting for company only adds time at low load and changes nothing at high load; a collector that
closes batches before the network is free loses capacity (`python -m benchmarks.batching` shows all
three). Batches are padded to one of a fixed set of sizes, because CUDA searches anew for every new
shape.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

import numpy as np

from photo2cartoon.ground.errors import DeadlinePassed, InternalError
from photo2cartoon.ground.forecast import RunningTime
from photo2cartoon.ground.ticket import Abandoned, Ticket
from photo2cartoon.runtime.network import Array, Network
from photo2cartoon_models.manifest import Model

log = logging.getLogger("photo2cartoon.runtime.batcher")

BUCKETS = (1, 2, 4, 8, 16, 32)


@dataclass(slots=True, eq=False)
class _Item:
    tensor: Array
    ticket: Ticket
    outputs: Future[list[Array]] = field(default_factory=Future)


class Batcher:
    """A network that many threads share: a `Network` whose `run` blocks until the answer is there.

    The queue holds only what the lanes bring, so it is as bounded as their number.

    Attributes:
        network: what runs the batches.
        buckets: the sizes of batches, smallest first.
        times: how long a batch takes, s, by bucket.
        sizes: how many batches have run, by their number of inputs.
        retried: how many inputs ran again, alone, because their batch failed.
        alive: False once its thread has died.
    """

    def __init__(self, network: Network, max_batch: int, max_wait_s: float = 0.0) -> None:
        """Start the thread that runs the batches.

        Args:
            network: what runs the batches; its first dimension must be free.
            max_batch: the largest bucket.
            max_wait_s: how long inputs may wait for company while the network is free, s.
        """
        self.network = network
        self.buckets = tuple(size for size in BUCKETS if size <= max_batch)
        self.max_wait_s = max_wait_s
        self.times = {bucket: RunningTime() for bucket in self.buckets}
        self.sizes = dict.fromkeys(range(1, self.buckets[-1] + 1), 0)
        self.retried = 0
        self.alive = True
        self._changed = threading.Condition()
        self._waiting: deque[_Item] = deque()
        self._chores: deque[Callable[[], None]] = deque()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._worker.start()

    @property
    def model(self) -> Model:
        """The network's entry in the manifest."""
        return self.network.model

    @property
    def nodes(self) -> Mapping[str, int]:
        """See `Network`."""
        return self.network.nodes

    @property
    def precision(self) -> str:
        """See `Network`."""
        return self.network.precision

    @property
    def fastest_s(self) -> float:
        """Fewest seconds per input over all buckets, as measured; 0 before any batch has run."""
        known = [times.mean / bucket for bucket, times in self.times.items() if times.mean]
        return min(known, default=0.0)

    def run(self, batch: Array, ticket: Ticket | None = None) -> list[Array]:
        """Run inputs `(N, ...)` together with other threads'; outputs in the contract's order.

        Raises:
            Abandoned: the ticket's caller left while the inputs waited.
            DeadlinePassed: the ticket's deadline passed while they waited.
            InternalError: the batcher is closed or dead.
            Exception: whatever the network raised for one of these inputs alone.
        """
        ticket = ticket or Ticket()
        items = [_Item(tensor, ticket) for tensor in batch]
        with self._changed:
            if self._closed or not self.alive:
                raise InternalError
            self._waiting.extend(items)
            self._changed.notify()
        try:
            rows = [self._await(item) for item in items]
        finally:
            for item in items:
                item.outputs.cancel()  # if one of them failed: those that are not done yet
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _await(self, item: _Item) -> list[Array]:
        with item.ticket.awaiting(item.outputs):
            try:
                return item.outputs.result()
            except CancelledError:
                raise Abandoned from None

    def _work(self) -> None:
        items: list[_Item] = []
        try:
            while items := self._take():
                self._run_together(items)
        except BaseException:
            self.alive = False
            log.critical("a batcher died", exc_info=True)
            with self._changed:
                items.extend(self._waiting)
                self._waiting.clear()
            for item in items:  # nobody may wait forever
                if not item.outputs.done():
                    item.outputs.set_exception(InternalError())

    def _take(self) -> list[_Item]:
        """Wait for inputs and take up to as many as the largest bucket holds; none when closed."""
        items: list[_Item] = []
        with self._changed:
            while not items:
                while not self._waiting:
                    if self._chores:
                        self._chores.popleft()()
                    elif self._closed:
                        return []
                    else:
                        self._changed.wait(1)  # a thread notices that it was killed when it wakes
                if self.max_wait_s:
                    self._changed.wait_for(
                        lambda: self._closed or len(self._waiting) >= self.buckets[-1],
                        self.max_wait_s,
                    )
                self._take_alike(items)
        return items

    def _take_alike(self, items: list[_Item]) -> None:
        """Move waiting inputs to `items`: the first, and those of its shape; the others wait on."""
        others: list[_Item] = []
        while self._waiting and len(items) < self.buckets[-1]:
            item = self._waiting.popleft()
            if items and item.tensor.shape != items[0].tensor.shape:
                others.append(item)
            elif self._is_wanted(item):
                items.append(item)
        self._waiting.extendleft(reversed(others))

    def _is_wanted(self, item: _Item) -> bool:
        """Tell whether an input still counts: someone waits for it, and it is not too late."""
        if not item.outputs.set_running_or_notify_cancel():
            return False
        if item.ticket.left_s <= 0:
            item.outputs.set_exception(DeadlinePassed())
            return False
        return True

    def _run_together(self, items: list[_Item]) -> None:
        self.sizes[len(items)] += 1
        try:
            rows = self._run_padded([item.tensor for item in items])
        except Exception:
            log.exception("a batch failed: its inputs run alone")
            for item in items:
                self._run_alone(item)
            return
        for item, row in zip(items, rows, strict=True):
            item.outputs.set_result(row)

    def _run_alone(self, item: _Item) -> None:
        """Run an input by itself: one bad input must not cost its neighbours their answers."""
        self.retried += 1
        try:
            (row,) = self._run_padded([item.tensor])
        except Exception as error:  # noqa: BLE001 - it goes to whoever brought the input
            item.outputs.set_exception(error)
        else:
            item.outputs.set_result(row)

    def _run_padded(self, tensors: list[Array]) -> list[list[Array]]:
        """Run inputs in the smallest bucket that holds them; return the outputs by input."""
        bucket = next(size for size in self.buckets if size >= len(tensors))
        padding = [tensors[-1]] * (bucket - len(tensors))
        start = time.perf_counter()
        outputs = self.network.run(np.stack(tensors + padding, out=self.network.place(bucket)))
        self.times[bucket].add(time.perf_counter() - start)
        return [[output[row] for output in outputs] for row in range(len(tensors))]

    def probe(self) -> Array:
        """Return the input of the self test, `(1, ...)`."""
        return self.network.probe()

    def place(self, size: int) -> None:
        """Return None: any place will do, because inputs are copied into a batch."""

    def warm_up(self) -> None:
        """Check the network's answer, then run every bucket, so that none is slow later.

        This happens on the batcher's own thread, because what CUDA learns, it learns per thread.

        Raises:
            ManifestError: the network does not work.
        """
        done: Future[None] = Future()

        def chore() -> None:
            try:
                self._warm_up()
                done.set_result(None)
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                done.set_exception(error)

        with self._changed:
            if not self.alive:
                raise InternalError
            self._chores.append(chore)
            self._changed.notify()
        done.result()

    def _warm_up(self) -> None:
        self.network.warm_up()
        probe = self.probe()
        for bucket in self.buckets:
            blank = np.zeros((bucket, *probe.shape[1:]), probe.dtype)
            self.network.run(blank)  # the first run of a shape takes longer than usual
            start = time.perf_counter()
            self.network.run(blank)
            self.times[bucket].add(time.perf_counter() - start)

    def close(self) -> None:
        """Finish the waiting inputs, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join(10)
