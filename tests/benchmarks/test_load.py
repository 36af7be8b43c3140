"""The load generator, against a server that does as it is told. No test depends on speed."""

import asyncio
import hashlib
import json

import numpy as np
import pytest

from benchmarks.serving.load import (
    LOST,
    START_DELAY_S,
    Generator,
    Load,
    Photo,
    constant,
    poisson,
    send_load,
)
from tests.benchmarks.tiny_server import Reply, TinyServer


def load(server: TinyServer, **changes: object) -> Load:
    settings: dict[str, object] = {
        "port": server.port,
        "path": "/cartoonize",
        "photos": [Photo(b"photo")],
        **changes,
    }
    return Load(**settings)  # type: ignore[arg-type]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_one() -> None:
    times = np.array(poisson(rate=20, requests=20_000, seed=1))
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 20, rel=0.03)  # as large as the mean: exponential
    # Counts in windows of a second: variance equal to the mean.
    counts = np.histogram(times, np.arange(0, int(times[-1])))[0]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_arrivals_repeat_with_their_seed() -> None:
    assert poisson(5, 10, seed=3) == poisson(5, 10, seed=3)
    assert poisson(5, 10, seed=3) != poisson(5, 10, seed=4)


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert constant(rate=4, requests=5) == [0, 0.25, 0.5, 0.75, 1]


def test_latency_counts_from_the_schedule(tiny_server: TinyServer) -> None:
    # Due a minute before the generator gets to it: as if it had been held up for so long.
    (answer,) = send_load(load(tiny_server, arrivals=[-60.0])).answers
    assert answer.status == 200
    assert answer.due_s == pytest.approx(-60)
    assert answer.lag_s >= 60 - START_DELAY_S
    assert answer.latency_s >= answer.lag_s


def test_open_loop_sends_on_while_nothing_is_answered(tiny_server: TinyServer) -> None:
    everything_came = asyncio.Event()

    async def wait_for_all(_: bytes) -> Reply:
        if len(tiny_server.received) == 8:
            everything_came.set()
        await everything_came.wait()
        return 200, b""

    tiny_server.reply = wait_for_all
    answers = send_load(load(tiny_server, arrivals=constant(1000, 8))).answers
    assert [answer.status for answer in answers] == [200] * 8
    assert [answer.number for answer in answers] == list(range(8))
    assert tiny_server.most_in_flight == 8


def test_closed_loop_keeps_to_its_connections(tiny_server: TinyServer) -> None:
    answers = send_load(load(tiny_server, requests=20, connections=3)).answers
    assert [answer.number for answer in answers] == list(range(20))
    assert tiny_server.most_in_flight <= 3
    assert tiny_server.connections == 3  # kept alive, not opened anew


def test_a_caller_of_the_closed_loop_who_is_refused_tries_again(tiny_server: TinyServer) -> None:
    async def refuse_twice(_: bytes) -> Reply:
        return (503 if len(tiny_server.received) <= 2 else 200), b""

    tiny_server.reply = refuse_twice
    answers = send_load(load(tiny_server, requests=2)).answers
    assert [(a.number, a.status) for a in answers] == [(0, 503), (0, 503), (0, 200), (1, 200)]


def test_photos_go_out_in_turn_with_their_types_and_headers(tiny_server: TinyServer) -> None:
    photos = [Photo(b"one"), Photo(b"two", "image/png")]
    send_load(load(tiny_server, photos=photos, requests=3, headers={"X-Extra": "7"}))
    heads, bodies = zip(*tiny_server.received, strict=True)
    assert bodies == (b"one", b"two", b"one")
    assert all(head.startswith("POST /cartoonize HTTP/1.1\r\n") for head in heads)
    assert all("\r\nX-Extra: 7\r\n" in head for head in heads)
    types = ["image/jpeg", "image/png", "image/jpeg"]
    assert all(f"Content-Type: {t}\r\n" in head for t, head in zip(types, heads, strict=True))


def test_answers_carry_status_digest_and_code(tiny_server: TinyServer) -> None:
    replies = {
        b"good": (200, b"picture"),
        b"full": (503, json.dumps({"code": "overloaded"}).encode()),
        b"text": (500, b"sorry"),
        b"list": (400, b"[]"),
    }

    async def reply(body: bytes) -> Reply:
        return replies[body]

    tiny_server.reply = reply
    answers = send_load(
        load(tiny_server, photos=[Photo(body) for body in replies], arrivals=constant(1000, 4))
    ).answers
    assert [answer.status for answer in answers] == [200, 503, 500, 400]
    assert [answer.code for answer in answers] == ["", "overloaded", "", ""]
    assert answers[0].digest == hashlib.sha256(b"picture").hexdigest()


def test_a_kept_connection_that_the_server_closed_costs_no_request(
    tiny_server: TinyServer,
) -> None:
    tiny_server.drop_after = 1
    answers = send_load(load(tiny_server, requests=5)).answers
    assert [answer.status for answer in answers] == [200] * 5
    assert tiny_server.connections == 5


def test_no_answer_is_lost(tiny_server: TinyServer) -> None:
    async def hang_up(_: bytes) -> None:
        return None

    tiny_server.reply = hang_up
    (answer,) = send_load(load(tiny_server, requests=1)).answers
    assert answer.status == LOST


def test_an_answer_that_does_not_come_in_time_is_lost(tiny_server: TinyServer) -> None:
    async def never(_: bytes) -> None:
        await asyncio.Event().wait()

    tiny_server.reply = never
    (answer,) = send_load(load(tiny_server, requests=1, timeout_s=0.01)).answers
    assert answer.status == LOST


def test_nobody_listening_is_lost(tiny_server: TinyServer) -> None:
    (answer,) = send_load(Load(1, "/", [Photo(b"")], requests=1)).answers
    assert answer.status == LOST


def test_the_generator_is_a_process_of_its_own_and_says_what_it_cost(
    tiny_server: TinyServer,
) -> None:
    generator = Generator()
    result = generator.send(load(tiny_server, requests=50, connections=2))
    generator.close()
    assert [answer.status for answer in result.answers] == [200] * 50
    assert result.cpu_s > 0
