"""A real server process, real sockets, real signals."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx2
import numpy as np
import psutil
import pytest
from PIL import Image

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.fakes import DECODE_FOR_LONG, HOLD_EACH_STAGE, KILL_A_LANE, NO_TEMP_FOLDER
from tests.networks import write_endless_generator
from tests.places import PHOTO, ROOT
from tests.server import (
    Server,
    connect,
    post,
    read_answer,
    ready,
    request_bytes,
    requests_under_way,
    wait_for,
)


@pytest.fixture(scope="module")
def large_photo(photo: bytes) -> bytes:
    """A PNG of more than 5 MB with the face in it."""
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    scene = Image.fromarray(noise)
    scene.paste(Image.open(io.BytesIO(photo)).resize((1024, 1024)), (188, 188))
    buffer = io.BytesIO()
    scene.save(buffer, "PNG", compress_level=0)
    assert len(buffer.getvalue()) > 5_000_000
    return buffer.getvalue()


@pytest.fixture(scope="module")
def small_photo(photo: bytes) -> bytes:
    """The face alone: quick to draw."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo)).crop((150, 20, 300, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_many_callers_get_the_one_right_answer(
    server: Server, pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo, Options(style="comic"))  # the default
    answers: list[bytes] = []
    callers = [
        threading.Thread(target=lambda: answers.append(post(server.url, photo).content))
        for _ in range(12)
    ]
    for caller in callers:
        caller.start()
    assert httpx2.get(f"{server.url}/livez").status_code == 200
    for caller in callers:
        caller.join()
    assert answers == [expected] * 12


def test_a_large_upload_needs_no_temporary_folder(large_photo: bytes) -> None:
    with Server(program=NO_TEMP_FOLDER) as server:
        assert post(server.url, large_photo).status_code == 200
        raw = httpx2.post(f"{server.url}/cartoonize", content=large_photo, timeout=60)
        assert raw.status_code == 200


def test_nothing_is_written_to_disk(server: Server, photo: bytes, large_photo: bytes) -> None:
    process = psutil.Process(server.process.pid)
    post(server.url, photo)
    before = process.io_counters().write_bytes, process.num_fds()
    for _ in range(10):
        assert post(server.url, photo).status_code == 200
    assert post(server.url, large_photo).status_code == 200
    after = process.io_counters().write_bytes, process.num_fds()
    assert after[0] == before[0]
    assert after[1] <= before[1] + 1


def test_a_caller_that_leaves_harms_nobody(server: Server, photo: bytes) -> None:
    whole = request_bytes(photo)
    for part in (10, 120, len(whole) // 2, len(whole)):
        with connect(server.url) as connection:
            connection.sendall(whole[:part])
    assert post(server.url, photo).status_code == 200


def test_logs_are_json_lines_and_hold_no_names(photo: bytes) -> None:
    with Server() as server:
        httpx2.post(f"{server.url}/cartoonize?secret=1", files={"photo": ("secret.jpg", photo)})
    log = "".join(server.lines)
    assert all(line.startswith("{") for line in server.lines)
    assert '"code": "invalid_option"' in log
    assert "secret" not in log


def test_a_damaged_photo_adds_nothing_to_the_log(photo: bytes) -> None:
    damaged = []
    for format_name, compression in (("TIFF", "tiff_lzw"), ("TIFF", "jpeg"), ("JPEG", None)):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(photo)).save(buffer, format_name, compression=compression)
        whole, noise = buffer.getvalue(), np.random.default_rng(0).bytes(2_000)
        third = len(whole) // 3
        damaged.append(whole[:third] + noise + whole[third + len(noise) :])
    with Server() as server:
        before = len(server.lines)
        for data in damaged:
            assert post(server.url, data).status_code in (200, 422)
    events = [json.loads(line)["event"] for line in server.lines[before:]]
    assert events.count("request") == len(damaged)
    assert not [line for line in server.lines[before:] if '"warning"' in line or '"error"' in line]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"P2C_PROT": "8000"}, "P2C_PROT"),
        ({"P2C_PORT": "eighty"}, "P2C_PORT"),
    ],
)
def test_a_wrong_setting_stops_the_start(environment: dict[str, str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "photo2cartoon", "serve"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_generator_stops_the_start_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no ONNX at all" * 100)
    done = subprocess.run(
        [sys.executable, "-m", "photo2cartoon", "serve"],
        cwd=ROOT,
        env={**os.environ, "P2C_GENERATOR": str(broken), "P2C_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert told.startswith("model broken-")


@pytest.mark.parametrize(
    ("provider", "command"), [("cpu", ["serve"]), ("auto", ["run", str(PHOTO), "--output", "out"])]
)
def test_a_generator_that_never_answers_stops_the_start_in_one_line(
    tmp_path: Path, provider: str, command: list[str]
) -> None:
    endless = write_endless_generator(tmp_path / "endless.onnx")
    settings = {"P2C_GENERATOR": str(endless), "P2C_STYLES": str(endless)}
    settings |= {"P2C_START_TIMEOUT_S": "5", "P2C_PROVIDER": provider, "P2C_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "photo2cartoon", *command],
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert told.startswith("the models are not ready after 5 s: ")


def test_who_waits_for_a_decoder_is_told_at_the_deadline(photo: bytes) -> None:
    """Both the caller of the photo that is decoded, and the next one, which is refused at once."""
    head = {"X-Request-Timeout-Ms": "500"}
    with Server(program=DECODE_FOR_LONG, P2C_THREADS="1") as server:
        with ThreadPoolExecutor(2) as callers:
            calls = [callers.submit(post, server.url, photo, headers=head) for _ in range(2)]
            answers = [call.result() for call in calls]
        assert ready(server.url)["running"] == 1  # the decoder is still at it
        for answer in answers:
            assert answer.status_code in (503, 504)
            assert answer.json()["code"] in ("would_be_late", "deadline_passed")
        assert 504 in [answer.status_code for answer in answers]
        server.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: ready(server.url)["running"] == 0)
        assert post(server.url, photo).status_code == 200


def test_draining_under_load_loses_nothing_that_was_accepted(
    small_photo: bytes, pipeline: Pipeline
) -> None:
    (expected,) = pipeline.cartoonize(small_photo, Options(style="comic"))
    long = {"P2C_MAX_QUEUE": "300", "P2C_GRACE_S": "120", "P2C_DEADLINE_MS": "120000"}
    with (
        Server(P2C_DRAIN_DELAY_S="1", **long) as server,
        requests_under_way(server.url, small_photo, 24) as connections,
    ):
        wait_for(lambda: ready(server.url)["waiting"] >= 12)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: ready(server.url)["status"] == "draining")
        with connect(server.url) as late:  # others still send: they have not learnt of it yet
            late.sendall(request_bytes(small_photo))
            for connection in (*connections, late):
                status, _, picture = read_answer(connection)
                assert (status, picture) == (200, expected)
        assert server.process.wait(60) == 0


def test_what_the_grace_does_not_cover_is_answered(small_photo: bytes) -> None:
    long = {"P2C_MAX_QUEUE": "300", "P2C_DEADLINE_MS": "120000"}
    with (
        Server(P2C_THREADS="1", P2C_GRACE_S="0.2", **long) as server,
        requests_under_way(server.url, small_photo, 80) as connections,
    ):
        wait_for(lambda: ready(server.url)["waiting"] >= 60)
        server.process.send_signal(signal.SIGTERM)
        answers = [read_answer(connection) for connection in connections]
        assert {status for status, _, _ in answers} == {200, 503}
        for status, headers, body in answers:
            if status == 503:
                assert json.loads(body)["code"] == "draining"
                assert int(headers["retry-after"]) >= 1
        server.process.wait(30)


def test_an_upload_that_the_grace_does_not_cover_is_answered(small_photo: bytes) -> None:
    whole = request_bytes(small_photo)
    with Server(P2C_GRACE_S="1") as server, connect(server.url) as late:
        with connect(server.url) as cut:
            late.sendall(whole[:-100])
            cut.sendall(whole[:-100])
            wait_for(lambda: ready(server.url)["status"] == "ready")
            server.process.send_signal(signal.SIGTERM)
            cut.sendall(whole[-100:])
            assert read_answer(cut)[0] == 200  # within the grace
        status, headers, body = read_answer(late)
        assert (status, json.loads(body)["code"]) == (503, "draining")
        assert int(headers["retry-after"]) >= 1
        assert server.process.wait(30) == 0
    (line,) = (json.loads(line) for line in server.lines if '"draining"' in line and "code" in line)
    assert (line["route"], line["status"]) == ("/cartoonize", 503)


def test_a_second_signal_waits_for_nothing(small_photo: bytes) -> None:
    with (
        Server(P2C_THREADS="1", P2C_DRAIN_DELAY_S="600", P2C_MAX_QUEUE="300") as server,
        requests_under_way(server.url, small_photo, 100),
    ):
        wait_for(lambda: ready(server.url)["waiting"] >= 60)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: ready(server.url)["status"] == "draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) in (0, -signal.SIGTERM)
    # It ended before its work did: the log is complete here, and most were never answered.
    lines = [line for line in map(json.loads, server.lines) if line.get("route") == "/cartoonize"]
    assert [line["status"] for line in lines].count(200) < 100


def test_a_caller_that_leaves_frees_the_slot_at_every_stage(small_photo: bytes) -> None:
    whole = request_bytes(small_photo)
    with Server(program=HOLD_EACH_STAGE, P2C_THREADS="1", P2C_MAX_QUEUE="1") as server:

        def idle() -> bool:
            state = ready(server.url)
            return (state["waiting"], state["running"]) == (0, 0)

        def held(stage: Stage) -> bool:
            return f'{{"held": "{stage}"}}\n' in server.lines

        with connect(server.url) as connection:
            connection.sendall(whole[: len(whole) // 2])  # while its body is read
        for stage in list(Stage)[2:]:
            with requests_under_way(server.url, small_photo, 1):
                wait_for(partial(held, stage))
                if stage is Stage.DECODE:
                    with requests_under_way(server.url, small_photo, 1):  # while it waits
                        wait_for(lambda: ready(server.url)["waiting"] == 1)
                    wait_for(lambda: ready(server.url)["waiting"] == 0)
            wait_for(idle)
        assert post(server.url, small_photo).status_code == 200
    left = [line for line in map(json.loads, server.lines) if line.get("status") == 499]
    assert {line["code"] for line in left} == {"client_left"}
    assert sorted(line["left_at"] for line in left) == sorted(Stage)


def test_a_dead_lane_fails_the_liveness_probe(small_photo: bytes) -> None:
    with Server(program=KILL_A_LANE, P2C_THREADS="2") as server:
        assert httpx2.get(f"{server.url}/livez").status_code == 200
        server.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: httpx2.get(f"{server.url}/livez").status_code == 503)
        assert ready(server.url)["status"] == "dead"
        assert post(server.url, small_photo).status_code == 200  # the other lane works on
    assert any("a lane died" in line for line in server.lines)


def test_a_full_queue_refuses_and_says_when_to_return(photo: bytes) -> None:
    with (
        Server(P2C_THREADS="1", P2C_MAX_QUEUE="3") as server,
        requests_under_way(server.url, photo, 12) as connections,
    ):
        answers = [read_answer(connection) for connection in connections]
    codes = ["ok" if status == 200 else json.loads(body)["code"] for status, _, body in answers]
    assert set(codes) == {"ok", "overloaded"}
    assert codes.count("ok") >= 4
    assert all("retry-after" in headers for status, headers, _ in answers if status == 503)
