"""The simulated fleet: queues, policies and deaths behave as their real counterparts do."""

import numpy as np
import pytest

from benchmarks import fleet
from benchmarks.fleet import (
    DEADLINE_S,
    MEDIAN_S,
    NOTICE_S,
    P95_S,
    Pod,
    draw_service_times,
    pick_least,
    pick_random,
    poisson,
    simulate,
)
from benchmarks.fleet_check import compare, predict

RANDOM = np.random.default_rng(0)


def constant(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(fleet, "draw_service_times", lambda _, count: [seconds] * count)


def test_service_times_have_the_measured_percentiles() -> None:
    middle, high = np.percentile(draw_service_times(RANDOM, 100_000), [50, 95])
    assert middle == pytest.approx(MEDIAN_S, rel=0.01)
    assert high == pytest.approx(P95_S, rel=0.01)


def test_a_pod_serves_in_order_on_all_lanes() -> None:
    pod = Pod(lanes=[0.0, 0.0])
    ends = [pod.accept(0.0, 0.1, 9.0) for _ in range(5)]
    assert ends == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3])
    assert [pod.requests(now) for now in (0.0, 0.15, 0.25, 0.35)] == [5, 3, 1, 0]


def test_a_pod_refuses_what_it_cannot_hold_and_what_would_be_late() -> None:
    pod = Pod(lanes=[0.0], queue=1)
    assert [pod.accept(0.0, 1.0, 9.0) is None for _ in range(3)] == [False, False, True]
    assert pod.accept(1.5, 1.0, 9.0) == 3.0  # a place is free again
    assert Pod(lanes=[5.0]).accept(0.0, 0.1, 5.0) is None


def test_the_wait_before_one_lane_is_that_of_theory(monkeypatch: pytest.MonkeyPatch) -> None:
    """M/D/1 at half load waits half a service time in the mean (Pollaczek-Khinchine)."""
    constant(monkeypatch, MEDIAN_S)
    rate = 0.5 / MEDIAN_S
    monkeypatch.setattr(fleet, "DURATION_S", 20_000 * MEDIAN_S)
    arrivals = poisson(lambda _: rate, rate, seed=3)
    done = simulate([Pod(lanes=[0.0], queue=10_000)], arrivals, pick_random, 1, seed=0)
    assert len(done.good) == len(arrivals)
    assert np.mean([*done.good.values()]) == pytest.approx(1.5 * MEDIAN_S, rel=0.05)


def test_the_least_busy_pod_is_picked() -> None:
    busy, idle = Pod(), Pod()
    busy.accept(0.0, 1.0, 9.0)
    assert all(pick_least([busy, idle], 0.5, RANDOM) is idle for _ in range(9))
    assert {id(pick_least([busy, idle], 1.5, RANDOM)) for _ in range(50)} == {id(busy), id(idle)}


def test_a_refusal_goes_to_another_pod_and_never_twice_to_one() -> None:
    full = Pod(lanes=[1e9], queue=0)
    assert simulate([full, Pod()], [0.0] * 2, pick_random, 2, seed=0).refused == 0
    again = simulate([Pod(lanes=[1e9]), Pod(lanes=[1e9])], [0.0], pick_random, 9, seed=0)
    assert (again.refused, again.total) == (1, 1)


def test_a_death_costs_what_the_pod_holds_unless_another_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    constant(monkeypatch, 1.0)

    def pods() -> list[Pod]:
        return [Pod(dies=0.5), Pod()]

    alone = simulate(pods(), [0.0, 0.0], pick_least, 1, seed=0)
    assert (alone.failed, len(alone.good)) == (1, 1)
    again = simulate(pods(), [0.0, 0.0], pick_least, 2, seed=0)
    assert sorted(again.good.values()) == pytest.approx(
        [1.0, 1.5]
    )  # begun anew when the first died


def test_a_dead_pod_is_left_out_after_a_while() -> None:
    pod = Pod(dies=1.0, out=(20.0, 21.0))
    assert pod.takes_part(NOTICE_S)
    assert not pod.takes_part(1.0 + NOTICE_S)
    assert not Pod(out=(20.0, 21.0)).takes_part(20.5)
    assert Pod(out=(20.0, 21.0)).takes_part(21.0)


@pytest.mark.parametrize("policy", fleet.POLICIES)
def test_every_request_has_one_outcome_and_none_is_good_too_late(policy: str) -> None:
    pick, tries = fleet.POLICIES[policy]
    for name, arrivals, make in fleet.scenarios(4, seed=2):
        done = simulate(make(), arrivals, pick, tries, seed=2)
        assert done.total == len(arrivals), name
        assert max(done.good.values()) <= DEADLINE_S
        same = simulate(make(), arrivals, pick, tries, seed=2)
        assert same == done


def test_a_real_run_is_compared_by_phase() -> None:
    """Ten requests a second to three pods; the last phase has one pod left."""
    arrivals = [number / 10 for number in range(60)]
    real = {number: 0.1 for number in range(60) if number != 25}
    simulated = predict(arrivals, [0.2], seconds=2, seed=0).good
    assert len(simulated) == 60  # a death and a drain cost nobody an answer
    rows = list(compare(arrivals, real, simulated, seconds=2))
    assert rows[0] == ("all three", "20", "0", "100", "100", "0", "200", "200")
    assert rows[1][:5] == ("one was killed", "20", "1", "100", "100")
    assert rows[2][:3] == ("another was drained", "20", "0")
    assert float(rows[2][-1]) > 1000  # ten a second are twice what one pod draws
