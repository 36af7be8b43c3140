"""A fleet of pods behind a balancer, simulated: what its policy does to p99 and goodput.

Each pod is the service as it was measured: two lanes, a first-come queue that refuses what it
cannot hold or what would miss its deadline, and service times as `benchmarks.stages` found them.
Arrivals are Poisson. Nothing is drawn, so the table takes seconds and is the same each time.

    python -m benchmarks.fleet --pods 20

`benchmarks.fleet_check` holds it against real instances.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

MEDIAN_S, P95_S = 0.0805, 0.0886  # of one photo on one core: docs/benchmarks.md, stages
LANES, QUEUE = 2, 64  # of one pod
DEADLINE_S = 2.0  # of the callers, from the first arrival at the balancer
NOTICE_S = 5.0  # until the balancer leaves out a pod that has died
DURATION_S = 30.0
EVENT_S = 10.0  # when something happens to the fleet
OUT_S = 3.0  # how long each pod is out in a rollout


def draw_service_times(random: np.random.Generator, count: int) -> list[float]:
    """Return service times, s: log-normal, with the measured median and 95th percentile."""
    spread = math.log(P95_S / MEDIAN_S) / 1.645
    times: list[float] = (MEDIAN_S * np.exp(spread * random.standard_normal(count))).tolist()
    return times


@dataclass
class Pod:
    """One instance: lanes, a queue, and the time when it dies.

    Attributes:
        lanes: when each lane is free, s; a heap.
        queue: how many photos may wait.
        dies: when it ends, s, with all that it holds.
        out: from when to when the balancer leaves it out, s.
        typical: how long it expects a photo to take, s, when it says whether that would be late.
    """

    lanes: list[float] = field(default_factory=lambda: [0.0] * LANES)
    queue: int = QUEUE
    dies: float = math.inf
    out: tuple[float, float] = (math.inf, math.inf)
    typical: float = MEDIAN_S
    _ends: list[float] = field(default_factory=list)

    def requests(self, now: float) -> int:
        """Return how many requests it holds."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)

    def takes_part(self, now: float) -> bool:
        """Tell whether the balancer sends requests to it."""
        return now < self.dies + NOTICE_S and not self.out[0] <= now < self.out[1]

    def accept(self, now: float, service: float, deadline: float) -> float | None:
        """Take a request, or refuse it.

        Returns:
            When it ends, s; None if it is refused.
        """
        start = max(now, self.lanes[0])
        full = self.requests(now) >= len(self.lanes) + self.queue
        if full or start + self.typical > deadline:
            return None
        end = start + service
        heapq.heapreplace(self.lanes, end)
        heapq.heappush(self._ends, end)
        return end


Policy = Callable[[list[Pod], float, np.random.Generator], Pod]


def pick_random(pods: list[Pod], now: float, random: np.random.Generator) -> Pod:  # noqa: ARG001
    """Any pod."""
    return pods[int(random.integers(len(pods)))]


def pick_least(pods: list[Pod], now: float, random: np.random.Generator) -> Pod:
    """One of those that hold the fewest requests."""
    held = [pod.requests(now) for pod in pods]
    fewest = [pod for pod, count in zip(pods, held, strict=True) if count == min(held)]
    return pick_random(fewest, now, random)


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        good: by the number of the request, how long those took that were answered in time, s.
        refused, failed, late: how many of the others there were.
    """

    good: dict[int, float] = field(default_factory=dict)
    refused: int = 0
    failed: int = 0
    late: int = 0

    @property
    def total(self) -> int:
        """How many requests there were."""
        return len(self.good) + self.refused + self.failed + self.late


def simulate(
    pods: list[Pod],
    arrivals: list[float],
    policy: Policy,
    tries: int,
    seed: int,
    services: list[float] | None = None,
) -> Outcome:
    """Send requests to the pods; each is tried on up to `tries` different ones.

    Args:
        pods: the fleet, which is used up.
        arrivals: when requests come, s, in ascending order.
        policy: how a pod is chosen.
        tries: 1: a refusal or a death goes to the caller.
        seed: of the choices and service times.
        services: how long each takes to draw, s; None draws them as they were measured.
    """
    random = np.random.default_rng(seed)
    if services is None:
        services = draw_service_times(random, len(arrivals))
    outcome = Outcome()
    # when it is sent, which one it is, and the pods that it has seen
    events: list[tuple[float, int, tuple[int, ...]]] = [
        (now, number, ()) for number, now in enumerate(arrivals)
    ]
    while events:
        now, number, seen = heapq.heappop(events)
        deadline = arrivals[number] + DEADLINE_S
        open_pods = [pod for pod in pods if pod.takes_part(now) and id(pod) not in seen]
        pod = policy(open_pods, now, random) if open_pods else None
        end = None
        if pod and now < pod.dies:
            end = pod.accept(now, services[number], deadline)
        if pod and end is not None and end <= pod.dies:
            if end <= deadline:
                outcome.good[number] = end - arrivals[number]
            else:
                outcome.late += 1
            continue
        died = pod is not None and (now >= pod.dies or end is not None)
        if pod and len(seen) + 1 < tries and len(open_pods) > 1:
            when = pod.dies if end is not None else now
            heapq.heappush(events, (when, number, (*seen, id(pod))))
        elif died:
            outcome.failed += 1
        else:
            outcome.refused += 1
    return outcome


def poisson(rate: Callable[[float], float], most: float, seed: int) -> list[float]:
    """Return arrivals of a Poisson process by thinning: `rate` a second, never above `most`."""
    random = np.random.default_rng(seed)
    times, now = [], 0.0
    while (now := now + random.exponential(1 / most)) < DURATION_S:
        if random.random() * most < rate(now):
            times.append(now)
    return times


def scenarios(count: int, seed: int) -> Iterator[tuple[str, list[float], Callable[[], list[Pod]]]]:
    """Yield each scenario's name, its arrivals, and what makes its fleet."""
    full = count * LANES / MEDIAN_S

    def healthy() -> list[Pod]:
        return [Pod() for _ in range(count)]

    def one_dies() -> list[Pod]:
        return [Pod(dies=EVENT_S), *(Pod() for _ in range(count - 1))]

    def rollout() -> list[Pod]:
        """Return a fleet of which one pod after the other is out for a while, two at a time."""
        starts = [EVENT_S / 2 + OUT_S * (place // 4) for place in range(count)]
        return [Pod(out=(start, start + OUT_S)) for start in starts]

    def herd(now: float) -> float:
        return full * (5 if EVENT_S <= now < EVENT_S + 1 else 0.5)

    for share in (0.7, 0.95, 1.5):
        load = poisson(lambda _, share=share: full * share, full * share, seed)  # type: ignore[misc]
        yield f"load {share:.0%}", load, healthy
    steady = poisson(lambda _: full * 0.7, full * 0.7, seed)
    yield "a pod dies, load 70%", steady, one_dies
    yield "rollout, 4 pods at a time, load 70%", steady, rollout
    yield "herd: 5 times full for 1 s, else 50%", poisson(herd, full * 5, seed), healthy


POLICIES: dict[str, tuple[Policy, int]] = {
    "random": (pick_random, 1),
    "random, 3 tries": (pick_random, 3),
    "least requests": (pick_least, 1),
    "least requests, 3 tries": (pick_least, 3),
}


def main(
    pods: Annotated[int, typer.Option(min=4, help="Of two cores each.")] = 20,
    seed: int = 1,
) -> None:
    """Print the table."""
    table = Table("fleet", "policy", "good", "good/s", "p50 ms", "p99 ms", "refused", "failed")
    for name, arrivals, make in scenarios(pods, seed):
        for policy_name, (policy, tries) in POLICIES.items():
            done = simulate(make(), arrivals, policy, tries, seed)
            middle, tail = np.percentile([*done.good.values()], [50, 99]) * 1000
            table.add_row(
                name,
                policy_name,
                f"{len(done.good) / done.total:.2%}",
                f"{len(done.good) / DURATION_S:.0f}",
                f"{middle:.0f}",
                f"{tail:.0f}",
                str(done.refused),
                str(done.failed),
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
