"""Bulk on a Ray cluster: a pool of actors that each hold a pipeline (the extra `ray`).

What travels to an actor is a photo's name, and back comes its outcome: actors read photos from
their folder and write cartoons themselves. A worker that dies costs no photo: those that it had
are drawn by others, and one with which `TRIES` workers died in a row counts as failed.
"""

import os
import secrets
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.exceptions import RayError, RayTaskError

from photo2cartoon.cli.bulk import Outcome
from photo2cartoon.cli.objects import Folder, Work, draw_between, skip
from photo2cartoon.cli.terminal import err, shown
from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.runtime.checks import Finding, StartRefused
from photo2cartoon_models.manifest import ManifestError

TRIES = 3  # how often a photo is tried whose worker dies, and a worker that dies as it starts
READS_AHEAD = 2  # photos a lane: one is drawn while another one is read or written
MOST_AT_ONCE = 128  # threads of an actor; what it has no photos for only waits
STORE_BYTES = 80_000_000  # of a cluster that is started here: nothing is stored, so the least


@dataclass(frozen=True)
class Crew:
    """The workers of a cluster, all alike.

    Attributes:
        count: how many there are.
        cores: cores of each.
        gpus: GPUs of each, 0 or 1.
    """

    count: int
    cores: int
    gpus: Literal[0, 1]

    @classmethod
    def plan(cls, resources: dict[str, float], settings: Settings, count: int | None) -> "Crew":
        """Choose workers that fill the cluster: one a GPU if there are any, else one a core.

        Args:
            resources: of the cluster, as Ray names them: `CPU`, `GPU`.
            settings: `provider` and `threads`: how many cores each worker takes.
            count: how many workers to take, if not all that there is room for.
        """
        cores = int(resources.get("CPU", 0))
        gpus = 0 if settings.provider in ("cpu", "openvino") else int(resources.get("GPU", 0))
        if gpus:
            return cls(count or gpus, settings.threads or max(1, cores // gpus), 1)
        each = settings.threads or 1
        return cls(count or max(1, cores // each), each, 0)


class Drawer:
    """An actor: it holds a pipeline, and draws from one folder into another."""

    def __init__(self, settings: Settings, source: Folder, target: Folder, options: Options):
        self.settings, self.options = settings, options
        self.source, self.target = source, target

    def load(self) -> int:
        """Load the pipeline; return how many photos it takes at once.

        Raises:
            ManifestError, StartRefused: as `open_pipeline`.
            InvalidOption: there is no such style.
        """
        self.pipeline = open_pipeline(self.settings)
        self.pipeline.styles.settle(self.options)
        return min(READS_AHEAD * self.pipeline.lanes(self.settings.threads), MOST_AT_ONCE)

    def draw(self, photo: str, place: str) -> Outcome:
        """Draw one photo, as `draw_between`."""
        return draw_between(self.pipeline, self.source, self.target, photo, place, self.options)


def connect(address: str | None) -> None:
    """Join the cluster at `address`, or start one on this machine, which ends with this process.

    Raises:
        ConnectionError: there is no such cluster, it has another version of Ray or Python or wants
            a token, or this machine cannot start one; the message says which.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else Ray reports to its maker
    here: dict[str, Any] = {"address": address}
    if address is None:
        # A token of this process alone: Ray would write one below HOME.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        here = {"address": "local", "num_cpus": available_cores(), "include_dashboard": False}
        here["object_store_memory"] = STORE_BYTES
    try:
        ray.init(**here, logging_level="error", log_to_driver=False)
    except Exception as error:  # Ray raises exceptions of no kind, too
        raise ConnectionError(" ".join(str(error).split())) from error


@dataclass(eq=False)
class Worker:
    """One place of the crew, whose actor is replaced when it dies.

    Attributes:
        actor: its handle.
        room: how many photos it takes at once; 0 until it is ready.
        photos: how many it has.
        starts: how many actors were started here since one was ready; 0 once this one is.
    """

    actor: Any
    room: int = 0
    photos: int = 0
    starts: int = 1


class Pool:
    """A crew at work.

    A photo that a dying worker had is tried again when all others are given out, and alone on its
    worker, so that one that kills workers takes no other one along.
    """

    def __init__(self, crew: Crew, settings: Settings, work: Work, photos: list[str]) -> None:
        """Ask the cluster for the workers; those it has no room for yet join when it has."""
        resources = {"num_cpus": crew.cores, "num_gpus": crew.gpus}
        self.make = ray.remote(Drawer).options(max_concurrency=MOST_AT_ONCE, **resources).remote
        mine = {"threads": crew.cores, "api_keys": ()}  # keys of callers are no worker's business
        self.given = (settings.model_copy(update=mine), work.source, work.target, work.options)
        self.places = work.places
        self.photos = deque(photos)
        self.suspects: deque[str] = deque()
        self.losses: Counter[str] = Counter()
        self.workers: set[Worker] = set()
        self.calls: dict[Any, tuple[Worker, str | None]] = {}  # None: it loads its pipeline
        for _ in range(min(crew.count, len(photos))):
            self._start()

    def wait_until_ready(self) -> None:
        """Wait for the first worker that can draw.

        Raises:
            ManifestError, StartRefused, InvalidOption: as `Drawer.load`, if none can.
        """
        while not any(worker.room for worker in self.workers):
            self._take_next()

    def draw(self) -> Generator[Outcome, None, None]:
        """Draw the photos; yields each outcome as it comes.

        Raises:
            ManifestError, StartRefused: no worker is left that can draw.
        """
        left = len(self.photos)
        while left:
            self._give()
            if outcome := self._take_next():
                left -= 1
                yield outcome

    def _start(self, starts: int = 1) -> None:
        worker = Worker(self.make(*self.given), starts=starts)
        self.workers.add(worker)
        self.calls[worker.actor.load.remote()] = (worker, None)

    def _give(self) -> None:
        for worker in self.workers:
            while self.photos and worker.photos < worker.room:
                self._call(worker, self.photos.popleft())
            if self.suspects and worker.room and not worker.photos:
                self._call(worker, self.suspects.popleft())

    def _call(self, worker: Worker, photo: str) -> None:
        worker.photos += 1
        self.calls[worker.actor.draw.remote(photo, self.places[photo])] = (worker, photo)

    def _take_next(self) -> Outcome | None:
        """Wait until a call ends; return the photo's outcome, if it has come to one."""
        (call,), _ = ray.wait(list(self.calls), num_returns=1)
        worker, photo = self.calls.pop(call)
        try:
            result = ray.get(call)
        except RayError as error:
            self._replace(worker, error)
            return self._lose(photo) if photo is not None else None
        if photo is None:
            worker.room, worker.starts = result, 0
            return None
        worker.photos -= 1
        outcome: Outcome = result
        return outcome

    def _replace(self, worker: Worker, error: RayError) -> None:
        """Start another actor in the place of one that died, unless none can start there."""
        if worker not in self.workers:
            return  # another of its calls has told
        self.workers.remove(worker)
        ray.kill(worker.actor)  # it may only be out of reach
        refused = worker.starts > 0 and isinstance(error, RayTaskError)
        if worker.starts < TRIES and not refused:
            self._start(worker.starts + 1)
            return
        cause = error.cause if refused else error
        why = str(cause).partition("\n")[0]
        if isinstance(cause, InvalidOption):
            raise cause  # the call is wrong, for all of them
        if not self.workers:
            if isinstance(cause, ManifestError | StartRefused):
                raise cause
            raise StartRefused(Finding(f"no worker could start: {why}", "see Ray's logs"))
        err.print(f"a worker could not start: {why}", markup=False)

    def _lose(self, photo: str) -> Outcome | None:
        """Note that a photo's worker died; return the outcome if that was the last try."""
        self.losses[photo] += 1
        if self.losses[photo] < TRIES:
            self.suspects.append(photo)
            return None
        detail = f"{TRIES} workers died one after the other while they drew it"
        return Outcome(shown(photo), "failed", "worker_lost", detail)


def start_pool(
    work: Work, settings: Settings, *, address: str | None, count: int | None, again: bool
) -> Generator[Outcome, None, None]:
    """Do `work` on a cluster, as `draw_here`; returns when the first worker is ready.

    Args:
        work: the folders must be the same for all machines.
        settings: for every worker; files that they name lie at the same place on all machines.
        address: of the cluster, `auto` for the one on this machine; None starts one.
        count: how many workers; None fills the cluster.
        again: whether to draw photos again whose cartoon exists.

    Raises:
        ConnectionError: as `connect`.
        OSError: the target cannot be listed.
        ManifestError, StartRefused, InvalidOption: as `Drawer.load`, if no worker can start.
    """
    photos = list(work.places) if again else work.missing()
    if not photos:
        return skip(work, photos)
    connect(address)
    try:
        crew = Crew.plan(ray.cluster_resources(), settings, count)
        pool = Pool(crew, settings, work, photos)
        pool.wait_until_ready()
    except BaseException:
        ray.shutdown()
        raise
    return _draw_all(pool, work, photos)


def _draw_all(pool: Pool, work: Work, photos: list[str]) -> Generator[Outcome, None, None]:
    try:
        yield from skip(work, photos)
        yield from pool.draw()
    finally:
        ray.shutdown()
